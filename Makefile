# The commands of the house. `make demo` and `make test` do all set-up themselves.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.10 python3))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

.PHONY: setup demo test check bench clean

setup: $(VENV)/.everything

$(VENV)/.flies: setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e .
	touch $@

$(VENV)/.everything: setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e '.[map,import,train,test,check]'
	touch $@ $(VENV)/.flies

demo: $(VENV)/.flies
	$(BIN)/tilefix demo --out out/demo

check: $(VENV)/.everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest
	PYTHON_TESTED=$(BIN)/python tests/other_pythons.sh

bench: $(VENV)/.flies
	$(BIN)/python tools/benchmark_localizer.py

clean:
	rm -rf .venv* out build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
