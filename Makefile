# run: start hushcast here. test: everything but the long runs. check: style, types, known
# vulnerabilities, fast tests. lint: style and types, nothing compiled, no torch. coverage: of the
# fast tests, with a floor; on Python 3.11 it makes them a third slower.
# cluster: a cluster of machines made of namespaces. bench: benchmarks. soak: the long runs.
# lock: renew the pinned dependencies. docs: renew docs/settings.md.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --universal --no-strip-extras --generate-hashes --quiet --no-header --python-version 3.11
PYTEST := HUSHCAST_ICE_ADDRESSES=127.0.0.1 $(BIN)/python -m pytest
# What needs no Ray, browser or quiet machine; files spread over processes.
FAST := -m "not slow and not soak" -n auto --maxprocesses 4 --dist loadfile
SLOW := -m "slow and not quiet and not soak"
# With ARGS only a part may run, or none.
SOME := $(if $(ARGS),|| [ $$? -eq 5 ])
export OMP_NUM_THREADS := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: run cluster test coverage lint check bench soak lock docs clean

run: $(VENV)/.run
	exec $(BIN)/hushcast up --port $(PORT) $(ARGS)

cluster: $(VENV)/.test check-system
	$(BIN)/python -m tests.cluster $(PORT)

test: $(VENV)/.test check-system node_modules/.installed
	$(PYTEST) $(FAST) $(ARGS) $(SOME)
	$(PYTEST) $(SLOW) $(ARGS) $(SOME)
	$(PYTEST) -m "slow and quiet and not soak" $(ARGS) $(SOME)

coverage: $(VENV)/.test
	$(PYTEST) $(FAST) --cov

lint: $(VENV)/.lint node_modules/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	npm run --silent lint
	npm test --silent

check: lint $(VENV)/.test
	$(BIN)/python -m tests.audit
	$(PYTEST) $(FAST) -q $(ARGS)

bench: $(VENV)/.test
	$(BIN)/python -m bench.denoiser
	HUSHCAST_ICE_ADDRESSES=127.0.0.1 $(BIN)/python -m bench.starts $(ARGS)

soak: $(VENV)/.test check-system
	$(PYTEST) -m soak $(ARGS)

# Every dependency of every dependency, pinned with hashes: an install next year gives the same.
lock: $(VENV)/.test
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) --extra lint -c requirements.lock pyproject.toml -o requirements-lint.lock
	$(COMPILE) --extra test --extra bench -c requirements.lock -c requirements-lint.lock \
	    pyproject.toml -o requirements-test.lock
	npm install --package-lock-only --omit-lockfile-registry-resolved

# docs/settings.md, from serve_app/settings.py.
docs: $(VENV)/.test
	$(BIN)/python -m tests.settings_reference

clean:
	rm -rf $(VENV) node_modules build *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    || { echo "hushcast needs Python 3.11 to 3.13: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || PYTHON=$(PYTHON) tests/system-packages venv
	@test -x $@ && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.lint: requirements-lint.lock | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements-lint.lock
	@touch $@

$(VENV)/.test: requirements-test.lock requirements-torch.txt pyproject.toml | $(VENV)/bin/python
	@PYTHON=$(PYTHON) tests/system-packages build
	$(PIP) --require-hashes -r requirements-test.lock
	$(PIP) -r requirements-torch.txt
	$(PIP) --no-deps -e .
	@touch $@ $(VENV)/.run $(VENV)/.lint

# What checks and tests the pages' JavaScript; the pages themselves need no Node.js.
node_modules/.installed: package.json package-lock.json
	@command -v npm >/dev/null || { echo "make lint needs npm: install Node.js 18 or later and npm" \
	    "(on Debian: tests/system-packages lint)" >&2; exit 1; }
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: check-system
check-system:
	@PYTHON=$(PYTHON) tests/system-packages test
