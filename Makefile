# Everything goes through .venv; `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the virtual environment was made from; a change of it makes a new installation.
INSTALLED := $(VENV)/.installed
TESTED := $(VENV)/.dev

# Most of what tests do is to wait for other processes, hence more workers than processors.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, 5 * os.cpu_count() // 2))')

# These compute, and each further worker costs another import of all tests.
QUICK_WORKERS ?= $(shell $(PYTHON) -c 'import os; print(1 + os.cpu_count())')

.PHONY: help install demo test quick soak lint type bench fuzz clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv with .venv/bin/nssh
	@# Also where PYTHONDONTWRITEBYTECODE is set. Python compares each with its source's time and size before it runs it.
	@$(BIN)/python -m compileall -q --invalidation-mode timestamp nssh actors

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "nssh needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.12 install" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: install python3-venv (Debian, Ubuntu)" >&2; exit 1; }

$(INSTALLED): pyproject.toml $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --compile --config-settings editable_mode=compat \
		--editable .
	@touch $@

$(TESTED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## try nssh against a private sshd on loopback (CHECK=1: unattended)
	@$(BIN)/python -m tests.lab.demo $(if $(CHECK),--check)

test: $(TESTED) ## run the tests, on real parts (installs the Debian packages they need where it may)
	@$(BIN)/python -m tests.lab.system
	@$(BIN)/python -m tests.lab.ntfy
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

quick: $(TESTED) ## run the tests that need no program but this python, in about a minute
	NSSH_TESTS=quick $(BIN)/python -m pytest -n $(QUICK_WORKERS) -m "not real" --ignore tests/session $(ARGS)

soak: $(TESTED) ## three sessions of one target while all breaks around them (SECONDS=600 SEED=n BUS=relay|ntfy)
	@$(BIN)/python -m tests.lab.system
	@$(BIN)/python -m tests.lab.ntfy
	$(BIN)/python -m tests.soak --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED)) $(if $(BUS),--bus $(BUS))

lint: $(TESTED) ## ruff: rules and formatting; shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/shellcheck --shell=sh $$(find nssh actors -name '*.sh')
	$(BIN)/shellcheck $$(find .ci -type f)

type: $(TESTED) ## mypy --strict
	$(BIN)/mypy

bench: $(TESTED) ## measure against ssh, mosh and ntfy; writes docs/benchmarks.md (QUICK=1: a minute, prints only)
	@$(BIN)/python -m tests.lab.ntfy >/dev/null || true
	@$(BIN)/python -m tests.bench $(if $(FIRST),--first) $(if $(QUICK),--quick,--write docs/benchmarks.md)

FUZZ := $(VENV)/.fuzz

$(FUZZ): $(TESTED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=2.3'
	@touch $@

fuzz: $(FUZZ) ## fuzz what reads a stranger's bytes, by coverage (ARGS='--runs 1000000 url')
	$(BIN)/python -m tests.fuzz $(ARGS)

clean: ## remove .venv and everything that was generated
	rm -rf $(VENV) .lab build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find nssh actors tests -name __pycache__ -type d -exec rm -rf {} +
