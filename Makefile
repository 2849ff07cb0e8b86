# `make landscape` and `make test` each work alone in a bare clone: Python 3.11+, pip and make suffice.
# The newest Python wins (its jax convolves faster, benchmarks/README.md); PYTHON=... overrides.
PYTHON ?= $(shell sh tools/find_python.sh)
VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.installed
STAMP := $(VENV)/.installed-dev

.PHONY: landscape data test test-full test-versions lint format lock audit docs tune bench clean

landscape: $(RUNS)
	$(BIN)/python experiments/landscape.py

# Three tiers. `make test` at every save: minutes.
PYTEST = $(BIN)/python -m pytest -n 2 --dist worksteal
test: $(STAMP)
	$(PYTEST)

# What CI runs besides: processes, devices, faults, hostile inputs, browser, documents, packaging.
test-full: $(STAMP)
	$(PYTEST) tests/full bnjax
	$(PYTEST) -m full

# The full column of trials, hours; each part alone is e.g. `make test-kill`. Both write a table.
PARTS := kill points damage locks signals disk resume memory inputs layouts processes power mixing drawing soak
.PHONY: test-all $(PARTS:%=test-%)
test-all: $(STAMP)
	$(BIN)/python tests/full/faults/run_all.py

$(PARTS:%=test-%): test-%: $(STAMP)
	$(BIN)/python tests/full/faults/run_all.py $*

# The tests under the oldest versions that are allowed and the newest there are, on several Pythons.
test-versions: $(STAMP)
	$(BIN)/python tests/versions.py

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

tune: $(STAMP)
	$(BIN)/python benchmarks/tune_convolution.py
	$(BIN)/python benchmarks/tune_chunk.py

# PyTorch's loops live in an environment of their own (torch 2.13.0 has builds for Python 3.11).
TORCH_PYTHON ?= benchmarks/.torch/bin/python
bench: $(STAMP) $(TORCH_PYTHON)
	GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/python benchmarks/run.py \
	  --torch-python $(TORCH_PYTHON) --out benchmarks/results/latest.json

benchmarks/.torch/bin/python:
	$(shell sh tools/find_python.sh 3.11) -m venv benchmarks/.torch
	benchmarks/.torch/bin/python -m pip install --quiet torch==2.13.0 numpy matplotlib pillow scikit-learn

# Each file that is installed has one of the digests in a lock; bnjax itself comes last, and brings
# nothing. The stamps are written last, so an interrupted installation is taken up again. What runs
# the studies is installed first; data sets, tests and documents, only where they are asked for.
INSTALL = $(BIN)/python -m pip install --quiet --no-build-isolation
LOCKED = $(INSTALL) --require-hashes --requirement

$(STAMP): $(RUNS) requirements-dev.lock
	@echo "installing what tests and documents bnjax into $(VENV) (about 0.7 GB more), once"
	$(LOCKED) requirements-dev.lock
	touch $(STAMP)

# Readers of data sets that tensorflow-datasets has prepared, such as CIFAR-10 (about 0.3 GB).
data: $(RUNS)
	$(LOCKED) requirements-data.lock

$(RUNS): requirements-build.lock requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: bnjax needs 3.11 or later, here is $$(python3 --version 2>&1): install a newer Python with venv, or call: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: bnjax needs 3.11 or later, $(PYTHON) is $$($(PYTHON) --version 2>&1): call: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing JAX, Flax and what draws into $(VENV) (about 1.0 GB), once; the rest of the command starts after it"
	@begun=$$(date +%s); $(PYTHON) -m venv $(VENV) && \
	$(LOCKED) requirements-build.lock && \
	$(LOCKED) requirements.lock && \
	$(INSTALL) --no-deps --editable . && \
	echo "installed $$(du -sm $(VENV) | cut -f1) MB in $$(( $$(date +%s) - begun )) s"
	@touch $(RUNS)

# The same versions for every Python and platform: `uv` resolves them, pip installs them. The locks
# for running and for building are parts of the one for developing.
RESOLVE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet
PART = $(RESOLVE) --constraint requirements-dev.lock
lock: $(STAMP)
	$(RESOLVE) --upgrade --extra dev --group build --output-file requirements-dev.lock pyproject.toml
	$(PART) --extra studies --output-file requirements.lock pyproject.toml
	$(PART) --extra studies,data --output-file requirements-data.lock pyproject.toml
	$(PART) --group build --output-file requirements-build.lock

# Known vulnerabilities of the locked packages, by the advisories of PyPI.
audit: $(STAMP)
	$(BIN)/python tools/audit.py

clean:
	rm -rf $(VENV) .versions build dist *.egg-info
