# Two commands: `make run` opens the explorer, `make test` checks everything.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test
run: .venv/run.stamp
	$(BIN)/python app.py

test: .venv/test.stamp node_modules/check.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(BIN):$$PATH" npm run --silent check
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/run.stamp: requirements.txt | $(BIN)/python
	$(BIN)/pip install --disable-pip-version-check -q -r requirements.txt
	touch $@

.venv/test.stamp: requirements.txt requirements-dev.txt | $(BIN)/python
	$(BIN)/pip install --disable-pip-version-check -q -r requirements-dev.txt
	touch $@

# The page's JavaScript is served as it is; this is what checks it, with Node from requirements-dev.
node_modules/check.stamp: package.json package-lock.json | .venv/test.stamp
	PATH="$(BIN):$$PATH" npm ci --silent --no-audit --no-fund
	touch $@
