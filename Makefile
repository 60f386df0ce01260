# make run    quickstart: two example apps behind edgewise
# make test   every test but the slowest
# make test-gates   the slowest: nodes and engines that are killed or cut off
# make lint   ruff, mypy --strict, import layers
# make check  lint and the fast tests, under a minute: before each commit
# make bench  edgewise against the peers found on this machine (bench/bench.mk)
#
# make compiled        the same with its data plane compiled, in build/compiled (needs gcc and Python's headers)
# make test-compiled   tests on that

PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11) $(shell command -v python3.11 || command -v python3))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.edgewise-installed

COMPILED := build/compiled
COMPILED_STAMP := $(COMPILED)/.built
COMPILED_TESTS := $(addprefix tests/unit/,http protocols proxy balancer router telemetry) tests/twins tests/journeys

.PHONY: run test test-gates lint check compiled test-compiled clean

run: $(STAMP)
	$(BIN)/python examples/quickstart/run.py

# What fails while four run at a time on two cores is named, and judged by a run of its own.
define pytest-beside-others
	directory=$$(mktemp -d) && $(1) $(BIN)/python -m pytest -q -n 4 --dist loadfile --basetemp $$directory/t $(2); \
		status=$$?; if [ $$status -eq 1 ]; then \
			echo "== once more, alone: what failed beside others"; \
			$(1) $(BIN)/python -m pytest -q -v --lf --lfnf=none --basetemp $$directory/t $(2); status=$$?; \
		fi; \
		rm -rf $$directory; exit $$status
endef

test: $(STAMP)
	$(call pytest-beside-others,,-m "not gate")

test-gates: $(STAMP)
	$(call pytest-beside-others,,-m gate)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports

check: lint
	$(BIN)/python -m pytest -q -m "not slow" tests/unit tests/architecture

compiled: $(COMPILED_STAMP)

test-compiled: $(COMPILED_STAMP)
	PYTHONPATH=$(COMPILED) $(BIN)/edgewise --version | grep -w compiled
	$(call pytest-beside-others,PYTHONPATH=$(CURDIR)/$(COMPILED),-o pythonpath="$(COMPILED) tests" $(COMPILED_TESTS))

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(STAMP): pyproject.toml constraints.txt
	@echo "building $(VENV) with $(PYTHON) (a minute or so) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) tools/make_venv.py $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,apps]'
	@touch $@

$(COMPILED_STAMP): setup.py pyproject.toml constraints.txt tools/build_compiled.py $(shell find src -name "*.py") | $(STAMP)
	@$(BIN)/python tools/build_compiled.py $(COMPILED)
	@touch $@

-include bench/bench.mk
