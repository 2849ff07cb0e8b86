# `make landscape` and `make test` each work alone in a bare clone: Python 3.11+, pip and make suffice.
# The newest Python wins (its jax convolves faster, benchmarks/README.md); PYTHON=... overrides.
PYTHON ?= $(shell sh tools/find_python.sh)
VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.installed
STAMP := $(VENV)/.installed-dev

.PHONY: landscape test test-full test-versions lint format lock docs tune bench clean

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
PARTS := kill points damage locks signals disk resume memory inputs layouts processes power mixing soak
.PHONY: test-all $(PARTS:%=test-%)
test-all: $(STAMP)
	$(BIN)/python tests/full/faults/run_all.py

$(PARTS:%=test-%): test-%: $(STAMP)
	$(BIN)/python tests/full/faults/run_all.py $*

# The tests under the oldest versions that are allowed and the newest there are, on several Pythons.
test-versions: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
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

# The stamps are written last, so an interrupted installation is taken up again. What runs the
# experiments is installed first; what tests and documents them, only where it is asked for.
$(STAMP): $(RUNS)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[dev]"
	touch $(STAMP)

$(RUNS): requirements.txt requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: bnjax needs 3.11 or later, here is $$(python3 --version 2>&1): install a newer Python with venv, or call: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: bnjax needs 3.11 or later, $(PYTHON) is $$($(PYTHON) --version 2>&1): call: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing JAX, Flax and what draws into $(VENV) (about 1.3 GB), once; the rest of the command starts after it"
	@begun=$$(date +%s); $(PYTHON) -m venv $(VENV) && \
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable . && \
	echo "installed $$(du -sm $(VENV) | cut -f1) MB in $$(( $$(date +%s) - begun )) s"
	@touch $(RUNS)

# One lock for every Python and platform; `uv` resolves it, pip installs from it.
lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --upgrade \
	  --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .versions build dist *.egg-info
