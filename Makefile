# make run        runs the main job to results/submission_full.csv
# make plan       prints what that would run, and why (snakemake -n); TARGET=... for another file
# make report     runs that and results/summary.md, and makes results/report.html of both
# make reference  writes the tables of config/README.md again
# make test       checks the code and runs the tests, a process per core
# make test-fast  runs those that take no whole workflow: what one needs while editing
# make test-slow  runs random kills, for some minutes; TESTS=tests/train for some of them
# Each makes .venv first. Then, for everything else: source .venv/bin/activate; snakemake ...
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell python$(v) -c 'import sys; print(sys.executable)' 2>/dev/null)) python3)
BIN := .venv/bin
CORES ?= 4
TARGET ?= results/submission_full.csv
# Neighbouring tests, which share fixtures, stay in one process until another has nothing to do.
PYTEST := $(BIN)/pytest --numprocesses logical --maxprocesses 8 --dist worksteal

.PHONY: run plan report reference test test-fast test-slow lint clean

run: .venv/run-ready
	$(BIN)/snakemake --cores $(CORES) results/submission_full.csv

plan: .venv/run-ready
	$(BIN)/snakemake -n $(TARGET)

report: .venv/run-ready
	$(BIN)/snakemake --cores $(CORES)
	$(BIN)/snakemake --report results/report.html

reference: .venv/run-ready
	PYTHONPATH=scripts $(BIN)/python -m feseq.config.reference

test: .venv/test-ready lint
	$(PYTEST)

test-fast: .venv/test-ready
	$(PYTEST) -m "not slow and not workflow"

test-slow: .venv/test-ready
	$(PYTEST) --hypothesis-profile=thorough -m "slow or hypothesis" $(TESTS)

lint: .venv/test-ready
	$(BIN)/snakefmt --check Snakefile rules workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=scripts $(BIN)/lint-imports
	$(BIN)/snakemake --lint

.venv/run-ready: envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; $(PYTHON) is another: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r envs/requirements.txt
	@touch $@

.venv/test-ready: envs/requirements-test.txt envs/requirements-moto.txt .venv/run-ready
	$(BIN)/pip install --quiet -r envs/requirements-test.txt
	$(PYTHON) -m venv .venv/moto
	.venv/moto/bin/pip install --quiet -r envs/requirements-moto.txt
	@touch $@

clean:
	rm -rf .venv .snakemake
