# One word per task. Everything happens in .venv; nothing outside this folder is touched.
PYTHON ?= python3
BIN := .venv/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
STAMP := .venv/.installed-$(VERSION)

.PHONY: help demo airflow test test-airflow test-browser test-distributed test-stores test-conformance faults test-matrix test-matrix-short lint prose bench wheel docs clean

help:  ## list the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26

demo: $(STAMP)  ## run the ETL example on a real Airflow against the emulator, and show what happened
	@$(BIN)/python -m demo

airflow: $(STAMP)  ## the same with Airflow's UI up, for looking around
	@$(BIN)/python -m demo --serve

# One more than there are cores: many tests wait for a server or a process.
PROCESSES := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

test: $(STAMP)  ## the whole test suite, in some processes
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

test-airflow: $(STAMP)-postgres  ## kill, stall and restart a real Airflow on PostgreSQL; prints what that cost (6 minutes)
	REAL_AIRFLOW=1 $(BIN)/python -m pytest tests/real_airflow

test-browser: $(STAMP)  ## look at the page "Gemini batches" of a whole Airflow with headless Chromium; keeps screenshots (2 minutes)
	@command -v chromium chromium-browser google-chrome >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	BROWSER=1 $(BIN)/python -m pytest tests/browser

test-distributed: .venv-distributed/.installed-$(VERSION)  ## 50 partitions on Celery workers and two triggerers, undisturbed and killed (7 minutes)
	DISTRIBUTED=1 .venv-distributed/bin/python -m pytest tests/distributed

faults: $(STAMP)  ## kill and confuse the engine some thousand times; judged by the emulator's journal (40 minutes)
	$(BIN)/python -m faults

test-stores:  ## the ledger and the engine on the S3 API, in an environment of its own (2 minutes)
	scripts/test-stores $(PYTHON)

test-conformance:  ## Google's own tests and the JavaScript SDK on the emulator, in an environment of their own (2 minutes)
	scripts/test-conformance $(PYTHON)

test-matrix: ## the suite on the oldest and the newest supported Airflow and Python
	scripts/test-matrix full

test-matrix-short: ## import, provider info and one deferred DAG on the same
	scripts/test-matrix short

lint: $(STAMP)  ## ruff, format, types, layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

prose: $(STAMP)  ## how pages and docstrings read: lengths of sentences, semicolons (a report, not a gate)
	@$(BIN)/python scripts/prose.py

PEERS := .venv-peers/.installed .venv-peers-google/.installed

bench: $(STAMP)-postgres $(PEERS)  ## memory, speed and waits beside others, a million rows, the emulator under load, ranges of trials, nights with late jobs (50 minutes)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.landing .venv-peers/bin/python
	$(BIN)/python -m benchmarks.waits .venv-peers/bin/python .venv-peers-google/bin/python
	$(BIN)/python -m benchmarks.triggerer
	$(BIN)/python -m benchmarks.million
	$(BIN)/python -m benchmarks.emulator
	$(BIN)/python -m benchmarks.trial_coverage
	$(BIN)/python -m benchmarks.rescue 50

.venv-%/.installed: benchmarks/%.txt
	@$(PYTHON) -m venv .venv-$*
	@echo "Installing what is measured beside us into .venv-$* (about two minutes)..."
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

wheel: $(STAMP)  ## build the wheel and import it from a clean environment
	scripts/check-wheel $(PYTHON)

docs: .venv-docs/.installed  ## build the site of docs/ into .site, strictly and without network
	scripts/build-docs .venv-docs/bin/python

.venv-docs/.installed: constraints/docs.txt
	@test -d .venv-docs || $(PYTHON) -m venv .venv-docs
	@echo "Installing mkdocs into .venv-docs (about ten seconds)..."
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

clean:  ## remove what the tasks made
	rm -rf .venv .venv-* .demo .real-airflow .distributed .site .browser dist

$(STAMP): pyproject.toml constraints/py$(VERSION).txt
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo "Installing Airflow and the provider into .venv (about a minute)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/py$(VERSION).txt -e '.[dev]'
	@touch $@

$(STAMP)-postgres: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/py$(VERSION).txt -e '.[dev,airflow-tests]'
	@touch $@

.venv-distributed/.installed-$(VERSION): pyproject.toml constraints/py$(VERSION).txt
	@test -d .venv-distributed || $(PYTHON) -m venv .venv-distributed
	@echo "Installing Airflow with Celery into .venv-distributed (about a minute)..."
	@.venv-distributed/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/py$(VERSION).txt -e '.[distributed-tests]'
	@touch $@

constraints/py$(VERSION).txt:
	@echo "Python 3.10 to 3.13 is needed; '$(PYTHON)' is $(or $(VERSION),not there). Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1
