# Each target works on a fresh clone with python3 (3.10 or newer), make and a package index.
PYTHON ?= python3
MODEL ?= qwen2.5-coder-0.5b-instruct
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench clean
.DEFAULT_GOAL := demo

# A stamp for each set of packages: installed again only when pyproject.toml changes.
$(VENV)/pip:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("mipro needs Python 3.10 or newer, but $(PYTHON) is %d.%d; try make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/local: $(VENV)/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[local]'
	@touch $@

$(VENV)/dev: $(VENV)/local
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/bench: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

demo: $(VENV)/local
	$(BIN)/mipro pull $(MODEL)
	$(BIN)/mipro demo --model $(MODEL)

test: $(VENV)/dev
	$(BIN)/mipro pull smollm2-135m-instruct
	$(BIN)/python -m pytest -n auto -m 'not local_lm'
	$(BIN)/python -m pytest -m local_lm

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/bench
	$(BIN)/python benchmarks/search.py --quick

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
