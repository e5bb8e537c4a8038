# `make demo` runs the main job on rendered views; `make test` passes the tests.
# Both create the virtual environment when it is missing. `make docs` builds the site of the
# documentation in out/site. `make wheel-test` builds a wheel, installs it alone, without torch, in a
# fresh environment, runs the demo from it and says how large that is. `make test-research` passes
# the tests of the codecs in an environment of its own, with the extra `research` and what that
# holds back.

VENV ?= .venv
RESEARCH ?= .venv-research
FROM_WHEEL ?= .venv-wheel
PYTHON ?= python3
OUT ?= out

# what has to come out alike in both environments, and what only the second one can run
SAME = tests/codecs/test_same_everywhere.py tests/codecs/test_classical_golden.py \
	tests/codecs/test_label_golden.py tests/codecs/test_exact.py tests/codecs/test_values.py \
	tests/codecs/test_av1.py tests/codecs/derived \
	tests/codecs/test_research.py tests/test_architecture.py

export OMP_NUM_THREADS ?= 1

demo: $(VENV)/.installed
	rm -rf $(OUT)/demo $(OUT)/demo-depth
	$(VENV)/bin/dsc compress taskonomy --views 24 --tasks rgb,depth,normals,segment_semantic --out $(OUT)/demo
	$(VENV)/bin/dsc verify $(OUT)/demo --deep
	$(VENV)/bin/dsc fetch $(OUT)/demo --tasks depth --out $(OUT)/demo-depth
	$(VENV)/bin/dsc view $(OUT)/demo --out $(OUT)/demo.html

test: $(VENV)/.installed
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 8 --dist loadgroup

# the notice that mkdocs 2 will be another program is no warning of ours
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict
	@echo "Open $(OUT)/site/index.html in a browser."

wheel-test:
	rm -rf $(OUT)/wheel $(FROM_WHEEL)
	$(PYTHON) -m venv $(OUT)/builder
	$(OUT)/builder/bin/python -m pip install --quiet build
	$(OUT)/builder/bin/python -m build --outdir $(OUT)/wheel
	$(PYTHON) -m venv $(FROM_WHEEL)
	$(FROM_WHEEL)/bin/python -m pip install --quiet $(OUT)/wheel/*.whl
	cd $(OUT)/wheel && $(abspath $(FROM_WHEEL))/bin/dsc compress taskonomy --views 4 --tasks rgb,depth,segment_semantic --out views
	cd $(OUT)/wheel && $(abspath $(FROM_WHEEL))/bin/dsc verify views --deep
	cd $(OUT)/wheel && $(abspath $(FROM_WHEEL))/bin/dsc fetch views --tasks depth --out depth-only
	cd $(OUT)/wheel && $(abspath $(FROM_WHEEL))/bin/dsc view views --out views.html
	cd $(OUT)/wheel && $(abspath $(FROM_WHEEL))/bin/python -c 'import dsc; assert sum(len(b["__index__"]) for b in dsc.stream("views", batch_size=3, output="numpy")) == 4'
	$(FROM_WHEEL)/bin/python benchmarks/install_size.py --at-most 300 --without torch

cases: $(VENV)/.installed
	$(VENV)/bin/python -m pytest tests/test_cases.py -rA

test-research: $(RESEARCH)/.installed
	$(RESEARCH)/bin/python -c "import compressai, numpy; assert int(numpy.__version__[0]) < 2"
	$(RESEARCH)/bin/python -m pytest $(SAME)

check: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# what the compiled kernels are built from
KERNELS = setup.py $(wildcard dsc/_kernels/*.c dsc/_kernels/*.h)

$(VENV)/.installed: pyproject.toml $(KERNELS)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable ".[dev]"
	touch $@

$(RESEARCH)/.installed: pyproject.toml $(KERNELS)
	$(PYTHON) -m venv $(RESEARCH)
	$(RESEARCH)/bin/python -m pip install --quiet --editable ".[research-test]"
	touch $@

.PHONY: demo test docs wheel-test cases test-research check
