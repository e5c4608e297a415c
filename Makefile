# Two commands do everything, and create $(VENV) by themselves:
#   make train    install the package and train the default recipe
#   make test     format, lint, types, import contracts and the tests
#
# Variables, on the command line or in the environment:
#   PYTHON        the interpreter behind a new environment (3.11 or later)
#   VENV          where the environment lies
#   CONSTRAINTS   the file of exact versions; empty takes the newest within the bounds
#   TRAIN_ARGS    further arguments of train.py
#   PYTEST_ARGS   further arguments of pytest, for example "-n 0" for one process
#   BENCH_ARGS    further arguments of make bench-training, for example "--json out.json"
#   TORCH_INDEX   a package index that carries PyTorch built for CPU. On x86-64 Linux the build
#                 in the default index brings several gigabytes of CUDA libraries along.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
TRAIN_ARGS ?=
PYTEST_ARGS ?=
TORCH_INDEX ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
TORCH_OPTIONS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
MANIFEST := pyproject.toml $(CONSTRAINTS)

# Instruction sets that this processor can stand in for, as XLA, PyTorch, oneDNN and OpenBLAS call
# them; and the tests that compare floating point numbers.
AVX2 := --xla_cpu_max_isa=AVX2 avx2 AVX2 Haswell
SSE4_2 := --xla_cpu_max_isa=SSE4_2 default SSE41 Nehalem
NUMERIC_TESTS := $(addprefix tests/,blocks configs interop layers machine models parity training zoo)

.PHONY: help train test test-slow test-accelerators test-processors test-lowest test-newest \
  test-versions lint format bench bench-training peers clean

help:
	@echo "make train    install the package and train the default recipe"
	@echo "make test     check format, lint, types and import contracts, then run the tests"
	@echo "make test-slow        the tests that take long: whole runs, killed processes, many devices"
	@echo "make test-accelerators  what the compiler for TPUs makes of the training steps, without a TPU"
	@echo "make test-processors  the numeric tests as processors with AVX2 and with SSE4.2 compute them"
	@echo "make test-lowest      the tests with the lowest versions that pyproject.toml allows"
	@echo "make test-newest      the tests with the newest; both have environments of their own"
	@echo "make lint     the checks of make test without the tests"
	@echo "make format   format the code and repair what the linter can"
	@echo "make bench    networks, start-up and input on this CPU, against PyTorch and torchvision"
	@echo "make bench-training  what the machinery around the compiled step costs"
	@echo "make peers    add PyTorch, torchvision and timm, which some tests compare with, and servers"
	@echo "              of buckets"
	@echo "make clean    remove the environment, caches and builds; runs/ stays"

train: $(VENV)/.package
	$(BIN)/python train.py $(TRAIN_ARGS)

test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

# The compiler for TPUs lies in a folder of its own: next to JAX, every start of JAX would look for a
# TPU for seconds and report that there is none.
test-accelerators: $(VENV)/.test $(VENV)-libtpu/.done
	PYTHONPATH=$(VENV)-libtpu $(BIN)/python -m pytest tests/accelerators $(PYTEST_ARGS)

test-processors: $(VENV)/.test
	$(call as_processor,$(AVX2)) $(NUMERIC)
	$(call as_processor,$(SSE4_2)) $(NUMERIC)

as_processor = XLA_FLAGS=$(word 1,$1) ATEN_CPU_CAPABILITY=$(word 2,$1) \
	ONEDNN_MAX_CPU_ISA=$(word 3,$1) OPENBLAS_CORETYPE=$(word 4,$1)
NUMERIC = $(BIN)/python -m pytest -m "not slow or processors" $(NUMERIC_TESTS) $(PYTEST_ARGS)

# pip cannot resolve to the lowest versions, so uv does. The newest change without a change of any
# file here, so both are resolved anew each time.
test-lowest:
	$(MAKE) test-versions VENV=$(VENV)-lowest RESOLUTION=lowest-direct

test-newest:
	$(MAKE) test-versions VENV=$(VENV)-newest RESOLUTION=highest

test-versions: | $(BIN)/python
	$(PIP) install --quiet "uv>=0.8,<1"
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --upgrade \
	  --resolution $(RESOLUTION) --editable ".[test,hf,gcs,s3,emulators]"
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.test
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/.peers
	$(BIN)/python -m benchmarks.networks --rounds=2 --seconds=1
	$(BIN)/python -m benchmarks.startup --rounds=1
	$(BIN)/python -m benchmarks.input_pipeline

bench-training: $(VENV)/.package
	$(BIN)/python -m benchmarks.training_overhead $(BENCH_ARGS)

peers: $(VENV)/.peers

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest $(VENV)-libtpu build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than the files that it was installed from, so that nothing is installed twice.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit("error: Python 3.11 or later is needed and $(PYTHON) is %d.%d; name another one with make PYTHON=..." % v[:2] if v < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV) || { rm -f $@; exit 1; }

$(VENV)/.package: $(MANIFEST) | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.test: $(MANIFEST) | $(BIN)/python
	$(INSTALL) --editable ".[test]"
	@touch $@ $(VENV)/.package

$(VENV)-libtpu/.done: $(MANIFEST) | $(BIN)/python
	$(INSTALL) --target $(VENV)-libtpu --upgrade --no-deps libtpu
	@touch $@

# torchvision and timm come without their dependencies: torchvision asks for the very build of
# PyTorch that it was compiled with, and the tests need no more of it than its Python code.
$(VENV)/.peers: $(MANIFEST) | $(BIN)/python
	$(INSTALL) $(TORCH_OPTIONS) --editable ".[test,peers,gcs,s3,emulators]"
	$(INSTALL) $(TORCH_OPTIONS) --no-deps torchvision==0.28.0 timm==1.0.31
	@touch $@ $(VENV)/.test $(VENV)/.package
