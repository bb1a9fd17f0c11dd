# The commands of the house. `make demo` and `make test` do all set-up themselves.
# The first supported Python that works (a version manager leaves names without an interpreter behind them).
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
NO_PYTHON = no Python 3.10 to 3.12 with venv here: install one, or give PYTHON=/path/to/it
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

.PHONY: setup demo test check bench clean

setup: $(VENV)/.everything

$(VENV)/.flies: setup.cfg constraints.txt
	test -x $(BIN)/python || $(or $(PYTHON),$(error $(NO_PYTHON))) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e .
	touch $@

$(VENV)/.everything: setup.cfg constraints.txt
	test -x $(BIN)/python || $(or $(PYTHON),$(error $(NO_PYTHON))) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e '.[map,import,engine,openvino,tensorrt-rtx,train,test,check]'
	touch $@ $(VENV)/.flies

demo: $(VENV)/.flies
	$(BIN)/tilefix demo --out out/demo

check: $(VENV)/.everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tools/*.py deploy/*.py
	$(BIN)/lint-imports
	$(BIN)/shellcheck -x deploy/*.sh tests/*.sh tests/deploy/*.sh
	$(BIN)/shfmt -i 4 -d deploy/*.sh tests/*.sh tests/deploy/*.sh

# A process for each core, though at most four: each takes a gigabyte.
test: check
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile
	PYTHON_TESTED=$(BIN)/python tests/other_pythons.sh

bench: $(VENV)/.flies
	$(BIN)/python tools/benchmark_latency.py

clean:
	rm -rf .venv* out build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
