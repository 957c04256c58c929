# make app | test | fast | lint | format | types | docs | bench | bench-gpu | audit | clean
# Everything runs in .venv, made on first use from requirements.txt (and tests/requirements.txt for tests).
VENV   ?= .venv
PY     := $(VENV)/bin/python
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
PORT   ?= 8501

.PHONY: app test measure fast lint format types web docs bench bench-gpu audit browser clean help

help:
	@echo "make app      open the app on the demo recordings (http://127.0.0.1:$(PORT))"
	@echo "make test     lint, types, all tests with a real browser"
	@echo "make fast     tests without the slow and the browser ones"
	@echo "make docs     the documentation as a site, in site/"
	@echo "make bench    speed ratios against plain reference versions"
	@echo "make bench-gpu  agreement and speed of everything on a GPU"

$(VENV)/.app-stamp: requirements.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(0 if (3,11) <= sys.version_info[:2] < (3,14) else "error: Python 3.11 to 3.13 is needed, found %d.%d; set PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	test -x $(PY) || "$(PYTHON)" -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.test-stamp: $(VENV)/.app-stamp tests/requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt
	touch $@

app: $(VENV)/.app-stamp
	$(PY) -m streamlit run app.py --server.port $(PORT) --server.headless $(if $(DISPLAY)$(WAYLAND_DISPLAY),false,true)

# Two processes, each file in one of them; one thread each, so that they do not fight for the cores. The browser tests follow
# by themselves, each process with an app and a browser of its own. What they measure is printed, not asserted; for figures
# to be quoted run them alone: make measure.
test: $(VENV)/.test-stamp browser
	$(MAKE) --no-print-directory -j 2 lint types web
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=25 -m "not browser"
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=25 -m browser

measure: $(VENV)/.test-stamp browser
	$(PY) -m pytest -s -m browser

fast: $(VENV)/.test-stamp
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile -m "not slow and not browser"

lint: $(VENV)/.test-stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/.test-stamp
	$(PY) -m mypy

format: $(VENV)/.test-stamp
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# The app's scripts (pages/components/web): eslint and types, with what npm installs below tests/web from the lock file.
# Their unit tests are run by pytest and need node alone. Only tests use any of it: the app needs no node.
NODE_STAMP := tests/web/node_modules/.stamp
web:
	@if ! command -v npm >/dev/null 2>&1; then echo "note: no npm found; the scripts are neither linted nor type-checked"; \
	elif [ $(NODE_STAMP) -nt tests/web/package-lock.json ] || \
	  (cd tests/web && npm ci --silent --no-audit --no-fund) && touch $(NODE_STAMP); then \
	  cd tests/web && npm run --silent lint && npm run --silent types; \
	else echo "note: npm could not install the tools; the scripts are neither linted nor type-checked"; fi

# The documentation as a site in site/; warnings and dead links are errors (mkdocs.yml). Its search needs a server:
# python -m http.server -d site
docs: $(VENV)/.test-stamp
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build

bench: $(VENV)/.test-stamp
	@for script in $(filter-out %bench_soak.py,$(wildcard tests/benchmarks/bench_*.py)); do echo "== $$script"; $(PY) -m $$(echo $${script%.py} | tr / .) || exit 1; done

# Everything that needs a GPU, in under 25 minutes; gpu.json and gpu.md in the current folder
bench-gpu: $(VENV)/.test-stamp
	$(PY) -m tests.benchmarks.gpu --json gpu.json --markdown gpu.md

# Known vulnerabilities of what is installed, where the advisory service can be reached; elsewhere it says so.
audit: $(VENV)/.test-stamp
	@$(PY) -m pip install --quiet --disable-pip-version-check "pip-audit>=2.7,<3"
	@$(PY) -m pip_audit --progress-spinner off || { code=$$?; \
	  $(PY) -m pip_audit --progress-spinner off 2>&1 | grep -qE "Found [0-9]+ known" && exit $$code; \
	  echo "note: the advisory service cannot be reached from here; nothing was audited"; }

# The browser tests drive Debian's chromium. Installed here only where that needs no questions (root and apt-get);
# elsewhere the browser tests say how to get one and are skipped, unless SAI_REQUIRE_BROWSER=1.
browser:
	@if [ -n "$$CHROMIUM_PATH" ] || command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	else echo "note: no chromium found; browser tests will be skipped (install chromium or set CHROMIUM_PATH)"; fi

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache tests/artifacts tests/web/node_modules
