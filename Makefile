# Needs make, git and Python 3.11 or newer; everything else goes into .venv, at the versions of constraints.txt.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
CORES ?= 4
SEED ?= 0

.PHONY: help install demo test test-slow test-robust lint generated bench

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

install: .venv/installed ## .venv with what the project runs with (2 GB; a few minutes with pip, less with uv)

# What tests and lint need is apart: Fabric imports torchmetrics, and with it half of `dev`, wherever it is installed,
# which takes 2.6 s of each training.
.venv/installed: WHAT := .
.venv/developed: WHAT := .[dev]

# uv takes the wheels with CUDA unless it is told of pip's own places; where it cannot serve, pip does the same.
.venv/installed .venv/developed: constraints.txt pyproject.toml
	@python=$$(for name in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	    if command -v $$name >/dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v $$name; break; fi; \
	  done); \
	if [ -z "$$python" ]; then echo "error: Python 3.11 or newer is needed; found: $$(python3 --version 2>&1 || echo none)" >&2; exit 1; fi; \
	export UV_FIND_LINKS="$${PIP_FIND_LINKS:-}"; \
	[ -x $(BIN)/python ] || "$$python" -m venv .venv || exit 1; \
	if command -v uv >/dev/null && uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '$(WHAT)'; then touch .venv/installed $@; exit 0; fi; \
	echo "installing $(WHAT) into .venv: a few minutes"; \
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '$(WHAT)' && touch .venv/installed $@

demo: install ## AIM and joint training on the generated sample, from raw clips to a table (under 8 minutes on 2 cores)
	$(BIN)/snakemake --cores $(CORES) -- results/cremad_aim.json results/cremad_joint.json
	@$(BIN)/equimodal show results/cremad_joint.json results/cremad_aim.json

# Two workers, a file's tests together: they share what they build. One thread each: tests are small, and more only wait
# for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test: .venv/developed ## the fast test suite
	$(PYTEST) -m "not slow"

test-slow: .venv/developed ## the tests that take minutes
	$(PYTEST) -m slow --ignore tests/robustness

test-robust: .venv/developed ## kills, fuzzed settings, odd and malicious files; SEED=1 tries others
	$(PYTEST) -m slow tests/robustness --seed $(SEED)

lint: .venv/developed ## style, types, the workflow's own checks
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

generated: .venv/developed ## what is made from the code: schemas, README's list of methods
	$(BIN)/equimodal schema
	$(BIN)/python -m equimodal.report.schema
	$(BIN)/python -m equimodal.params.generated

bench: .venv/developed ## timed comparisons; prints ratios
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done
