# Sets up .venv, runs the demo and the checks: `make help`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --constraint constraints.txt
PYTEST := $(BIN)/pytest

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# With no compiled bytecode every `import torch` costs seconds, and each worker imports it.
unexport PYTHONDONTWRITEBYTECODE

# `make -j` would mix the checks' output and print pytest's closing line too early.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo setup setup-test chromium test lint types arch compile browser unit clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/.stamp ## set up .venv and measure the default sweep
	$(BIN)/windtunnel run

# Tests come last, and unit after all: the last line is then the closing line of the largest run.
test: lint types arch compile browser unit ## every check

setup: $(VENV)/.stamp ## .venv with what windtunnel needs

setup-test: $(VENV)/.stamp-test ## .venv with what the checks need too

# Stamp files, so that pip runs once per change of what it reads.
$(VENV)/.stamp: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a minute or two)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp
	$(PIP) --editable '.[test]'
	@touch $@

chromium: ## a Chromium for the browser tests, from the system's packages
	@if command -v chromium >/dev/null; then exit 0; \
	elif ! command -v apt-get >/dev/null; then SUDO=none; \
	elif [ "$$(id -u)" = 0 ]; then SUDO=; \
	elif sudo -n true 2>/dev/null; then SUDO='sudo -n'; \
	else SUDO=none; fi; \
	if [ "$$SUDO" = none ]; then \
	  echo 'The browser tests need `chromium` on the PATH, and it cannot be installed from here.'; \
	  echo 'Install it (Debian: apt-get install chromium), or run the other checks: make lint types arch unit'; \
	  exit 1; \
	fi; \
	$$SUDO apt-get update -qq && \
	$$SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null

lint: $(VENV)/.stamp-test ## style, imports, docstrings, format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.stamp-test ## strict where there is no torch
	$(BIN)/basedpyright --pythonpath $(BIN)/python

arch: $(VENV)/.stamp-test ## who may import whom
	$(BIN)/lint-imports --no-logo

unit: $(VENV)/.stamp-test ## tests that need neither GPU, browser nor compiler
	$(PYTEST) -n 2 --dist loadfile -m 'not gpu and not browser and not compile'

# A call of its own: jaxtyping's import hook, which checks shapes in unit, breaks torch.compile.
compile: $(VENV)/.stamp-test ## tests of torch.compile
	$(PYTEST) -m 'compile and not gpu'

browser: $(VENV)/.stamp-test chromium ## tests of the HTML report
	$(PYTEST) -m browser

clean: ## remove all that make built
	rm -rf $(VENV) build dist src/*.egg-info .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +
