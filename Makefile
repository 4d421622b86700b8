# make demo            try the command on made-up heads
# make demo BIDS=path  run it on your own data (OUT=path says where results go)
# make test            all checks and tests
# make lint            the checks alone
# make docs            the documentation, into build/site
# make lock            pin the versions that go into the image
SHELL := /bin/bash
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-data/made
# Tests that run beside each other; each may take 2 GB.
JOBS ?= 2
OUT ?= demo-data/$(shell basename "$(BIDS)")
CODE := bids_flairseg tests benchmarks platforms .ci

.PHONY: demo test lint docs format descriptor lock clean
.DEFAULT_GOAL := demo

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "flairseg needs Python 3.11, 3.12 or 3.13; none is on the PATH. \
	Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python -m venv failed; on Debian \
	and Ubuntu it comes with the package python3-venv"; exit 1; }

$(VENV)/installed: pyproject.toml | $(BIN)/python
	@echo "Installing flairseg and what it needs into $(VENV) (once, a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing flairseg and its development tools into $(VENV) (once, a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/installed

ifdef BIDS
demo: $(VENV)/installed
	$(BIN)/flairseg "$(BIDS)" "$(OUT)" participant -w demo-data/work
else
demo: $(VENV)/installed
	$(BIN)/python -m bids_flairseg.demo make $(DEMO)/bids
	$(BIN)/flairseg $(DEMO)/bids $(DEMO)/results participant -w $(DEMO)/work
	$(BIN)/python -m bids_flairseg.demo compare $(DEMO)/bids $(DEMO)/results
endif

lint: $(VENV)/installed-dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python .ci/docstrings.py
	$(BIN)/python .ci/descriptor.py --check
	$(BIN)/python .ci/pages.py --check

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "The documentation: build/site/index.html"

test: lint docs
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

descriptor: $(VENV)/installed
	$(BIN)/python .ci/descriptor.py
	$(BIN)/python .ci/pages.py

# Versions and checksums of what goes into the image, wheels only: UV=/path/to/uv (pip install uv).
# UPGRADE=--upgrade takes the newest versions; without it those that are pinned stay.
UV ?= uv
UV_COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--only-binary :all: --no-emit-index-url --custom-compile-command 'make lock' $(UPGRADE)
lock:
	$(UV_COMPILE) locks/build.in -o locks/build.txt
	$(UV_COMPILE) pyproject.toml locks/cpu.in --overrides locks/left-out.txt \
		--overrides locks/cpu-left-out.txt -o locks/cpu.txt
	$(UV_COMPILE) pyproject.toml locks/gpu.in --overrides locks/left-out.txt -o locks/gpu.txt

clean:
	rm -rf $(DEMO) dist build
