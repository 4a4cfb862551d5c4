# Everything a newcomer needs. `make setup` is implied by each of the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
ARGS ?=

.PHONY: help setup demo up test check lint format lock bench overload bench-delta bench-release torture fuzz invariants caps glp1-apply conformance clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP)  ## Make .venv/ from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; where $(PYTHON) is older: make PYTHON=python3.12 ..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup  ## The main job on real servers: two versions, 200 devices, one staged rollout (ARGS="--devices 50")
	@$(BIN)/graylag demo $(ARGS)

up: setup  ## The whole service in one terminal, data in .graylag/
	@$(BIN)/graylag up $(ARGS)

test: setup lint  ## All tests, against the real servers
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: setup lint  ## Lint, types, import contracts, fast tests
	$(BIN)/python -m pytest -q -m "not servers and not slow" -n 2 --dist worksteal

lint: setup
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy

format: setup  ## Let ruff put the code in order
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

bench: setup  ## Polls and reports against an empty handler, small fleet against big, and over sockets (10 minutes)
	@$(BIN)/graylag bench poll $(ARGS)
	@$(BIN)/graylag bench intake $(ARGS)

overload: setup  ## Ten times what an API process can answer, at a rate that does not wait for answers (2 minutes, Linux; ARGS="--seconds 30 --json")
	@$(BIN)/graylag bench overload $(ARGS)

bench-delta: setup  ## Patches against bsdiff4, zstd and others (PAIRS=folder of base.*/full.* files; 4.2 GB: ARGS="--ours --only full.int8 --tiles 333")
	@test -d "$(PAIRS)" || { echo "PAIRS= is a folder of base.* and full.* files" >&2; exit 2; }
	$(BIN)/python -m workers.delta.bench $(PAIRS) $(ARGS)

bench-release: setup  ## OLD and NEW (TILES= times) from CI to a device as a patch, over real servers: seconds and memory (4.2 GB: 50 GB of disk)
	@test -f "$(OLD)" -a -f "$(NEW)" || { echo "OLD= and NEW= are two files of weights" >&2; exit 2; }
	GRAYLAG_RELEASE_PAIR=$(abspath $(OLD)),$(abspath $(NEW)) GRAYLAG_RELEASE_TILES=$(or $(TILES),1) GRAYLAG_PATIENCE_S=3600 \
	  $(BIN)/python -m pytest -q --timeout 0 tests/journeys/test_release_by_patch.py

torture: setup  ## The device client against every crash point, fault and cut (20 minutes, 6 GB of memory, 8 GB of disk)
	GRAYLAG_TORTURE=1 $(BIN)/python -m pytest tests/sdk_contract/client $(ARGS)

fuzz: setup  ## An hour of mutated documents, tokens and requests: only named errors (SECONDS= and EXAMPLES= per case)
	GRAYLAG_FUZZ_SECONDS=$(or $(SECONDS),200) GRAYLAG_FUZZ_EXAMPLES=$(or $(EXAMPLES),150) \
	  $(BIN)/python -m pytest -q --timeout 0 --capture=sys -p tests.service.fuzzing \
	  tests/service/test_mutations.py tests/service/api/test_fuzz.py

invariants: setup  ## A hundred thousand operations on rollouts from four racing processes: no promise is broken (OPERATIONS=)
	GRAYLAG_INVARIANTS=$(or $(OPERATIONS),100000) \
	  $(BIN)/python -m pytest -q -s --timeout 0 tests/service/serving/test_invariants.py

caps: setup  ## A hundred thousand polls of four API processes over sockets: no offer beyond a cap or a byte budget (POLLS=)
	GRAYLAG_CAP_POLLS=$(or $(POLLS),100000) \
	  $(BIN)/python -m pytest -q -s --timeout 0 tests/journeys/test_caps_over_http.py

glp1-apply:  ## The applier of patches in C, for devices: build/glp1-apply (a C compiler, libzstd, libcrypto; CC= CFLAGS=)
	@mkdir -p build
	$(CC) -std=c11 $(or $(CFLAGS),-O3) -Wall -Wextra -Werror -pedantic sdk_contract/patch/c/*.c -lzstd -lcrypto -o build/glp1-apply

conformance: setup  ## The reference client against every scenario of the contract
	$(BIN)/python -m sdk_contract.conformance --sdk "$(BIN)/python -m sdk_contract.conformance.reference" $(ARGS)

lock: setup  ## Pin every dependency anew, with hashes and without index addresses
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --extra embedded --group dev pyproject.toml deploy/build-requirements.in -o requirements.lock

clean:  ## Remove the environment and the embedded data
	rm -rf $(VENV) .graylag build *.egg-info
