# Every target works on a machine that has make and Python 3.11, 3.12 or 3.13, or uv in its place.
PYTHON ?= python3.11 python3.12 python3.13
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links
# A lock is whole, so nothing is left to resolve: pip's resolver would take a newer release for `name[extra]`
# than the one locked, and then refuse it for want of a hash.
LOCKED := install --no-deps --require-hashes
OURS   := $(PIP) install --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help
.PHONY: help install train test quick fast coverage test-browser test-compose lint soak docs bench lock clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

$(BIN)/python:
	@for python in $(PYTHON); do "$$python" -m venv --clear $(VENV) 2> /dev/null && exit; done; \
	uv venv --clear --seed --python '>=3.11,<3.14' $(VENV) || \
	{ echo "make: none of $(PYTHON) makes a virtual environment, and uv does not either" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.installed: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	$(PIP) $(LOCKED) -r requirements.lock -r requirements-build.lock
	$(OURS)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(PIP) $(LOCKED) -r requirements-dev.lock
	$(PIP) check
	@touch $@

install: $(VENV)/.installed  ## make .venv with the locked dependencies and the job command

train: install  ## migrate results/ledger.db, train both models, record every epoch
	$(BIN)/job db upgrade
	$(BIN)/job train

lint: $(VENV)/.installed-dev  ## style, imports and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

test: lint  ## every test, on SQLite and on a real PostgreSQL
	$(BIN)/pytest -n 2

quick: $(VENV)/.installed-dev  ## the tests that need no patience
	$(BIN)/pytest -n 2 -m "not slow"

fast: $(VENV)/.installed-dev  ## the tests on SQLite alone and in one process, in less than 20 s
	$(BIN)/pytest -n 2 -m fast

coverage: $(VENV)/.installed-dev  ## every test, and which lines of job, db and migrations they reach
	$(BIN)/pytest -n 2 --cov --cov-report=term

soak: $(VENV)/.installed-dev  ## kill and resume 200 trainers on each database, and a PostgreSQL outage of 30 s
	$(BIN)/python -m tests.soak --kills 200
	LEDGER_TEST_OUTAGE=30 $(BIN)/pytest -s tests/test_outage.py

test-browser: $(VENV)/.installed-dev  ## the dashboard and the report in Debian's Chromium (CHROMIUM names another)
	$(BIN)/pytest -rP tests/browser

test-compose: $(VENV)/.installed-dev  ## the containers on the docker engine there is: build, train, break, restore
	$(BIN)/pytest tests/compose -vv --durations=0 --durations-min=1 -rA -o faulthandler_timeout=1800

docs: $(VENV)/.installed-dev  ## write docs/cli.md from the command line
	$(BIN)/python -m docs.cli_reference

bench: $(VENV)/.installed-dev $(VENV)-bench/.installed  ## what recording costs, as ratios, into benchmarks/results.md (30 min)
	$(BIN)/python -m benchmarks --mlflow $(VENV)-bench/bin/python

$(VENV)-bench/.installed: requirements-bench.lock | $(BIN)/python
	$(BIN)/python -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip --disable-pip-version-check --quiet $(LOCKED) -r $<
	@touch $@

lock: $(VENV)/.installed-dev  ## resolve the dependencies anew (hashes, no addresses)
	$(COMPILE) --extra notify --extra sweep -o requirements.lock pyproject.toml
	$(COMPILE) --group build -c requirements.lock -o requirements-build.lock
	$(COMPILE) --group dashboard -c requirements.lock -o requirements-dashboard.lock
	$(COMPILE) --group bench -o requirements-bench.lock
	$(COMPILE) --group build --group dev --all-extras -c requirements.lock -o requirements-dev.lock pyproject.toml

clean:  ## remove .venv and caches (never results/)
	rm -rf $(VENV) $(VENV)-bench .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
