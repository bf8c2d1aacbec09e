# Every target needs make, and Python 3.11, 3.12 or 3.13, or uv.
PYTHON ?= python3.11 python3.12 python3.13
VENV   := .venv
BIN    := $(VENV)/bin
TORCH  ?= torch
PEERS  := aim dvclive mlflow tensorboardx trackio wandb
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links
# --no-deps: a lock is complete, and for `name[extra]` pip would otherwise choose a newer release than the locked one,
# and then refuse it because it has no hash.
LOCKED := install --no-deps --require-hashes
OURS   := $(PIP) install --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help
.PHONY: help install train test quick fast coverage test-browser test-compose test-torch lint soak matrix docs bench lock clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

$(BIN)/python:
	@for python in $(PYTHON); do "$$python" -m venv --clear $(VENV) 2> /dev/null && exit; done; \
	uv venv --clear --seed --python '>=3.11,<3.14' $(VENV) || \
	{ echo "make: neither $(PYTHON) nor uv can create a virtual environment" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.installed: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	$(PIP) $(LOCKED) -r requirements.lock -r requirements-build.lock
	$(OURS)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(PIP) $(LOCKED) -r requirements-dev.lock
	$(PIP) check
	@touch $@

install: $(VENV)/.installed  ## create .venv with the locked dependencies and the job command

train: install  ## create or upgrade results/ledger.db, train both models, store every epoch
	$(BIN)/job db upgrade
	$(BIN)/job train

lint: $(VENV)/.installed-dev  ## check style, imports and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

test: lint  ## run every test, on SQLite and on PostgreSQL
	$(BIN)/pytest -n 2

quick: $(VENV)/.installed-dev  ## run the tests that are not marked slow
	$(BIN)/pytest -n 2 -m "not slow"

fast: $(VENV)/.installed-dev  ## run the tests that use neither a database nor a second process, in about 30 s
	$(BIN)/pytest -n 2 --dist loadfile -m fast

coverage: $(VENV)/.installed-dev  ## run every test and print the coverage of job, db and migrations
	$(BIN)/pytest -n 2 --cov --cov-report=term

soak: $(VENV)/.installed-dev  ## kill and resume 200 trainers on each database, and a PostgreSQL outage of 30 s
	$(BIN)/python -m tests.soak --kills 200
	LEDGER_TEST_OUTAGE=30 $(BIN)/pytest -s tests/test_outage.py

matrix: $(VENV)/.installed-dev  ## train in other versions and settings, and list which give README's digests (15 min)
	$(BIN)/python -m tests.matrix

test-browser: $(VENV)/.installed-dev  ## test the dashboard and the report in Debian's Chromium (CHROMIUM names another)
	$(BIN)/pytest -rP tests/browser

test-compose: $(VENV)/.installed-dev  ## test the containers on the local Docker engine: build, train, fail, restore
	$(BIN)/pytest tests/compose -vv --durations=0 --durations-min=1 -rA -o faulthandler_timeout=1800

test-torch: $(VENV)-torch/.installed  ## test the PyTorch example in a separate environment (TORCH names another build)
	$(VENV)-torch/bin/python -m pytest -k torch tests/test_examples.py tests/test_model_contract.py

# PyTorch, and after it the packages of .venv.
$(VENV)-torch/.installed: $(VENV)/.installed-dev
	$(BIN)/python -m venv $(VENV)-torch
	$(VENV)-torch/bin/python -m pip --disable-pip-version-check --quiet install $(TORCH)
	$(BIN)/python -c 'print("import site; site.addsitedir(%r)" % __import__("sysconfig").get_path("purelib"))' \
	> "$$($(VENV)-torch/bin/python -c 'print(__import__("sysconfig").get_path("purelib"))')/ledger.pth"
	@touch $@

docs: $(VENV)/.installed-dev  ## write docs/cli.md from the command line
	$(BIN)/python -m docs.cli_reference

bench: $(VENV)/.installed-dev $(PEERS:%=$(VENV)-peer-%/.installed)  ## measure the cost of recording; write benchmarks/results.md (45 min)
	$(BIN)/python -m benchmarks --peers $(VENV)-peer

# If a tracker cannot be installed, the table says so.
$(VENV)-peer-%/.installed: benchmarks/peers/%.lock | $(BIN)/python
	$(BIN)/python -m venv $(VENV)-peer-$*
	-$(VENV)-peer-$*/bin/python -m pip --disable-pip-version-check --quiet $(LOCKED) -r $<
	@touch $@

lock: $(VENV)/.installed-dev  ## resolve the dependencies again (hashes, no URLs)
	$(COMPILE) --extra notify --extra sweep -o requirements.lock pyproject.toml
	$(COMPILE) --group build -c requirements.lock -o requirements-build.lock
	$(COMPILE) --group dashboard -c requirements.lock -o requirements-dashboard.lock
	for peer in $(PEERS); do \
		$(COMPILE) benchmarks/peers/$$peer.in -o benchmarks/peers/$$peer.lock || exit 1; done
	$(COMPILE) --group build --group dev --all-extras -c requirements.lock -o requirements-dev.lock pyproject.toml

clean:  ## remove .venv and caches (never results/)
	rm -rf $(VENV) $(VENV)-peer-* $(VENV)-newest $(VENV)-torch $(VENV)-matrix-* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
