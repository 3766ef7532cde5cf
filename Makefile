# On a fresh machine with Python 3.11 or newer and make: `make demo` shows it, `make test` checks it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-kubernetes check bench soak image clean uv env tools

# uv from the PATH, else one of our own under .tools.
UV := $(shell command -v uv 2>/dev/null || echo .tools/uv/bin/uv)
RUN := $(UV) run --frozen --all-extras

# Python keeps what it compiled: hundreds of processes start here, and each would compile matplotlib and scipy anew.
unexport PYTHONDONTWRITEBYTECODE

help: ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: env ## run the packaged hydrogen experiment
	@$(RUN) physlab demo
	@echo; echo "(Here, say .venv/bin/physlab for physlab.)"

# These tests alone are measured, in every process they start; the others run as fast as they can.
MEASURED := $(addprefix tests/,analysis artifacts contracts dags engine library schemas testing \
  $(addprefix tools/test_,missing_resources.py outlooks.py series_and_deadlines.py sweep_forms.py))

test: env tools check ## everything: format, lint, types, import direction, tests, coverage
	@rm -rf build/coverage && mkdir -p build/coverage
	@failed=0; \
	COVERAGE_PROCESS_START="$(CURDIR)/pyproject.toml" COVERAGE_FILE="$(CURDIR)/build/coverage/part" \
	  $(RUN) pytest -n 3 --dist loadfile $(MEASURED) || failed=1; \
	$(RUN) pytest -n 3 --dist loadfile $(addprefix --ignore=,$(MEASURED)) || failed=1; \
	$(RUN) python scripts/check_coverage.py || failed=1; \
	exit $$failed

test-kubernetes: env ## the backend on a real Kubernetes API, which is built once (10 to 25 minutes) and kept in ~/.cache
	@bash scripts/kubernetes-build.sh
	REAL_KUBERNETES=1 $(RUN) pytest -n 0 tests/real_kubernetes

check: env ## the static part of `test`
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) pyright
	$(RUN) lint-imports

bench: env ## the performance table (installs the peers that stand beside us in it)
	$(RUN) python -m benchmarks

soak: env ## the long form of the tests marked `soak`
	SOAK=full $(RUN) pytest -m soak -s --timeout 3600

IMAGE ?= physlab-mcp:latest
image: ## the container image in which jobs run on Kubernetes: make image IMAGE=registry.example.org/physlab:1
	$$(command -v docker || command -v podman) build --tag "$(IMAGE)" .

clean: ## remove what can be made again
	rm -rf .venv .tools .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build physlab-out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

env: uv
	@started=$$SECONDS; $(UV) sync --frozen --all-extras --quiet; echo "environment ready ($$((SECONDS - started)) s)"

uv:
	@if ! [ -x "$$(command -v $(UV))" ]; then \
	  started=$$SECONDS; \
	  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed."; exit 1; }; \
	  { python3 -m venv .tools/uv && .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv; } \
	    || python3 -m pip install --quiet --disable-pip-version-check --upgrade --target .tools/uv uv; \
	  echo "uv installed into .tools ($$((SECONDS - started)) s)"; \
	fi

tools:
	@bash scripts/install-test-tools.sh
	@bash scripts/install-slurm.sh
