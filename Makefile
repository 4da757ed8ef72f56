# `make demo` and `make test` set everything up themselves.
.PHONY: setup demo test lint bench fuzz clean

setup:
	@bash scripts/setup.sh

demo: setup
	@.venv/bin/python examples/demo.py

test: setup
	@.venv/bin/python -m pytest

lint: setup
	@.venv/bin/ruff format --check
	@.venv/bin/ruff check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: setup
	@.venv/bin/python tests/benchmarks/export.py

fuzz: setup
	@.venv/bin/python -m tests.fuzz.tars $(ARGS)

clean:
	@rm -rf .venv demo
