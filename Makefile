# Two commands matter: `make run` and `make test`. Both make their own virtual environment.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BENCH  := .venv-bench
# pip leaves an editable install to compile itself; with PYTHONDONTWRITEBYTECODE it never would.
COMPILE := python -m compileall -q console
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lint check prove bench screenshots clean

run: $(VENV)/installed
	@$(BIN)/rpa-console demo

test: $(VENV)/developing
	$(BIN)/python -m pytest -q

lint: $(VENV)/developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

prove: $(VENV)/developing
	$(BIN)/python tests/prove.py
	$(BIN)/python tests/night_of_faults.py

bench: $(BENCH)/installed
	@$(BENCH)/bin/$(COMPILE)
	@$(BENCH)/bin/python -m tests.bench $(ARGS)

$(BENCH)/installed: pyproject.toml
	@$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install -q -e . 'pyte>=0.8.2'
	@touch $@

screenshots: $(VENV)/developing
	$(BIN)/python -m screenshots.generator.generate screenshots

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "rpa-console needs Python 3.11 or newer: make PYTHON=python3.12 run"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/installed: $(BIN)/python pyproject.toml
	$(BIN)/pip install -q -e .
	@$(BIN)/$(COMPILE)
	@touch $@

$(VENV)/developing: $(BIN)/python pyproject.toml
	$(BIN)/pip install -q -e '.[dev]'
	@$(BIN)/$(COMPILE)
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) $(BENCH) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
