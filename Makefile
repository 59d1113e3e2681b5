# Every command works on a fresh machine with Python 3.11 and make: the environment is made when it is missing.
PYTHON ?= python3.11
VENV ?= .venv
# How much `make bench` works on: small, default or large.
SIZE ?= default
# Which works; all when empty.
WORKS ?=
# What `make bench` runs beside, in an environment of its own.
PEERS := .venv-peers
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Containers often forbid Python to keep what it compiled; every process, and every run is one, would compile for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo dev mlflow refresh test test-slow check bench lint format lock clean

demo: $(STAMP)  ## a year of flights, from landed files to predictions, through Dagster
	@$(BIN)/python -m platform_assets.defs.flights.demo

dev: $(STAMP)  ## Dagster UI and daemon, with everything automatic switched on
	@exec $(BIN)/platform-assets dev

mlflow: $(STAMP)  ## MLflow UI
	@exec $(BIN)/platform-assets mlflow

refresh: $(STAMP)  ## bring every project up to date
	@$(BIN)/platform-assets refresh

test: $(STAMP)  ## the tests, on all processors
	@$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(STAMP) $(PEERS)/.installed  ## the long loops over faults and generated data, and the README's commands
	@$(BIN)/python -m pytest -m slow -n auto --dist loadfile

bench: $(STAMP) $(PEERS)/.installed  ## each work beside what one would use instead
	@$(BIN)/python -m benchmarks --size $(SIZE) $(WORKS)

check: lint test  ## format, lint, types, tests

lint: $(STAMP)  ## format, lint and types, without the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP)  ## lay out the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(STAMP)  ## pin everything anew, with hashes and without hosts
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-strip-extras --no-header --quiet -o requirements.lock
	@$(BIN)/uv pip compile benchmarks/peers.in --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-strip-extras --no-header --quiet -o benchmarks/peers.lock

clean:  ## remove the environment and what tools left behind
	rm -rf $(VENV) $(PEERS) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed; install Python 3.11, or name yours with PYTHON=..."; exit 1; }
	@echo "making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $(STAMP)

$(PEERS)/.installed: benchmarks/peers.lock | $(STAMP)
	@echo "making the environment of the peers in $(PEERS)"
	@$(PYTHON) -m venv $(PEERS)
	@VIRTUAL_ENV=$(CURDIR)/$(PEERS) $(BIN)/uv pip install --quiet --require-hashes -r benchmarks/peers.lock
	@touch $@
