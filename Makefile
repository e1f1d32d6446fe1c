# `make` lists the targets. Each of them sets up .venv first; once that is done, set-up costs nothing.
# Variables: PYTHON=python3.12  LAB_FLAGS="--port=9000"  JOBS=4 (test processes)  LOCK_FLAGS=--upgrade

PYTHON ?= python3
JOBS ?= 2
FUZZ_SECONDS ?= 600
PY := .venv/bin/python
# uv trusts the system's certificates, as git and curl do (the second name is that of older uvs).
UV_SYSTEM_CERTS ?= 1
UV_NATIVE_TLS ?= 1
export PYTHON LAB_FLAGS UV_SYSTEM_CERTS UV_NATIVE_TLS

.PHONY: help setup lab test quick render notebooks gallery bench fuzz fuzz-properties floors lock

help:
	@echo "make lab        JupyterLab on notebooks/00_start_here.ipynb"
	@echo "make test       every check: ruff, mypy, pytest, doctests, notebooks"
	@echo "make quick      the checks that take a minute: no browser, no notebooks, no slow tests"
	@echo "make render     run every notebook and write the shareable site into site/"
	@echo "make notebooks  run every notebook and store its outputs in place"
	@echo "make gallery    the README's pictures, from the stored notebooks"
	@echo "make bench      the speed goals, measured"
	@echo "make fuzz       hostile inputs through every reader for FUZZ_SECONDS=600"
	@echo "make fuzz-properties   the property tests again, with many more random examples"
	@echo "make floors     the tests with the lowest versions that pyproject.toml allows"
	@echo "make lock       rewrite requirements.lock and environment.yml from pyproject.toml"

setup:
	@sh tools/set_up.sh

lab: setup
	@$(PY) tools/lab.py

test: setup
	$(PY) -m ruff check .
	$(PY) -m mypy
	WORKBENCH_FAST=1 $(PY) -m pytest -n $(JOBS) --dist loadfile --nbmake
	@echo "make test: all checks passed"

quick: setup
	$(PY) -m ruff check .
	$(PY) -m mypy
	WORKBENCH_FAST=1 $(PY) -m pytest -n $(JOBS) --dist worksteal -m "not browser and not slow" tests
	@echo "make quick: these checks passed"

render: setup
	$(PY) -m workbench.cli render

notebooks: setup
	$(PY) -m workbench.cli render --in-place
	$(PY) -m workbench.cli render --gallery

gallery: setup
	$(PY) -m workbench.cli render --gallery

bench: setup
	$(PY) tools/bench.py

fuzz: setup
	$(PY) tests/fuzz/readers.py --seconds $(FUZZ_SECONDS)

fuzz-properties: setup
	$(PY) -m pytest -n $(JOBS) --hypothesis-profile=fuzz -m "not browser" tests

FLOORS := .venv/floors
floors: setup
	$(PYTHON) -m venv --clear $(FLOORS)
	$(PY) -m uv pip compile --quiet --resolution lowest-direct --extra dev --python $(FLOORS)/bin/python \
		pyproject.toml -o $(FLOORS)/requirements.txt
	$(PY) -m uv pip sync --quiet --python $(FLOORS)/bin/python $(FLOORS)/requirements.txt
	$(PY) -m uv pip install --quiet --python $(FLOORS)/bin/python --no-deps --no-build-isolation -e .
	WORKBENCH_FAST=1 $(FLOORS)/bin/python -m pytest -n $(JOBS) --dist loadfile --nbmake

lock: setup
	$(PY) -m uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--extra dev --python-version 3.11 $(LOCK_FLAGS) pyproject.toml -o requirements.lock
	$(PY) tools/gen_env.py
