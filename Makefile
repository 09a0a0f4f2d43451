# `make` lists what there is. Every target installs what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up down status dev collection demo test unit integration e2e verify generate generate-check lock \
	postgresql promtool proxies faketime faults fuzz mutants images context format lint typecheck imports bench \
	bench-waiting bench-archive bench-pipeline pods-check

VENV := .venv
BIN := $(VENV)/bin
MEMBERS := crds adapters client api operator runner localcluster
SOURCES := $(wildcard $(MEMBERS:%=%/src))
READY := $(VENV)/.ready
LOCAL := $(BIN)/python -m longtask_localcluster
UV_VERSION := $(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements.lock)
PYTHON ?= python3

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed, as $(PYTHON)"; exit 1; }
	@# Debian keeps venv in a package of its own.
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(READY): requirements.lock $(MEMBERS:%=%/pyproject.toml) | $(BIN)/uv
	@echo "installing the locked packages into $(VENV)"
	@$(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@touch $@

up: $(READY) ## Bring up a cluster with the product on it
	@$(LOCAL) up

down: $(READY) ## Take the cluster down and leave nothing behind
	@$(LOCAL) down

status: $(READY) ## Tell what runs
	@$(LOCAL) status

dev: $(READY) ## Run API and operator on this machine, again after each change; WITHOUT=api for a debugger
	@. .localcluster/env; $(BIN)/python -m longtask_localcluster.dev $(if $(WITHOUT),--without $(WITHOUT))

collection: $(READY) ## Make the requests of examples/bruno of the API's description
	@$(BIN)/python examples/bruno/generate.py

demo: up ## Set everything up, then watch one task go through to its callback
	@. .localcluster/env; $(BIN)/python examples/demo/demo.py

test: verify up ## Run every check and every test, on a real cluster
	@$(MAKE) --no-print-directory integration e2e

verify: generate-check lint typecheck imports unit ## Run all that needs no cluster, as CI does first

unit: $(READY) ## Run the unit tests
	@$(BIN)/pytest --numprocesses auto --dist worksteal tests/unit tests/repo

integration: $(READY) postgresql promtool proxies ## Run the integration tests against the real API server of `make up`
	@. .localcluster/env; $(BIN)/pytest tests/integration

postgresql: # The server that the integration tests run; no server of the machine's own is started
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
		export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; \
		apt-get install -y -qq --no-install-recommends postgresql-common; \
		mkdir -p /etc/postgresql-common/createcluster.d; \
		echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/longtask.conf; \
		apt-get install -y -qq --no-install-recommends postgresql; }

proxies: # That the streams of the API are tested through; none of the machine's own is started
	@test -x /usr/sbin/nginx || { apt-get update -qq; \
		RUNLEVEL=1 apt-get install -y -qq --no-install-recommends nginx-light; }

promtool: $(BIN)/promtool # Prometheus' own judge of metrics and alerts; no server is installed

$(BIN)/promtool: | $(READY)
	@apt-get update -qq && cd $(BIN) && apt-get download -qq prometheus 2>/dev/null \
		&& dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool > promtool.new \
		&& chmod 755 promtool.new && mv promtool.new promtool && rm prometheus_*.deb

faketime: # Of which one of the faults has a clock of its own
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 \
		|| { apt-get update -qq && apt-get install -y -qq --no-install-recommends faketime; }

e2e: $(READY) ## Run the end-to-end tests against the product of `make up`
	@. .localcluster/env; $(BIN)/pytest tests/e2e --with-e2e

faults: up faketime ## Break what the operator stands on, 20 tasks a fault; half an hour, or FAULT=F5 alone
	@. .localcluster/env; PYTHONPATH=tests/support $(BIN)/python tests/faults/run_faults.py \
		$(if $(FAULT),$(FAULT),--write docs/reliability.md)

generate: $(READY) ## Make what is made: the CRDs, and the chart's copies
	@$(BIN)/python -m longtask_crds.definitions.generate crds charts/longtask/crds
	@mkdir -p charts/longtask/files/types && cp runner/types/*.yaml charts/longtask/files/types/

generate-check: $(READY)
	@$(BIN)/python -m longtask_crds.definitions.generate --check crds charts/longtask/crds
	@diff -r runner/types charts/longtask/files/types

lock: $(BIN)/uv ## Make requirements.lock anew
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --python-version 3.11 $(MEMBERS:%=--no-emit-package longtask-%) \
		--extra otel --extra dev --group dev --group localcluster pyproject.toml $(MEMBERS:%=%/pyproject.toml) -o requirements.lock

images: $(READY) ## Build the two images and load them into the cluster
	@$(LOCAL) images

context: $(READY) ## Prepare the folders that `docker build` takes, for a registry of yours
	@$(LOCAL) context

format: $(READY) ## Format the code
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

lint: $(READY) ## Check style
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . && $(BIN)/yamllint --strict .

typecheck: $(READY) ## Check types
	@$(BIN)/mypy $(SOURCES)

imports: $(READY) ## Check who imports whom
	@$(BIN)/lint-imports

fuzz: $(READY) ## Send the API 5,000 requests and more that are made up of its description; some minutes
	@PYTHONPATH=tests/support:tests/fuzz $(BIN)/python tests/fuzz/run_fuzz.py

mutants: $(READY) ## Mutate what decides, and count what the tests notice; half an hour, or MODULE=crds/names
	@PYTHONPATH=tests/support $(BIN)/python tests/mutation/run_mutants.py $(MODULE) --write docs/reliability.md

pods-check: $(READY) ## Render ten thousand tasks' pods, and judge each by Pod Security
	@$(BIN)/pytest --pods 10000 tests/unit/longtask_operator/test_rendered_pods.py

bench-waiting: up ## Measure what 10,000 waiting tasks cost, and whom; ten minutes
	@. .localcluster/env; $(BIN)/python bench/waiting.py

bench-archive: $(READY) ## Measure lists and searches of 20,000 archived tasks, and whether archiving keeps up
	@$(BIN)/python bench/archive.py

bench-pipeline: up ## Measure what a step costs beside a plain task, in a chain of 50; six minutes
	@. .localcluster/env; $(BIN)/python bench/pipeline.py

bench: up ## Measure latency and writes per task on the cluster
	@. .localcluster/env; $(BIN)/python bench/latency.py && $(BIN)/python bench/writes.py
