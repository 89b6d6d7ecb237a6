# `make conformance` and `make test` do everything from a fresh clone: python3 (3.11+) and make.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup conformance faults test docs check bench checkers accuracy clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  \1|/' | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: .venv/installed ## create .venv and install the pinned versions; the others depend on it

.venv/installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; this is %d.%d. Name one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

conformance: setup ## judge every implementation; writes reports/conformance.html and .json
	@mkdir -p reports
	$(BIN)/conformance run --report reports/conformance.html --json reports/conformance.json \
	  $$(if [ -f reports/faults.json ]; then echo --faults reports/faults.json; fi)

faults: setup ## plant every known mistake and see it caught; writes reports/faults.html and .json
	@mkdir -p reports
	$(BIN)/conformance faults --report reports/faults.html --json reports/faults.json

test: setup ## the tests, with coverage (floor 95% of lines and branches), but for the many activations
	$(BIN)/python -m pytest -n auto --dist worksteal -m zoo
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not zoo' --cov --cov-report=
	$(BIN)/coverage report --precision=2 --fail-under=95 --show-missing --skip-covered

check: setup ## ruff (lint and format) and mypy, strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## refbp against torch eager and jitted JAX, as ratios
	$(BIN)/python benchmarks/bench.py

checkers: setup ## our verdicts beside gradcheck, check_grads and HIPS/autograd; writes docs/checkers.md
	$(BIN)/python benchmarks/checkers.py --write

docs: setup ## the documentation site, with the handouts, the audit and the reports there are, in site/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt mkdocs-material 'mkdocstrings[python]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	$(BIN)/conformance handout --all site/handouts
	$(BIN)/conformance audit --to html --output site/audit.html
	@for f in reports/*.html; do if [ -f "$$f" ]; then mkdir -p site/reports && cp "$$f" site/reports/; fi; done

accuracy: setup ## measure what each σ and σ' loses, beside what accuracy.toml says
	$(BIN)/python -m conformance.measure

clean: ## remove what was made, .venv too
	rm -rf .venv dist build site .pytest_cache .mypy_cache .ruff_cache htmlcov .coverage .coverage.* reports/conformance.html reports/conformance.json reports/faults.html reports/faults.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
