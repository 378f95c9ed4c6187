# Needs Python 3.11+ and make, nothing else. PYTHON=python3.12 make test picks an interpreter.
# TEST_JOBS=4 make test runs as many files of tests at once, each on one thread (1.5 GB a job).
# GOMP_SPINCOUNT is explained in buarl/fast/threads.py; here it is for the kernels of notebooks.
# On Linux without a GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu saves gigabytes.
PYTHON ?= python3
TORCH_INDEX ?=
PORT ?= 8866
TEST_JOBS ?= 2
export GOMP_SPINCOUNT ?= 3000
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=600
# Examples of docstrings, in the package alone: solutions are scripts, run by tests/test_notebooks.py.
# A module whose extra is not installed is skipped; tests/test_structure.py imports every module.
EXAMPLES := --doctest-modules --doctest-ignore-import-errors --ignore=notebooks/solutions
BIN := .venv/bin
PIP = $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
READY := .venv/.ready

.PHONY: demo test test-slurm fuzz lab app book bench figures lesson-networks lesson-study notebooks lint dist clean

demo: $(READY)
	$(BIN)/python -m buarl demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(NBVAL) $(EXAMPLES)

test-slurm: $(READY)  # a real Slurm of one node for a minute: root, and Debian's slurm-wlm and munge
	OMP_NUM_THREADS=1 BUARL_SLURM=1 $(BIN)/python -m pytest tests/slurm

fuzz: $(READY)  # FUZZ_SECONDS=60 FUZZ_SEED=7 make fuzz; spoiled files and wrong calls, see SECURITY.md
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.fuzz --seconds $(or $(FUZZ_SECONDS),60) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

lab: $(READY)  # its root is this folder: lessons link to files beside notebooks/
	$(BIN)/jupyter lab --ServerApp.root_dir="$(CURDIR)" notebooks/00_start_here.ipynb

app: $(READY)  # a page without Jupyter; PORT=8866 make app
	@echo "open http://localhost:$(PORT) (Ctrl-C ends it)"
	JUPYTER_PATH="$(CURDIR)/app/jupyter" $(BIN)/voila app/explorers.ipynb --no-browser --port=$(PORT) --template=buarl --strip_sources=True \
		--Voila.root_dir="$(CURDIR)" --VoilaConfiguration.file_allowlist=figures/threshold_scrubber.html \
		--MappingKernelManager.cull_idle_timeout=300 --MappingKernelManager.cull_interval=60

book: $(READY)  # a site of lessons, documents and reference: build/book/index.html
	OMP_NUM_THREADS=1 $(BIN)/python tools/make_book.py

bench: $(READY)  # BENCH='--json FILE' make bench
	$(BIN)/python -m benchmarks $(BENCH)

figures: $(READY)
	$(BIN)/python tools/make_figures.py
	$(BIN)/python tools/make_explorer_pages.py

lesson-networks: $(READY)  # the networks that come with the package; ten minutes of one thread
	OMP_NUM_THREADS=1 $(BIN)/python tools/make_lesson_networks.py

lesson-study: $(READY)  # every row of the lessons with five seeds; an hour of one thread, resumable
	OMP_NUM_THREADS=1 $(BIN)/python tools/run_lesson_study.py

notebooks: $(READY)
	$(BIN)/python tools/run_notebooks.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

dist: $(READY)  # sdist, and a wheel made from it
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf .venv

$(READY): requirements.txt requirements-devices.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "buarl needs Python 3.11 or newer: PYTHON=python3.12 make ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --require-hashes --no-deps -r requirements-devices.txt
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements.txt
	@# Byte code on all cores: pip's own takes one. It fails for templates in packages that are no Python.
	$(BIN)/python -m compileall -q -j 0 .venv > /dev/null 2>&1 || true
	@touch $@
	@case "$$SHELL" in \
	*/fish) line="source .venv/bin/activate.fish";; \
	*/csh|*/tcsh) line="source .venv/bin/activate.csh";; \
	*/bash|*/zsh) line="source .venv/bin/activate";; \
	*) line=". .venv/bin/activate";; \
	esac; echo ".venv is ready; to type buarl and python yourself, run once per terminal: $$line"
