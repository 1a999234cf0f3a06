# `make drill` holds the drills, `make test` tests the harness. Each does all of its own set-up, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAGE := tools/stage.sh
# What `make drill` holds: the founding drills, in about six minutes.
DRILLS := $(addprefix scenarios/test_,etcd_wipe.py namespace_deletion.py node_drain.py pod_kill.py)
# What `make drill` passes on to pytest, such as DRILL_ARGS="-k etcd".
DRILL_ARGS ?=

# Where `make readers` keeps the readers that it shows the outputs to.
READERS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pytest-drills/readers

.PHONY: help drill drill-all nightly test truth readers bench matrix setup times clean

help:
	@echo "make drill      hold the founding drills on real kind clusters; evidence/ gets the results"
	@echo "make drill-all  hold every drill, the slow ones too"
	@echo "make test       lint, types, unit, plugin and packaging tests, then real drills and their sabotaged twins;"
	@echo "                with DRILLS_CHANGED_SINCE=COMMIT also the drills that changes since then concern"
	@echo "make truth      judge 20,000 histories of a service whose truth is known, which takes a quarter of an hour"
	@echo "make readers    show a run's outputs to their real readers: Allure, promtool, veraPDF, vnu, axe and others"
	@echo "make matrix     the plugin's tests with pytest 8.4, 9.0 and 9, and beside the plugins that many have; for the night"
	@echo "make nightly    real drills that take too long for make test: Kubernetes and Velero as people use them"
	@echo "make bench      how far the probe is off, and what the harness adds to the bare commands"
	@echo "make clean      remove the virtual environment and what tests left; images and caches stay (drills images clean)"

drill: setup
	@$(BIN)/drills run $(DRILLS) $(DRILL_ARGS)

drill-all: setup
	@$(BIN)/drills run --drill-all --durations=0 $(DRILL_ARGS)

test: times setup
	@$(STAGE) lint $(BIN)/ruff check --quiet .
	@$(STAGE) format $(BIN)/ruff format --quiet --check .
	@$(STAGE) types $(BIN)/mypy --no-error-summary
	@# Three, on two cores as well: some of these tests wait for a clock.
	@$(STAGE) "unit and plugin tests" $(BIN)/pytest -q -n 3 --dist loadfile tests/unit tests/fixtures tests/plugin
	@# One file, so by case: each makes evidence of its own and has both verifiers read it.
	@$(STAGE) "attacks on evidence" $(BIN)/pytest -q -n 3 tests/attacks
	@$(STAGE) "unit tests, other client" env PYTHON=$(BIN)/python tests/clients.sh
	@$(STAGE) "packaging tests" $(BIN)/pytest -q tests/packaging
	@$(STAGE) "images" $(BIN)/drills images get
	@$(STAGE) "real drills" $(BIN)/pytest tests/e2e
	@$(STAGE)

# `make test` judges 1,500 of them.
truth: setup
	@$(STAGE) "verdicts against the model" env DRILLS_HISTORIES=20000 $(BIN)/pytest -q tests/unit/test_truth.py

# In a job of its own: what it installs is as large as the rest, and the outputs change more rarely than the drills.
readers: setup
	@$(STAGE) "readers" tools/readers.sh $(READERS)
	@$(STAGE) "tests with real readers" env DRILLS_READERS=$(READERS) $(BIN)/pytest -q tests/readers tests/unit/test_shell.py

nightly: setup
	@$(STAGE) "Kubernetes as it is used" $(BIN)/pytest -q tests/nightly

bench: setup
	@$(BIN)/python -m bench

matrix: setup
	@env PYTHON=$(BIN)/python tests/matrix.sh

setup: $(VENV)/ready

# The pins are resolved for every Python and platform: pip alone takes minutes to find versions that fit together.
$(VENV)/ready: requirements.txt pyproject.toml tools/system-packages.sh
	@$(STAGE) "system packages" env PYTHON=$(PYTHON) tools/system-packages.sh
	@echo "Setting up $(VENV) with the pinned Python packages"
	@$(STAGE) "virtual environment" $(PYTHON) -m venv --clear $(VENV)
	@$(STAGE) "Python packages" $(BIN)/pip install --quiet --disable-pip-version-check --no-compile \
		--requirement requirements.txt
	@$(STAGE) "bytecode" $(BIN)/python -m compileall -q -j 0 $(VENV)/lib
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

times:
	@rm -f .stages

clean:
	rm -rf $(VENV) .stages .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
