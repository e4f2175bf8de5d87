# make setup | app | test | browser         PYTHON=python3.12 chooses the interpreter, PORT=8600 the port
PYTHON ?= python3
PORT ?= 8501
BIN := .venv/bin

.PHONY: setup app test browser

setup: .venv/installed

.venv/installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	bash scripts/fetch_viewer.sh
	touch $@

.venv/installed-tests: .venv/installed tests/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

app: setup
	$(BIN)/streamlit run app.py --server.port $(PORT)

# One thread per process: two spinning OpenMP threads beside a busy neighbour run ten times slower.
test: .venv/installed-tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu and not browser" -n 2 --dist loadfile

# BROWSER_TESTS="browser and not slow" is the short form that CI runs.
BROWSER_TESTS = browser
browser: .venv/installed-tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "$(BROWSER_TESTS)" tests/browser
