# make run        runs the main job to results/submission_full.csv
# make plan       prints what `make run` would run, and why (snakemake -n); TARGET=... for another file
# make report     runs the main job and results/summary.md, then makes results/report.html
# make reference  rewrites the tables of config/README.md
# make test       checks the code and runs the tests, one process per core, at most 8
# make test-fast  runs the tests that need no whole workflow, for use while editing
# make test-slow  runs random kills and other slow tests, for some minutes; TESTS=tests/models for fewer
# Each makes .venv first. For everything else: source .venv/bin/activate; snakemake ...
# PYTHON=/path/to/python3.13 VENV=.venv-3.13 uses another Python and another folder.
# TORCH=cpu or TORCH=cu128 installs that build of PyTorch (uv's --torch-backend).
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell python$(v) -c 'import sys; print(sys.executable)' 2>/dev/null)) python3)
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= 4
TARGET ?= results/submission_full.csv
# Neighbouring tests share fixtures, so they stay in one process until another process is idle.
PYTEST := $(BIN)/pytest --numprocesses logical --maxprocesses 8 --dist worksteal

.PHONY: run plan report reference test test-fast test-slow lint clean

run: $(VENV)/run-ready
	$(BIN)/snakemake --cores $(CORES) results/submission_full.csv
	@echo "Next: source $(BIN)/activate && snakemake --cores $(CORES)   # compares the models: results/summary.html"

plan: $(VENV)/run-ready
	$(BIN)/snakemake -n --cores $(CORES) $(TARGET)

report: $(VENV)/run-ready
	$(BIN)/snakemake --cores $(CORES)
	$(BIN)/snakemake --report results/report.html --quiet all
	@echo "Wrote results/report.html"

reference: $(VENV)/run-ready
	PYTHONPATH=scripts $(BIN)/python -m tossctr.catalog.reference

test: $(VENV)/test-ready lint
	$(PYTEST)

test-fast: $(VENV)/test-ready
	$(PYTEST) -m "not slow and not workflow"

test-slow: $(VENV)/test-ready
	$(PYTEST) --hypothesis-profile=thorough -m "slow or hypothesis" $(TESTS)

lint: $(VENV)/test-ready
	$(BIN)/snakefmt --check Snakefile rules workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=scripts $(BIN)/lint-imports
	$(BIN)/snakemake --lint

$(VENV)/run-ready: envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; $(PYTHON) has another version: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip $(if $(TORCH),uv)
	$(if $(TORCH),$(BIN)/uv pip install --quiet --python $(VENV) --torch-backend $(TORCH) torch)
	$(BIN)/pip install --quiet -r envs/requirements.txt
	@touch $@

$(VENV)/test-ready: envs/requirements-test.txt envs/requirements-moto.txt $(VENV)/run-ready
	$(BIN)/pip install --quiet -r envs/requirements-test.txt
	$(PYTHON) -m venv $(VENV)/moto
	$(VENV)/moto/bin/pip install --quiet -r envs/requirements-moto.txt
	@touch $@

clean:
	rm -rf .venv .venv-* .snakemake
