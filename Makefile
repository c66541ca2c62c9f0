# run, test, check, lint, docs: each sets up what it needs on a fresh machine, once (stamp files).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WEB := web/node_modules/.installed
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: run test check lint docs setup clean

## run: the whole experiment on the embedded model, ending in a report
run: $(INSTALLED)
	$(BIN)/circuitune run

## test: everything that is fast, in under ten minutes
test: $(INSTALLED) $(WEB)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m "not slow"
	cd web && npm test

## check: what is slow: whole runs, kill and resume
check: $(INSTALLED)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m slow --timeout=1500 --durations=25

## lint: style, types, import contracts, and the page's bundle against its source
lint: $(INSTALLED) $(WEB)
	$(BIN)/ruff check src tests benchmarks tools studies
	$(BIN)/ruff format --check src tests benchmarks tools studies
	$(BIN)/pyright
	$(BIN)/lint-imports
	cd web && npm run lint && npm run check-fresh

## docs: the documents as a site, in site/; a link or a name that leads nowhere is an error
docs: $(INSTALLED)
	$(BIN)/zensical build --clean --strict

setup: $(INSTALLED) $(WEB)

$(INSTALLED): requirements/lock.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "circuitune needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install torch==2.13.0
	$(BIN)/pip install --no-deps --require-hashes -r requirements/lock.txt
	$(BIN)/pip install --no-deps -e .
	touch $@

$(WEB): web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	touch $@

clean:
	rm -rf $(VENV) web/node_modules build dist site
