# Needs Python >= 3.11 and make; everything else goes to .venv. Another interpreter: make test PYTHON=python3.13

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIPARGS := --quiet --disable-pip-version-check --timeout 60 --retries 5 --prefer-binary

export GRAPHC_CACHE := $(CURDIR)/$(VENV)/graphc-cache

.PHONY: help venv demo test cuda-test browser-test katex estimators lint types docs bench fuzz wheel test-matrix soak gpu-test ci-deps clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

venv: $(VENV)/.test ## create .venv with all that the tests need

demo: $(VENV)/.demo ## train a digits classifier and show its formulas (examples/digits.py)
	$(BIN)/python examples/digits.py

# The type checker is one process: the CUDA check, whose processes wait for compilers and files, runs beside it.
test: $(VENV)/.test $(VENV)/.cuda-check ## lint, types, structure, tests
	$(MAKE) --no-print-directory --jobs=3 lint types cuda-test
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest $(SHARED) $(ARGS)

# The files of tests are shared among processes. One process: make test JOBS=0
JOBS ?= 2
SHARED = -n $(JOBS) --dist loadfile -o console_output_style=classic

# The other tests of the backend need JAX and run in the main environment.
CUDA_TESTS = $(shell grep -l 'pytest.mark.cuda' tests/test_cuda_*.py)

cuda-test: $(VENV)/.cuda-check ## compile CUDA programs and drive a stub of the driver; needs no GPU
	$(VENV)/cuda-check/bin/python -m pytest -m cuda $(SHARED) $(CUDA_TESTS)

browser-test: $(VENV)/.test ## reports and pictures in a real Chromium without a window (CHROMIUM=/path/to/it)
	$(BIN)/python -m pytest -m browser -n 0 -o console_output_style=classic tests/test_browser.py $(ARGS)

KATEX := 0.19.1

katex: $(VENV)/.test ## every printed LaTeX formula through KaTeX in strict mode, where node and npm are found
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(VENV)/katex/.$(KATEX); fi
	NODE_PATH=$(CURDIR)/$(VENV)/katex/node_modules $(BIN)/python -m pytest -m katex -n 0 tests/test_katex.py $(ARGS)

estimators: $(VENV)/.test ## all checks of scikit-learn on the estimators as users make them; compiles some 70 programs
	$(BIN)/python -m pytest -m estimators -n 0 tests/test_sklearn.py

lint: $(VENV)/.test ## ruff
	$(BIN)/ruff check

types: $(VENV)/.test ## basedpyright on the package, and in its strict mode on a user's program
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/basedpyright --pythonpath $(BIN)/python -p tests/typing

docs: $(VENV)/.docs ## the documentation as a site, build/docs/index.html
	$(VENV)/docs/bin/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs
	@echo "see build/docs/index.html"

bench: $(VENV)/.test $(VENV)/.peers ## graphc beside PyTorch, JAX, PyTensor, scikit-learn (ARGS="--workloads W1 W2 --random 1 --busy")
	$(BIN)/python -m tests.benchmarks.run --peer-python $(VENV)/peers/bin/python $(ARGS)

fuzz: $(VENV)/.test ## 10,000 covering graphs, then the property tests with many random examples (SEED=7 GRAPHS=300)
	$(BIN)/python -m tests.covering $(if $(SEED),--seed $(SEED)) $(if $(GRAPHS),--graphs $(GRAPHS))
	$(BIN)/python -m pytest -m "fuzz or hypothesis" --hypothesis-profile=fuzz $(ARGS)

wheel: $(VENV)/.created ## wheel and sdist in dist/, each installed into an empty environment and used
	$(BIN)/python -m tests.versions wheel

test-matrix: $(VENV)/.created ## the wheel and quick tests with each Python found, lowest, pinned and newest versions (ARGS="--only py3.12")
	$(BIN)/python -m tests.versions matrix $(ARGS)

soak: $(VENV)/.test ## long runs: 100 kills, damaged caches, 10^7 steps, 10^4 fits, many threads (ARGS="--only kills")
	$(BIN)/python -m tests.soak $(ARGS)

gpu-test: $(if $(GPU_PYTHON),,$(VENV)/.gpu) ## all that a machine with a GPU can show (docs/gpu_test.md; ARGS="--quick")
	$(or $(GPU_PYTHON),$(VENV)/gpu/bin/python) -m tests.gpu.run $(if $(GPU_PEERS),--peers $(GPU_PEERS)) $(ARGS)

ci-deps: ## system packages that CI needs
	@echo "ci-deps: nothing to install; Python >= 3.11, make and a C compiler are all that is needed"

clean: ## remove .venv, caches and build products
	rm -rf $(VENV) build dist .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One virtual environment; a stamp a set of extras, renewed when the declared or the pinned versions change.

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("graphc needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install $(PIPARGS) -c constraints.txt -e ".[plot,sklearn]"
	@touch $@

$(VENV)/.test: $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install $(PIPARGS) -c constraints.txt -e ".[test]"
	@touch $@

# Numba's CUDA target and NVIDIA's compilers (about 225 MB) live in an environment of their own: the main one shows that
# graphc needs none of them.
$(VENV)/.cuda-check: $(VENV)/.created pyproject.toml tests/cuda_constraints.txt
	$(PYTHON) -m venv $(VENV)/cuda-check
	$(VENV)/cuda-check/bin/python -m pip install $(PIPARGS) -c tests/cuda_constraints.txt -e ".[cuda-check]"
	@touch $@

# For a driver of CUDA 12: make gpu-test CUDA=cuda12. GPU_PYTHON names an interpreter that has everything, and nothing
# is installed; GPU_PEERS one that has torch and jax with CUDA, which are never installed from here.
CUDA ?= cuda13

$(VENV)/.gpu: $(VENV)/.created pyproject.toml constraints.txt tests/cuda_constraints.txt
	$(PYTHON) -m venv $(VENV)/gpu
	$(VENV)/gpu/bin/python -m pip install $(PIPARGS) -c constraints.txt \
	    $(if $(filter cuda13,$(CUDA)),-c tests/cuda_constraints.txt) -e ".[test,$(CUDA)]"
	@touch $@

# Sphinx and its forty packages are needed by nothing else.
$(VENV)/.docs: $(VENV)/.created pyproject.toml constraints.txt docs/constraints.txt
	$(PYTHON) -m venv $(VENV)/docs
	$(VENV)/docs/bin/python -m pip install $(PIPARGS) -c constraints.txt -c docs/constraints.txt -e ".[docs]"
	@touch $@

$(VENV)/katex/.$(KATEX):
	npm install --prefix $(VENV)/katex --no-audit --no-fund --loglevel=error katex@$(KATEX)
	@touch $@

# The peers live in an environment of their own, without graphc: PyTensor wants an older Numba. torch is pinned on
# purpose: a plain `torch` may bring gigabytes of CUDA libraries.
$(VENV)/.peers: $(VENV)/.created pyproject.toml tests/benchmarks/constraints.txt
	$(PYTHON) -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip install $(PIPARGS) \
	    -c tests/benchmarks/constraints.txt jax pytensor scikit-learn torch==2.13.0
	@touch $@
