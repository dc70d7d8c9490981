# Everything runs in .venv, or in the environment of your own that is activated (venv, or conda other than base).
# Overrides: PYTHON3=python3.12 (makes .venv), CONSTRAINTS= (keep the versions an environment of your own has), WORKERS=4.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON3 ?= python3
CONSTRAINTS ?= constraints.txt
WORKERS ?= 2

ACTIVATED := $(or $(VIRTUAL_ENV),$(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX)))
ENV := $(if $(and $(ACTIVATED),$(wildcard $(ACTIVATED)/bin/python)),$(ACTIVATED),.venv)
PYTHON := $(ENV)/bin/python
# One stamp for each place a clone stands in, since an editable install points there.
STAMP := $(ENV)/.vlp-installed-$(shell pwd | cksum | cut -d' ' -f1)
# Two test processes on two cores: one thread each is faster than two threads each.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest --durations=10 --durations-min=5

.PHONY: env demo test test-slow faults seeds lint bench help

env: $(STAMP)  ## install into .venv (or the activated environment); does nothing when that is done

$(PYTHON):
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "Python 3.11 or newer is needed, $(PYTHON3) is " + sys.version.split()[0] + "; try make env PYTHON3=python3.12")'
	$(PYTHON3) -m venv $(ENV)

$(STAMP): setup.cfg pyproject.toml constraints.txt | $(PYTHON)
	@$(PYTHON) -m pip --version > /dev/null 2>&1 || $(PYTHON) -m ensurepip
	@echo "Installing into $(ENV); the first time this fetches PyTorch, which is large."
	$(PYTHON) -m pip install $(addprefix -c ,$(CONSTRAINTS)) -e '.[dev]'
	@touch $@

demo: env  ## pre-train a tiny UNITER, probe it, write the report and say where it is (about 10 minutes)
	$(PYTHON) train.py experiment=scenes model=uniter
	$(PYTHON) probe.py -m probe=nmi,pretraining model=uniter hydra.sweep.dir=outputs/demo/sweep
	$(PYTHON) -m vlp.report outputs/train outputs/demo/sweep --out outputs/demo

test: env  ## the test suite (under 10 minutes on 2 cores)
	$(PYTEST) -n $(WORKERS) -m "not slow"

test-slow: env  ## base-size and long checks, the demo among them (under 40 minutes)
	$(PYTEST) -m slow

faults: env  ## kill, fill the disk, flip bits, feed hostile files; prints what was lost (under 60 minutes)
	$(PYTHON) -m tests.faults

seeds: env  ## three seeds of UNITER, VisualBERT and LXMERT; resumable; prints a table
	$(PYTHON) -m benchmarks.seeds

lint: env  ## ruff and mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy vlp hydra_plugins train.py probe.py

bench: env  ## cost of measuring and of pre-training as ratios to peers
	$(PYTHON) -m benchmarks

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do printf '%-10s %s\n' "$$name" "$$text"; done
