# `make` lists what there is. Everything happens in .venv; `make setup` makes it, and every other target calls for it first.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.set-up
WHEELS := $(VENV)/wheels
ADAPTERS := .venv-adapters
LIGHT  := compare,plot,test,tune,lsp,page
EXTRAS := dev,train,$(LIGHT)
TORCH  := 2.13.0

# The first Python here that is new enough and can make a virtual environment. Another: make setup PYTHON=/path/to/python
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	  $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; \
	done)

# What `make quick` asks: files with their findings, the language, the interpreter, the command, the house.
QUICK := tests/machines tests/controller/language tests/controller/guards $(wildcard tests/controller/test_*.py) \
  tests/plateau_rule/commands/test_app.py tests/test_house.py

# One thread a process: tests run side by side, and sums come out the same everywhere.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help docs setup quick test lint types tests test-wheel test-adapters examples test-page coverage mutation verifier faults release format demo bench bench-boundary bench-quality bench-page study transitions constraints clean

help:            ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target what; do printf '  make %-14s %s\n' "$$target" "$$what"; done

setup: $(STAMP)  ## make .venv with everything that is needed; does nothing the second time

$(STAMP): pyproject.toml constraints.txt Makefile
	@[ -n "$(PYTHON)" ] || { echo "Plateau Rule needs Python 3.11 or newer with its venv module, and found none. Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	@[ -x $(BIN)/pip ] || { echo "Making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@for room in controller sim fftcore curricula; do [ -e plateau_rule/$$room ] || ln -s ../$$room plateau_rule/$$room; done  # an sdist has no links
	@echo "Installing what constraints.txt pins"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt hatchling setuptools
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[$(EXTRAS)]'
	@echo "Putting wheels aside for the tests that install the project anew"
	@rm -rf $(WHEELS)
	@$(BIN)/python -m pip wheel --quiet --constraint constraints.txt --no-build-isolation --wheel-dir $(WHEELS) '.[$(LIGHT)]' pytest httpx2
	@rm $(WHEELS)/plateau_rule-*.whl
	@touch $@

quick: lint types  ## the first thing to run after an edit: linter, types, and the tests that say most in a minute
	$(BIN)/python -m pytest --quiet --numprocesses auto --maxprocesses 4 --dist worksteal -m 'not slow' --hypothesis-profile=few $(QUICK)

test: lint types tests  ## all checks: linter, import contracts, types, tests

lint: setup      ## linter, formatting and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: setup     ## type checker
	$(BIN)/mypy

tests: setup     ## the tests alone, side by side
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal -m 'not faults'

test-wheel: setup  ## build the wheel, install it bare and with its light extras, and use it; a part of `tests`
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal tests/wheel

test-adapters: $(ADAPTERS)/newest/.set-up $(ADAPTERS)/oldest/.set-up  ## the adapters in the real trainers, newest and oldest release, each in a venv of its own
	@for which in newest oldest; do \
	  echo "Adapters with the $$which releases"; \
	  PLATEAU_ADAPTERS=all $(ADAPTERS)/$$which/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal tests/conformance tests/plateau_rule/adapters || exit; \
	  echo "Keras on torch"; \
	  KERAS_BACKEND=torch PLATEAU_ADAPTERS=all $(ADAPTERS)/$$which/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal -k keras tests/conformance/test_keras.py tests/conformance/test_conformance.py || exit; \
	done

$(ADAPTERS)/%/.set-up: pyproject.toml tests/conformance/constraints-%.txt
	@[ -n "$(PYTHON)" ] || { echo "Plateau Rule needs Python 3.11 or newer with its venv module, and found none" >&2; exit 2; }
	@[ -x $(@D)/bin/pip ] || { echo "Making $(@D)"; $(PYTHON) -m venv $(@D); }
	@echo "Installing what tests/conformance/constraints-$*.txt pins"
	@$(@D)/bin/python -m pip install --quiet --constraint tests/conformance/constraints-$*.txt hatchling setuptools
	@$(@D)/bin/python -m pip install --quiet --constraint tests/conformance/constraints-$*.txt --no-build-isolation \
	  --editable '.[pytorch,transformers,lightning,keras,jax,tensorboard,plot,test]' pytest pytest-xdist scikit-learn torchdata
	@touch $@

examples: $(ADAPTERS)/newest/.set-up  ## run the programs in examples/ whole, into runs/examples: each takes less than three minutes
	@for program in cart_pole fourier_operator fourier_operator_jax language_model digits; do \
	  echo "examples/$$program.py"; $(ADAPTERS)/newest/bin/python examples/$$program.py || exit; \
	done

test-page: setup  ## a browser looks at the page: Chromium, which is installed by apt-get where it is missing and can be
	@$(BIN)/python -c 'import playwright' 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[page-test]'
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing chromium" && apt-get update -qq && apt-get install -qq -y chromium >/dev/null; } || { echo "make test-page needs the browser Chromium, and found none. Install it (Debian: apt install chromium)" >&2; exit 2; }
	PLATEAU_BROWSER=$$(command -v chromium) $(BIN)/python -m pytest --numprocesses 2 tests/browser

docs: setup      ## the site of docs/, into build/site; a broken link, or a picture whose code fails, fails it
	@$(BIN)/python -c 'import sphinx' 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[docs]'
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env -b html -c docs . build/site
	@echo "The site is in build/site/index.html"

coverage: setup  ## the tests, and the lines and branches that they never reach: none of controller/
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal --cov --cov-report term --cov-report html
	$(BIN)/python -m coverage report --include='controller/*' --fail-under=100

verifier: setup  ## `check` against every loss stream of 5,000 small curricula, fifteen minutes
	$(BIN)/python -P -m tests.properties.agreement 5000

mutation: setup  ## does any test see it, if controller/ is changed in one place? hours; it goes on where it was stopped
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[mutation]'
	$(BIN)/python tests/mutation.py $(if $(MUTANTS),"$(MUTANTS)")
	@$(BIN)/mutmut results --all true | awk '{ sub(/\.x[^.]*$$/, "", $$1); all[$$1]++; if ($$2 ~ /killed|timeout/) killed[$$1]++ } \
	  END { for (file in all) { printf "%-36s %5d of %5d  %5.1f %%\n", file, killed[file], all[file], 100 * killed[file] / all[file] } }' | sort

faults: setup    ## kill, crash, refuse and damage runs: 10,000 killed saves, 5,000 damaged folders, ...; half an hour
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal -m faults tests/faults
	$(BIN)/python -m tests.faults
	$(BIN)/python -m tests.faults.ranks

release: setup   ## the sdist and the wheel of this commit, into dist/, built twice and compared; nothing is uploaded
	@$(BIN)/python -c 'import build, twine' 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[release]'
	$(BIN)/python -m tests.wheel.release

format: setup    ## put the code into the form that lint asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: setup      ## train the tiny model on a CPU under curricula/plateau.toml, a few minutes
	@env -u OMP_NUM_THREADS $(BIN)/python -m fftcore.run curricula/plateau.toml --preset tiny --out runs/demo --epochs 20 --steps-per-epoch 80

bench: setup     ## run the benchmarks, but for the next five and the peer's, benchmarks/neuraloperator.py
	@for benchmark in $(filter-out benchmarks/boundary.py benchmarks/quality.py benchmarks/neuraloperator.py benchmarks/rivals.py benchmarks/ideas.py benchmarks/transitions.py benchmarks/page.py benchmarks/study.py,$(wildcard benchmarks/[a-z]*.py)); do echo "$$benchmark"; $(BIN)/python -P $$benchmark || exit; done

bench-boundary: setup ## how often a loss at the stated rate is called flat in 100,000 steps, half an hour on two cores
	$(BIN)/python -P benchmarks/boundary.py

bench-quality: setup  ## train the models that docs/model.md compares and the rivals, five hours of processor time; goes on where it was cut off
	$(BIN)/python -P benchmarks/quality.py
	$(BIN)/python -P benchmarks/rivals.py

bench-page: setup ## how long the page makes a user wait, in the browser of `make test-page`, which is to have run
	$(BIN)/python -P benchmarks/page.py

study: setup     ## train what docs/study.md still lacks, and write its tables; hours, and it goes on where it was stopped
	$(BIN)/python -P benchmarks/study.py

transitions: setup ## a million transitions of curricula called sound, under ten minutes
	$(BIN)/python -P benchmarks/transitions.py

constraints: ## pin anew: resolve in a fresh environment, write constraints.txt
	@set -e; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh"; \
	"$$fresh/bin/python" -m pip install --quiet 'torch==$(TORCH)' hatchling '.[$(EXTRAS),page-test,docs,release]'; \
	{ sed '/^[^#]/,$$d' constraints.txt; "$$fresh/bin/python" -m pip freeze --all --exclude pip --exclude wheel --exclude plateau-rule | sed 's/+cpu$$//'; } > "$$fresh/pins"; \
	cp "$$fresh/pins" constraints.txt; grep -c == constraints.txt

clean:           ## remove what the tools made; the runs and .venv stay
	rm -rf build dist htmlcov mutants .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)*/*' -prune -exec rm -rf {} +
