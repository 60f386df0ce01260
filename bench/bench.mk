# Both are measured where edgewise can be compiled: that, and the plain Python beside it.
bench: $(STAMP)
	@if $(BIN)/python tools/build_compiled.py --check; then $(MAKE) --no-print-directory compiled; fi
	$(BIN)/python -m bench $(BENCH)

bench-install:
	bench/install-peers.sh

.PHONY: bench bench-install
