bench: $(STAMP)
	$(BIN)/python -m bench $(BENCH)

bench-install:
	bench/install-peers.sh

.PHONY: bench bench-install
