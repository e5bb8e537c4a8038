# `make demo` runs the main job on rendered views; `make test` passes the tests.
# Both create the virtual environment when it is missing. `make test-research` passes the tests of
# the codecs in an environment of its own, with the extra `research` and what that holds back.

VENV ?= .venv
RESEARCH ?= .venv-research
PYTHON ?= python3
OUT ?= out

# what has to come out alike in both environments, and what only the second one can run
SAME = tests/codecs/test_same_everywhere.py tests/codecs/test_classical_golden.py \
	tests/codecs/test_label_golden.py tests/codecs/test_exact.py tests/codecs/test_av1.py \
	tests/codecs/test_research.py tests/test_architecture.py

export OMP_NUM_THREADS ?= 1

demo: $(VENV)/.installed
	rm -rf $(OUT)/demo $(OUT)/demo-depth
	$(VENV)/bin/dsc compress taskonomy --sample 24 --tasks rgb,depth,normals,segment_semantic --out $(OUT)/demo
	$(VENV)/bin/dsc verify $(OUT)/demo --deep
	$(VENV)/bin/dsc fetch $(OUT)/demo --tasks depth --out $(OUT)/demo-depth
	$(VENV)/bin/dsc view $(OUT)/demo --out $(OUT)/demo.html
	@echo "Open $(OUT)/demo.html in a browser."

test: $(VENV)/.installed
	$(VENV)/bin/python -m pytest

cases: $(VENV)/.installed
	$(VENV)/bin/python -m pytest tests/test_cases.py -rA

test-research: $(RESEARCH)/.installed
	$(RESEARCH)/bin/python -c "import compressai, numpy; assert int(numpy.__version__[0]) < 2"
	$(RESEARCH)/bin/python -m pytest $(SAME)

check: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable ".[dev]"
	touch $@

$(RESEARCH)/.installed: pyproject.toml
	$(PYTHON) -m venv $(RESEARCH)
	$(RESEARCH)/bin/python -m pip install --quiet --editable ".[research-test]"
	touch $@

.PHONY: demo test cases test-research check
