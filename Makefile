# make demo     from nothing to the heat map of a small simulated cohort
# make setup    .venv with bams3 (editable), its plots, workflow and test tools
# make test     the tests that any machine can run
# make check    linters, types and formatting; make format mends what it can
# make sanitize the tests of the compiled code under ASan and UBSan
# make bench BAM=file.bam    the benchmarks;   make profile BAM=file.bam    where a conversion's time goes
# make ask BAM=file.bam      depth, statistics and columns;  make prices STORE=folder    what questions read
# make s3 BAM=file.bam       a store behind an S3 server: requests, latency, load, memory
# make ld PANEL=sim.vcf BCF=some.bcf   all pairs of a simulated panel (python -m tests.bench.ld_panel), and plink
# make chi2 COUNTS=counts.tsv   chi2-batch on real and made-up counts, and other ways to its p-values
# make fuzz SECONDS=600      every decoder under libFuzzer, ASan and UBSan
# make sizes DIR=folder      real files as BAM, CRAM 3.1 and store
# make clean    removes what these made
#
# PYTHON=python3.12 make setup   another interpreter;   CC=clang make setup   another compiler

PYTHON ?= python3
SECONDS ?= 20
BIN := .venv/bin
STAMP := .venv/.bams3-installed
NATIVE := $(wildcard bams3/native/*.c bams3/native/*.h)
PYTEST := $(BIN)/pytest
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup demo test check format sanitize bench ask prices s3 cost work chi2 ld profile sizes fuzz clean
.DELETE_ON_ERROR:

setup: $(STAMP)
	@:

# Anything missing is one line with its cure. The oldest Python is read from pyproject.toml.
$(STAMP): pyproject.toml setup.py $(NATIVE)
	@minor=$$(sed -n 's/^requires-python = ">=3\.\([0-9]*\)".*/\1/p' pyproject.toml); \
	command -v $(PYTHON) >/dev/null && $(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, $$minor))" || \
	{ echo "bams3 needs Python 3.$$minor or newer, and $(PYTHON) is not: install it, or name another with 'make setup PYTHON=python3.$$minor'" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	{ echo "bams3 needs Python's venv module: apt-get install python3-venv" >&2; exit 1; }
	@command -v $(firstword $(CC)) >/dev/null || \
	{ echo "bams3 needs a C compiler, and there is no $(firstword $(CC)): apt-get install gcc, or name another with 'make setup CC=clang'" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "making .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing bams3 and its tools into .venv (a minute or two the first time)"
	@CC="$(CC)" $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[plots,workflow,slurm,aws-batch,test]'
	@touch $@
	@echo "done; . .venv/bin/activate puts bams3 and snakemake on the PATH"

demo: setup
	@workflow/demo.sh

test: setup
	$(PYTEST) -n auto $(ARGS)

# Every checker runs, so that one complaint does not hide the next.
check: setup
	@failed=; step() { echo "$$*"; "$$@" || failed="$$failed $$1"; }; \
	step ruff check .; \
	step ruff format --check .; \
	step mypy; \
	step snakefmt --check workflow wrappers; \
	step clang-format --dry-run -Werror $(NATIVE); \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

format: setup
	ruff check --fix .
	ruff format .
	snakefmt workflow wrappers
	clang-format -i $(NATIVE)

# A second copy of the package in build/sanitize, its library built with the sanitizers; PYTHONMALLOC lets
# ASan see the ends of small Python objects too. PYTHONSAFEPATH keeps the checkout's own bams3 out.
sanitize: setup
	@CC=gcc BAMS3_SANITIZE=1 $(BIN)/python setup.py --quiet build --force --build-base build/sanitize --build-lib build/sanitize/lib
	PYTHONPATH=build/sanitize/lib PYTHONSAFEPATH=1 PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
	UBSAN_OPTIONS=print_stacktrace=1 LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	$(PYTEST) -p no:cacheprovider --capture=sys -n auto -m native $(ARGS)

bench: setup
	$(BIN)/python -m tests.bench.convert_query "$(BAM)" $(ARGS)

ask: setup
	$(BIN)/python -m tests.bench.depth_stats "$(BAM)" $(ARGS)

s3: setup
	$(BIN)/python -m tests.bench.s3 "$(BAM)" $(ARGS)

cost: setup
	$(BIN)/python -m tests.bench.cost $(ARGS)

prices: setup
	$(BIN)/python -m tests.bench.prices "$(STORE)" $(ARGS)

work: setup
	$(BIN)/python -m tests.bench.work "$(BAM)" $(ARGS)

ld: setup
	$(BIN)/python -m tests.bench.ld "$(PANEL)" "$(BCF)" $(ARGS)

chi2: setup
	$(BIN)/python -m tests.bench.chi2 "$(COUNTS)" $(ARGS)

profile: setup
	$(BIN)/python -m tests.bench.profile_convert "$(BAM)" $(ARGS)

# Needs clang and its libFuzzer: apt-get install clang libclang-rt-14-dev (or those of another version).
fuzz:
	tests/fuzz/run.sh $(SECONDS) $(ARGS)

sizes: setup
	$(BIN)/python -m tests.bench.sizes "$(DIR)" $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .snakemake
	rm -f bams3/_kernels*.so
	find bams3 tests workflow wrappers -name __pycache__ -prune -exec rm -rf {} +
