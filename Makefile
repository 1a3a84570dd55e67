# The everyday commands; CONTRIBUTING.md says what each is for.
PYTHON ?= python

.PHONY: build test lint bench
build:
	$(PYTHON) -m pip install -e ".[test]"
test:
	$(PYTHON) -m pytest
lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
bench:
	$(PYTHON) -m benchmarks.peers
