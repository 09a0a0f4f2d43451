# `make` lists what there is. Every target installs what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up down leavings status dev collection demo test unit integration e2e verify generate generate-check lock \
	kills others postgresql promtool proxies faketime faults faults-nodes fuzz replicas mutants model images context properties format lint typecheck imports bench \
	bench-waiting bench-admission bench-archive bench-pipeline bench-schedules bench-dashboard bench-celery redis pods-check \
	browser browser-test script screenshots

VENV := .venv
BIN := $(VENV)/bin
MEMBERS := crds adapters client api operator runner localcluster
SOURCES := $(wildcard $(MEMBERS:%=%/src))
READY := $(VENV)/.ready
# Of `up` and what needs it: CLUSTER=local, kind or given; PORT=, where the API answers; NODES= of kind
WISHES := $(if $(CLUSTER),--cluster $(CLUSTER)) $(if $(PORT),--port $(PORT)) $(if $(NODES),--nodes $(NODES))
LOCAL := $(BIN)/python -m longtask_localcluster $(WISHES)
BY_BOTH_DATABASES := accounts rights batches results subscriptions
# Of what others are measured with, and nothing of ours
BESIDE := $(VENV)/beside
UV_VERSION := $(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements.lock)
PYTHON ?= python3

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

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

leavings: $(READY) ## Bring a cluster up, take it down, and fail if anything is left of it; DURING="make e2e"
	@$(BIN)/python -m longtask_localcluster.leavings $(if $(DURING),--during "$(DURING)") $(WISHES)

status: $(READY) ## Tell what runs
	@$(LOCAL) status

dev: $(READY) ## Run API and operator on this machine, again after each change; WITHOUT=api for a debugger
	@. .localcluster/env; $(BIN)/python -m longtask_localcluster.dev $(if $(WITHOUT),--without $(WITHOUT))

collection: $(READY) ## Make the requests of examples/bruno of the API's description
	@$(BIN)/python examples/bruno/generate.py

demo: up ## Set everything up, then watch one task go through to its callback
	@. .localcluster/env; $(BIN)/python examples/demo/demo.py

test: others verify up ## Run every check and every test, on a real cluster
	@$(MAKE) --no-print-directory integration browser-test e2e

verify: generate-check lint typecheck imports unit ## Run all that needs no cluster, as CI does first

unit: $(READY) ## Run the unit tests
	@$(BIN)/pytest --numprocesses auto --dist worksteal tests/unit tests/repo

properties: $(READY) ## Draw for the properties of the unit tests what was never drawn; ten minutes
	@$(BIN)/pytest --numprocesses auto --dist worksteal --hypothesis-profile search -m hypothesis tests/unit

integration: $(READY) postgresql promtool proxies ## Run the integration tests against the real API server of `make up`
	@. .localcluster/env; $(BIN)/pytest --numprocesses auto --dist loadfile tests/integration
	@# What the API says to users, by the other of its two databases: `make unit` has it by SQLite.
	@$(BIN)/pytest --numprocesses auto --dist worksteal --database postgresql \
		$(patsubst %,tests/unit/longtask_api/test_%.py,$(BY_BOTH_DATABASES))

others: # What single unit tests run; `make unit` skips those where there is none, CI has them all
	@which npm curl >/dev/null || { export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; \
		apt-get install -y -qq --no-install-recommends curl npm; }

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

browser: $(BIN)/../axe.min.js # Debian's Chromium, and axe, which judges what it shows
	@which chromium >/dev/null || { apt-get update -qq; \
		apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core fonts-noto-color-emoji; }

$(BIN)/../axe.min.js: | $(READY)
	@$(BIN)/uv pip install --quiet --no-deps --target $(VENV)/axe axe-playwright-python==0.1.8
	@echo "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc  $(VENV)/axe/axe_playwright_python/axe.min.js" \
		| sha256sum --check --quiet && mv $(VENV)/axe/axe_playwright_python/axe.min.js $@ && rm -r $(VENV)/axe

browser-test: $(READY) browser proxies ## Use the dashboard in a browser, of an installation in memory; three minutes
	@$(BIN)/pytest --numprocesses auto --dist worksteal tests/browser

screenshots: $(READY) browser ## Take the pictures of docs/img, of an installation in memory
	@PYTHONPATH=tests/support $(BIN)/python tests/browser/take_screenshots.py docs/img

script: ## Check types and style of the dashboard's script
	@npx --yes --package typescript@5.9.3 tsc --project tests/browser/tsconfig.json
	@npx --yes --package oxlint@1.30.0 oxlint --quiet --deny correctness --deny suspicious \
		api/src/longtask_api/ui/static/dashboard.js

faketime: # Of which one of the faults has a clock of its own
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 \
		|| { apt-get update -qq && apt-get install -y -qq --no-install-recommends faketime; }

e2e: $(READY) browser ## Run the end-to-end tests against the product of `make up`
	@# Mostly they wait for pods: several of them at once.
	@. .localcluster/env; $(BIN)/pytest tests/e2e --with-e2e -m "not alone" --numprocesses 3 --dist worksteal
	@. .localcluster/env; $(BIN)/pytest tests/e2e --with-e2e -m alone

kills: $(READY) ## Kill two operators each 20 s for 3 minutes under a schedule of 5 s, on the cluster of `make up`
	@. .localcluster/env; LONGTASK_KILLED_FOR=180 $(BIN)/pytest tests/e2e/test_schedules.py --with-e2e -k two_operators

faults: up faketime ## Break what the operator stands on, 20 tasks a fault; half an hour, or FAULT=F5 alone
	@. .localcluster/env; PYTHONPATH=tests/support $(BIN)/python tests/faults/run_faults.py \
		$(if $(FAULT),$(FAULT),--write docs/reliability.md)

faults-nodes: ## Lose a node of three, empty one, preempt all on one, under 20 tasks each; a quarter of an hour
	@$(MAKE) --no-print-directory up CLUSTER=kind NODES=3
	@. .localcluster/env; PYTHONPATH=tests/support $(BIN)/python tests/faults/run_faults.py --nodes \
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
	@PYTHONPATH=tests/support:tests/fuzz $(BIN)/python tests/fuzz/run_fuzz.py --write docs/reliability.md

replicas: up postgresql ## Ask two replicas of the API on one PostgreSQL whether they say the same; some minutes
	@. .localcluster/env; PYTHONPATH=tests/support $(BIN)/python tests/replicas/run_replicas.py \
		--write docs/reliability.md

mutants: $(READY) ## Mutate what decides, and count what the tests notice; half an hour, or MODULE=crds/names
	@PYTHONPATH=tests/support $(BIN)/python tests/mutation/run_mutants.py $(MODULE) --write docs/reliability.md

model: $(READY) ## Search what may happen to a task, and to warm ones, far beyond what each commit does; an hour
	@PYTHONPATH=tests/support $(BIN)/python tests/model/run_model.py --write docs/reliability.md

pods-check: $(READY) ## Render ten thousand tasks' pods, and judge each by Pod Security
	@$(BIN)/pytest --pods 10000 tests/unit/longtask_operator/test_rendered_pods.py

bench-waiting: up ## Measure what 10,000 waiting tasks cost, and whom; ten minutes
	@. .localcluster/env; $(BIN)/python bench/waiting.py

bench-admission: $(READY) ## Measure one admission decision and one look at a task, as the queue grows; three minutes
	@$(BIN)/python bench/admission.py

bench-archive: $(READY) ## Measure lists and searches of 20,000 archived tasks, and whether archiving keeps up
	@$(BIN)/python bench/archive.py

bench-pipeline: up ## Measure what a step costs beside a plain task, in a chain of 50; six minutes
	@. .localcluster/env; $(BIN)/python bench/pipeline.py

bench-schedules: $(READY) ## Measure what 2,000 schedules cost, of which 200 are due in one second; three minutes
	@$(BIN)/python bench/schedules.py

bench-dashboard: $(READY) browser postgresql ## Measure the dashboard: its lists, 200 open pages, frames in a browser; ten minutes
	@PYTHONPATH=tests/support $(BIN)/python bench/dashboard.py
	@PYTHONPATH=tests/support $(BIN)/python bench/dashboard.py --postgresql --only lists

bench-celery: up redis $(BESIDE)/.ready ## Measure the same by FastAPI, Celery and Redis, beside ours; ten minutes
	@. .localcluster/env; $(BIN)/python bench/celery_beside.py --python $(BESIDE)/bin/python

redis: # That Celery goes through; no server of the machine's own is started
	@test -x /usr/bin/redis-server || { apt-get update -qq; \
		RUNLEVEL=1 apt-get install -y -qq --no-install-recommends redis-server; }

$(BESIDE)/.ready: bench/beside/requirements.txt | $(READY)
	@$(BIN)/uv venv --quiet --clear $(BESIDE) && $(BIN)/uv pip sync --quiet --python $(BESIDE)/bin/python $<
	@touch $@

bench: up ## Measure latency and writes per task on the cluster
	@. .localcluster/env; $(BIN)/python bench/latency.py && $(BIN)/python bench/writes.py
