# corsproxy: one command for each thing one does here, on a laptop as in CI. `make` alone lists them.
#
# They need Python 3.11 or newer and nothing else: what they use is installed into .venv, on first use and again when
# pyproject.toml changes. Another Python: make clean, then make PYTHON=python3.13 demo.

PYTHON ?= python3
# More arguments for demo, test, browser and bench: make test ARGS="-k legacy -x"
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # two pips in one environment would step on each other
.PHONY: help demo test browser peers lint bench bench-rules bench-memory clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## A legacy API, the proxy before it, and a page to try both
	$(BIN)/corsproxy demo $(ARGS)

test: $(VENV)/.test ## All tests but those that need a browser
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not browser" $(ARGS)

browser: $(VENV)/.browser ## Real browsers as judges; needs chromium and firefox-esr (or firefox)
	$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

peers: $(VENV)/.test ## What nginx and HAProxy make of the malformed requests of our tests
	$(BIN)/python -m tests.peers.compare

lint: $(VENV)/.test $(VENV)/.lint ## Style, types, layers, dependencies, Dockerfile
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
ifneq ($(wildcard bench/*.py),)
	$(BIN)/mypy bench
endif
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/hadolint Dockerfile

bench: $(VENV)/.bench ## Speed, side by side with other proxies
	$(BIN)/python -m bench $(ARGS)

bench-rules: $(VENV)/.run ## Does a decision cost the same in a large configuration?
	$(BIN)/python -m bench.rules $(ARGS)

bench-memory: $(VENV)/.run ## What bodies and connections cost in memory, and who holds up whom
	$(BIN)/python -m bench.memory

clean: ## Remove all that the others made
	rm -rf $(VENV) .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says: installed since pyproject.toml last changed.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("corsproxy needs Python 3.11 or newer, and $(PYTHON) is %d.%d: say make PYTHON=python3.13, for example" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1' # the first that knows --group
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml
	$(PIP) install --editable .
	@touch $@

# .test, .browser, .lint, .bench: the dependency group of that name, beside what the proxy itself needs
$(VENV)/.test $(VENV)/.browser $(VENV)/.lint $(VENV)/.bench: $(VENV)/.%: $(VENV)/.run
	$(PIP) install --group $*
	@touch $@
