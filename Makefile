# run: start hushcast here. test: everything but the long runs. check: style, types, known
# vulnerabilities, fast tests.
# lint: its first half. bench: benchmarks. soak: the long runs. lock: renew the pinned dependencies.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: run test lint check bench soak lock clean

run: $(VENV)/.run
	exec $(BIN)/hushcast up --port $(PORT) $(ARGS)

test: $(VENV)/.test check-system
	HUSHCAST_ICE_ADDRESSES=127.0.0.1 $(BIN)/python -m pytest -m "not soak" $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint
	$(BIN)/python -m tests.audit
	HUSHCAST_ICE_ADDRESSES=127.0.0.1 $(BIN)/python -m pytest -m "not slow and not soak" -q $(ARGS)

bench: $(VENV)/.test
	$(BIN)/python -m bench.denoiser
	HUSHCAST_ICE_ADDRESSES=127.0.0.1 $(BIN)/python -m bench.starts $(ARGS)

soak: $(VENV)/.test check-system
	HUSHCAST_ICE_ADDRESSES=127.0.0.1 $(BIN)/python -m pytest -m soak $(ARGS)

# Every dependency of every dependency, pinned with hashes: an install next year gives the same.
lock: $(VENV)/.test
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --generate-hashes --quiet --no-header \
	    --python-version 3.11 pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --universal --generate-hashes --quiet --no-header \
	    --python-version 3.11 --extra test --extra bench -c requirements.lock pyproject.toml -o requirements-test.lock

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    || { echo "hushcast needs Python 3.11 to 3.13: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || PYTHON=$(PYTHON) tests/system-packages venv
	@test -x $@ && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.test: requirements-test.lock requirements-torch.txt pyproject.toml | $(VENV)/bin/python
	@PYTHON=$(PYTHON) tests/system-packages build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@ $(VENV)/.run

.PHONY: check-system
check-system:
	@PYTHON=$(PYTHON) tests/system-packages test
