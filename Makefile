# make demo   sets everything up and runs the embedded sweep
# make check  lint, and the tests that need neither Ray nor torch
# make test   sets everything up and runs the tests
# make docs   builds the documentation into site/
# make test-cluster   runs a real `ray up` on simulated hosts (Linux network namespaces)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Two processes, each with whole files, in the order of tests/conftest.py.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo check test test-all test-cluster docs lint format clean

demo: $(INSTALLED)
	$(BIN)/xlray demo

check: lint
	$(BIN)/python -m pytest --light $(PARALLEL)

test: $(INSTALLED)
	$(BIN)/python -m pytest $(PARALLEL)

test-all: $(INSTALLED)
	$(BIN)/python -m pytest -m ""

# Simulated hosts (Linux network namespaces): root, iproute2, openssh-server, rsync. Skips with a message without them.
test-cluster: $(INSTALLED)
	$(BIN)/python -m pytest -m cluster

# Strict: a broken link, a missing page or a name without its definition ends it. Needs no network once installed.
docs: $(INSTALLED) $(VENV)/.docs-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs site

# Exact versions of everything; see the head of constraints.txt for how it is made. seqeval comes as source, which pip before
# 23.1 (Debian 12) builds in this environment and not in one of its own, and there it fails: hence --use-pep517.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xlray needs Python 3.11 or later")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --use-pep517 --constraint constraints.txt --editable ".[dev]"
	touch $@

$(VENV)/.docs-installed: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@
