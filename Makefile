# `make conformance` and `make test` do everything from a fresh clone: python3 (3.11+) and make.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TORCH := torch==2.13.0
TORCH_NEEDS := filelock fsspec jinja2 networkx setuptools sympy typing-extensions
# Everything is installed by the hashes of constraints.txt, but for torch, and CUDA's packages where torch needs them:
# an index has a build of its own of each version, for the CPU or for CUDA.
unexport PYTHONDONTWRITEBYTECODE # hundreds of processes would each compile every module anew

.PHONY: help setup constraints conformance faults test test-all docs screens check bench scale checkers kills mutants sensitivity accuracy oldest clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  \1|/' | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: .venv/installed ## create .venv and install the pinned versions; the others depend on it

.venv/installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; this is %d.%d. Name one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv --clear .venv
	$(PIP) --require-hashes --no-deps --only-binary :all: -r constraints.txt
	$(PIP) $(TORCH)
	$(PIP) --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	@touch $@

constraints: setup ## resolve constraints.txt for every Python and platform, with hashes; UPGRADE=--upgrade takes the newest
	printf '%s\n' $(TORCH_NEEDS) | $(BIN)/uv pip compile pyproject.toml - --universal --python-version 3.11 $(UPGRADE) \
	  --extra conformance --extra jax --extra fuzz --extra cluster --extra test --extra docs --extra tools --generate-hashes \
	  --quiet --no-emit-index-url --no-annotate --custom-compile-command 'make constraints' --output-file constraints.txt

conformance: setup ## judge every implementation; writes reports/conformance.html and .json
	@mkdir -p reports
	$(BIN)/conformance --cache .venv/jax-cache run --report reports/conformance.html --json reports/conformance.json \
	  --require refbp --require torch-cpu --require jax-cpu --require jax-cpu-jit \
	  $$(if [ -f reports/faults.json ]; then echo --faults reports/faults.json; fi)

faults: setup ## plant every known mistake and see it caught; writes reports/faults.html and .json
	@mkdir -p reports
	$(BIN)/conformance faults --report reports/faults.html --json reports/faults.json

PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal
FLOOR := 91 # of lines and branches, by the tests of `make test` alone
QUICK := not slow and not zoo and not long

test: setup ## the tests, but for those that take seconds
	$(PYTEST) -m '$(QUICK)'

SHARE := 0/1 # of the tests that take long: all of them

test-all: setup ## every test; how much of the code those of `make test` run (the tracer makes the others crawl)
	$(PYTEST) -m 'not ($(QUICK))' --share $(SHARE)
	$(PYTEST) -m '$(QUICK)' --cov --cov-report=
	$(BIN)/coverage report --precision=2 --fail-under=$(FLOOR) --show-missing --skip-covered

check: setup ## ruff (lint and format), mypy (strict) and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

bench: setup ## refbp against torch eager and jitted JAX, and a verdict against gradcheck, as ratios
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/verdicts.py --large

scale: setup ## time and memory of a verdict by width, batch, depth and number of cases; writes docs/scale.md, or CASES=N alone
	$(BIN)/python benchmarks/scale.py $(if $(CASES),--cases $(CASES),--write)

checkers: setup ## our verdicts beside gradcheck, check_grads and HIPS/autograd; writes docs/checkers.md
	$(BIN)/python benchmarks/checkers.py --write

kills: setup ## kill a run 200 times, and resume it: the results are those of one that was left alone
	$(BIN)/python benchmarks/kills.py

mutants: setup ## mutation testing of what verdicts rest on; fails where a mutant survives that mutants.toml does not list
	$(BIN)/python benchmarks/mutants.py

sensitivity: setup ## the smallest relative error that each gate would see
	$(BIN)/python benchmarks/sensitivity.py

reports/faults.html:
	$(MAKE) faults

reports/conformance.html:
	$(MAKE) conformance

docs: setup reports/faults.html reports/conformance.html ## the documentation site, with handouts, the audit and reports, in site/
	$(BIN)/zensical build --strict --clean
	@mkdir -p site/reports
	$(BIN)/conformance handout --all site/handouts
	$(BIN)/conformance audit --to html --output site/audit.html
	cd site/reports && cp ../../examples/student.py . && ../../$(BIN)/conformance run --profile quick \
	  --implementation student.py --json student.json
	cd site/reports && cp ../../examples/wrong_student.py student.py && ../../$(BIN)/conformance run --profile quick \
	  --implementation student.py --json wrong_student.json --report wrong_student.html || [ $$? = 1 ]
	cd site/reports && ../../$(BIN)/conformance diff student.json wrong_student.json --html diff.html || [ $$? = 1 ]
	$(BIN)/conformance activation tests/conformance/activation/under_test.py:silu \
	  tests/conformance/activation/under_test.py:silu_prime --report site/reports/silu.html
	$(BIN)/conformance function examples/rms_norm.py:rms_norm --vjp examples/rms_norm.py:rms_norm_vjp \
	  --inputs 'x=16x32, g=32' --report site/reports/rms_norm.html || [ $$? = 1 ]
	$(BIN)/conformance module examples/block.py:net --input 4x5x8 --loss cross_entropy \
	  --families ordinary,redrawn --report site/reports/block.html || [ $$? = 1 ]
	cp reports/faults.html reports/conformance.html site/reports/
	@grep -rhoE '\]\(\.\./[^)#]+' docs/*.md | cut -c6- | sort -u | while read -r f; do mkdir -p "site/$$(dirname "$$f")" && cp "$$f" "site/$$f"; done # what the pages link to

screens: setup ## look at the site with Chromium: a picture of each page in reports/screens, every link followed
	$(BIN)/python tests/screens.py site reports/screens

accuracy: setup ## measure what each σ and σ' loses, beside what accuracy.toml says
	$(BIN)/python -m conformance.judge.measure

OTHERS := $(foreach v,3.12 3.13,$(shell command -v python$(v) 2>/dev/null))
oldest: setup ## the quick profile with the oldest versions declared, and on other Pythons: OTHERS='python3.12 python3.13'
	$(BIN)/python tests/meta/oldest.py $(OTHERS)

clean: ## remove what was made, .venv too
	rm -rf .venv dist build site .pytest_cache .mypy_cache .ruff_cache htmlcov .coverage .coverage.* reports/conformance.html reports/conformance.json reports/faults.html reports/faults.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
