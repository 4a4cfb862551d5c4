# All development tasks. Each target runs `make setup` first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PACKAGES := sdk_contract service workers migrations
ARGS ?=

.PHONY: help setup demo up test check coverage lint format lock bench bench-delta bench-release torture fuzz invariants pacing glp1-apply conformance reference clean

help:  ## Print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP)  ## Create .venv/ from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is required; choose another interpreter with: make PYTHON=python3.12 ..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup  ## Demo on real servers: two versions, 200 devices, one staged rollout (ARGS="--devices 50")
	@$(BIN)/graylag demo $(ARGS)

up: setup  ## Run the whole service in one terminal; data in .graylag/
	@$(BIN)/graylag up $(ARGS)

test: setup lint  ## All tests, on real servers
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: setup lint  ## Lint, types, import rules, fast tests
	$(BIN)/python -m pytest -q -m "not servers and not slow" -n 2 --dist worksteal

coverage: setup  ## Fast tests with a coverage report; fails below the figure in pyproject.toml
	$(BIN)/python -m pytest -q -m "not servers and not slow" -n 2 --dist worksteal --cov --cov-report=term:skip-covered

lint: setup
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	@found=$$($(BIN)/deptry --no-ansi $(PACKAGES) 2>&1) || { echo "$$found" >&2; exit 1; }
	@found=$$($(BIN)/deptry --no-ansi --ignore DEP002,DEP004 $(PACKAGES) tests 2>&1) || { echo "$$found" >&2; exit 1; }

format: setup  ## Format and fix the code with ruff
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

bench: setup  ## Cost of polls and events relative to an empty handler, by fleet size, and over sockets (10 minutes)
	@$(BIN)/graylag bench poll $(ARGS)
	@$(BIN)/graylag bench events $(ARGS)

bench-delta: setup  ## Compare patch engines: ours, bsdiff4, zstd and others (PAIRS=folder with base.* and full.* files; 4.2 GB: ARGS="--ours --only full.int8 --repeat 333")
	@test -d "$(PAIRS)" || { echo "Set PAIRS= to a folder with base.* and full.* files" >&2; exit 2; }
	$(BIN)/python -m workers.delta.benchmark $(PAIRS) $(ARGS)

bench-release: setup  ## Time and memory of a release from CI to a device as a patch (OLD= NEW= files, REPEAT= copies; 4.2 GB needs 50 GB of disk)
	@test -f "$(OLD)" -a -f "$(NEW)" || { echo "Set OLD= and NEW= to two weight files" >&2; exit 2; }
	GRAYLAG_RELEASE_PAIR=$(abspath $(OLD)),$(abspath $(NEW)) GRAYLAG_RELEASE_REPEAT=$(or $(REPEAT),1) GRAYLAG_PATIENCE_S=3600 \
	  $(BIN)/python -m pytest -q --timeout 0 tests/journeys/test_release_by_patch.py

torture: setup  ## Test the device client at every crash point, fault and disconnect (20 minutes, 6 GB of memory, 8 GB of disk)
	GRAYLAG_TORTURE=1 $(BIN)/python -m pytest tests/sdk_contract/client $(ARGS)

fuzz: setup  ## Fuzz documents, tokens and requests for an hour (SECONDS= and EXAMPLES= per case)
	GRAYLAG_FUZZ_SECONDS=$(or $(SECONDS),200) GRAYLAG_FUZZ_EXAMPLES=$(or $(EXAMPLES),150) \
	  $(BIN)/python -m pytest -q --timeout 0 --capture=sys -p tests.service.support.fuzzing \
	  tests/service/infrastructure/tokens/test_mutations.py tests/service/api/test_fuzzing.py

invariants: setup  ## Check the rollout invariants under 100,000 operations of four concurrent processes (OPERATIONS=)
	GRAYLAG_INVARIANTS=$(or $(OPERATIONS),100000) \
	  $(BIN)/python -m pytest -q -s --timeout 0 tests/service/serving/invariants/test_invariants.py

pacing: setup  ## Check the pacing limits under 100,000 polls of four API processes over sockets (POLLS=)
	GRAYLAG_PACING_POLLS=$(or $(POLLS),100000) \
	  $(BIN)/python -m pytest -q -s --timeout 0 tests/journeys/test_pacing_over_http.py

glp1-apply:  ## Build the C patch applier for devices, build/glp1-apply (needs a C compiler, libzstd, libcrypto; CC= CFLAGS=)
	@mkdir -p build
	$(CC) -std=c11 $(or $(CFLAGS),-O3) -Wall -Wextra -Werror -pedantic sdk_contract/patch/c/*.c -lzstd -lcrypto -o build/glp1-apply

conformance: setup  ## Run the conformance scenarios against the reference client
	$(BIN)/python -m sdk_contract.conformance --sdk "$(BIN)/python -m sdk_contract.conformance.reference" $(ARGS)

reference: setup  ## Regenerate schemas, reference tables and the contract's example from the code
	$(BIN)/python -m sdk_contract.schemas.generate
	$(BIN)/python -m tests.sdk_contract.readme
	$(BIN)/python -m tests.service.reference_page
	$(BIN)/python -m tests.service.api.roles_table
	$(BIN)/python -m tests.deploy.settings_table

lock: setup  ## Update requirements.lock: all dependencies, with hashes and without index URLs
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --extra embedded --group dev pyproject.toml deploy/build-requirements.in -o requirements.lock

clean:  ## Delete the virtual environment and the local data
	rm -rf $(VENV) .graylag build *.egg-info
