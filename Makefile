# What a person or a CI job does here; `make` lists it. Needs make and a Python of 3.11 to 3.13, nothing else.

SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export PORT ?= 8080
# The interpreter of .venv is the one that is used: .python-version is for people who have several.
export UV_PYTHON := $(CURDIR)/.venv/bin/python
export UV_PYTHON_DOWNLOADS := never
# The CDK CLI runs on the Node of this environment, and needs no other.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Without bytecode every start compiles scikit-learn and moto anew.
unexport PYTHONDONTWRITEBYTECODE

READY := .venv/.ready
LOCKED := --frozen --no-emit-project --no-annotate --no-header --quiet
# What only the Python binding of ONNX Runtime needs; its library alone is what an image holds.
NATIVE := --prune flatbuffers --prune packaging --prune protobuf
# Strict: a package that could not be looked up is a failure, not a pass.
AUDIT := --strict --disable-pip --require-hashes --progress-spinner off

.PHONY: help run demo test test-slow test-image test-triton check bench bench-peers conversions fairness frameworks hostile faults audit sbom lint types format lock synth destroy clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(READY) ## Start the whole app on this machine and predict with it (PORT=8080); Ctrl-C ends it
	@exec python -m tools.local run

demo: $(READY) ## The same, ending after the first prediction
	@exec python -m tools.local demo

test: $(READY) ## Run the tests
	python -m pytest

test-slow: $(READY) ## Run the tests that `make test` leaves out: the real CDK CLI from bootstrap to destroy, a whole `make demo`, memory of data sets
	python -m pytest -m slow

test-image: $(READY) ## Build the functions' image and predict with it within Lambda's limits; needs Docker (BASE_IMAGE=… for AWS's own base)
	@python -m tests.image

test-triton: $(READY) ## Hold models in their functions against the same behind a real Triton, without Docker or a GPU (Linux, x86-64)
	@python -m tests.triton

check: lint types test ## What CI runs: lint, types, tests

lint: $(READY) ## Ruff: rules and format
	ruff check
	ruff format --check

types: $(READY) ## mypy, strict
	mypy

format: $(READY) ## Rewrite the code as ruff wants it
	ruff check --fix
	ruff format

lock: $(READY) ## Lock what pyproject.toml names, for the image too
	uv lock
	uv export $(LOCKED) --only-group predict $(NATIVE) --prune numpy --output-file functions/predict/requirements-native.txt
	uv export $(LOCKED) --only-group predict --output-file functions/predict/requirements-binding.txt
	uv export $(LOCKED) --only-group batch $(NATIVE) --output-file functions/batch/requirements-native.txt
	uv export $(LOCKED) --only-group batch --output-file functions/batch/requirements-binding.txt

bench: $(READY) ## Measure speed, memory and size, each beside a floor of the same minutes (BENCH="--only cold", --quick, --peers, --keep)
	@python -m tools.bench $(BENCH)

bench-peers: $(READY) ## Measure the predict function beside MLServer, BentoML, FastAPI and raw ASGI; makes their environments (network)
	@python -m tools.bench.peers

frameworks: $(READY) ## Make build/frameworks: this environment with every extra, torch and tensorflow among them (7 GB)
	UV_PROJECT_ENVIRONMENT=build/frameworks uv sync --frozen --quiet --all-extras

conversions: frameworks ## Convert models of every framework, print how far each is from its original, and run their tests
	@build/frameworks/bin/python -m tests.conversions
	@build/frameworks/bin/python -m pytest -n 0 tests/unit/modelctl/frameworks tests/unit/models/test_digits_cnn.py tests/unit/bench/test_torch_graph.py

fairness: $(READY) ## Simulate how long a quiet client's jobs wait beside a noisy one's, as a table and a plot
	@python -m tools.bench.fairness

hostile: $(READY) ## Send thousands of hostile requests to the whole app on this machine
	@python -m tests.hostile

faults: $(READY) ## Let the model store and the endpoint fail in every way there is, and print what the functions make of it
	@python -m tests.faults

audit: $(READY) ## Look for known vulnerabilities: in what ships, then in everything that is locked
	@mkdir -p build/audit
	uv export $(LOCKED) --only-group batch --only-group layer --output-file build/audit/ships.txt
	uv export $(LOCKED) --all-groups --output-file build/audit/everything.txt
	pip-audit $(AUDIT) --requirement build/audit/ships.txt
	pip-audit $(AUDIT) --requirement build/audit/everything.txt

sbom: $(READY) ## Write what the image and the layer hold to build/sbom, as CycloneDX
	@python -m tools.sbom

synth: $(READY) ## Write the CloudFormation templates to cdk.out; needs no AWS account
	cdk synth --quiet '**'

destroy: $(READY) ## Delete the stacks of DEPLOYMENT (dev) from AWS; says what stays and what that costs
	@python -m tools.destroy $(or $(DEPLOYMENT),dev)

clean: ## Delete everything that the other targets made
	rm -rf .venv build cdk.out .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml uv.lock
	@bash tools/environment.sh
	@touch $@
