# Any Python that runs may read manage.py; it finds the one Retex needs by itself.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.14 /usr/bin/python3 /usr/local/bin/python3 \
	/opt/homebrew/bin/python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 6))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

VENV ?= $(or $(RETEX_VENV),.venv)

.DEFAULT_GOAL := help
.PHONY: help run test lint messages bench bench-search bench-scale bench-drift bench-calls bench-start clean python

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: python ## start Retex with its own database; Ctrl-C stops it
	@$(PYTHON) manage.py up

test: python ## check the code and run every test
	@$(PYTHON) manage.py verify

lint: python ## check style, types, imports and migrations only
	@$(PYTHON) manage.py lint

messages: python ## bring the translation catalogues up to date with the texts (needs GNU gettext)
	@$(PYTHON) manage.py makemessages --locale fr --no-obsolete --add-location file \
		--ignore '.venv*' --ignore 'var/*' --ignore 'tests/*'
	@$(PYTHON) manage.py compile_catalogues

bench: bench-search bench-scale bench-drift bench-calls bench-start ## run every bench; hours on a small machine

bench-search: python ## how well the search finds, on judged queries; OPTIONS=--show lists dev failures
	@$(PYTHON) manage.py install
	@RETEX_BOOTSTRAP=0 $(VENV)/bin/python -m tests.benchmarks.search_quality $(OPTIONS)

bench-scale: python ## how quick finding is with 10k, 100k and 1M prompts; OPTIONS=--sizes=10000,100000
	@$(PYTHON) manage.py install
	@RETEX_BOOTSTRAP=0 $(VENV)/bin/python -m tests.benchmarks.search_scale $(OPTIONS)

bench-drift: python ## what drift detection finds in recorded answers, and what it costs; OPTIONS=--draws=20
	@$(PYTHON) manage.py install
	@RETEX_BOOTSTRAP=0 $(VENV)/bin/python -m tests.benchmarks.drift_product $(OPTIONS)

bench-calls: python ## how many slow calls one worker process waits for at once, and in how much memory
	@$(PYTHON) manage.py install
	@RETEX_BOOTSTRAP=0 $(VENV)/bin/python -m tests.benchmarks.drift_calls $(OPTIONS)

bench-start: python ## from a fresh clone to the first page, and once more
	@$(PYTHON) manage.py install
	@RETEX_BOOTSTRAP=0 $(VENV)/bin/python -m tests.benchmarks.starting $(OPTIONS)

clean: ## remove the Python environment and caches; what Retex keeps stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find accounts api kb tests -name __pycache__ -type d -prune -exec rm -rf {} +
	find locale -name '*.mo' -delete

python:
	@test -n "$(PYTHON)" || { echo "Retex needs Python 3.12 or newer, and none was found. Install it: apt install python3.13 python3.13-venv, or brew install python@3.13" >&2; exit 1; }
