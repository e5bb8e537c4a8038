# `make demo` runs the main job on rendered views; `make test` passes the tests.
# Both create the virtual environment when it is missing.

VENV ?= .venv
PYTHON ?= python3
OUT ?= out

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

check: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable ".[dev]"
	touch $@

.PHONY: demo test cases check
