# `make help` lists what there is. Needed: Python 3.11 or newer, make, git.
.DEFAULT_GOAL := help
.PHONY: help run formats catboost test drill bench lint lint-steps fmt check environment environment-dev

PY := .venv/bin/python

# Runs runtime/install.py with the environment's own Python, else with $(PYTHON), else with the first one that is new enough.
define install
	@for python in "$(PY)" $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python3.14); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec "$$python" runtime/install.py $(1) $(if $(PYTHON),--as-is); \
		fi; \
	done; \
	echo "Python 3.11 or newer is needed, and $(if $(PYTHON),PYTHON=$(PYTHON) is not one,none was found: install it, or say where it is with PYTHON=/path/to/python3)." >&2; exit 1
endef

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## (.*)/\1|\2/' | while IFS='|' read -r name words; do printf '  make %-8s %s\n' "$$name" "$$words"; done

run: environment ## everything in the foreground: database, broker, console, worker, beat, gateway; Ctrl-C stops it
	@exec $(PY) -m runtime

formats: ## also take XGBoost, LightGBM and skops files, 320 MB
	$(call install,formats)

catboost: ## and CatBoost files, 280 MB more
	$(call install,catboost)

test: environment-dev ## all tests but the long ones (ARGS="-m long"), with servers of their own; T=tests/gateway narrows it, ARGS=--cov measures
	@exec $(PY) -m runtime.testing $(T) $(ARGS)

drill: environment-dev ## the fault drills under load, as a table; ARGS="kill-gateway --short" narrows it
	@exec $(PY) -m drills $(ARGS)

bench: environment-dev ## the gateway's speed beside other servers, in one run; ARGS=--quick makes it short
	@exec $(PY) -m benchmarks $(ARGS)

lint: environment-dev ## ruff, mypy, import directions, templates, migrations, translations, deployment check
	@$(PY) -m runtime.testing --exec $(MAKE) --no-print-directory lint-steps

lint-steps:
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy .
	.venv/bin/lint-imports --no-logo --no-cache
	$(PY) -m runtime.lint
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) manage.py check --deploy --fail-level WARNING

fmt: environment-dev ## format and fix what can be fixed
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

check: ## what CI runs: lint, then all tests, the long ones too
	@.ci/run

environment:
	$(call install,run)

environment-dev:
	$(call install,dev)
