# `make demo` and `make test` set everything up themselves.
.PHONY: setup demo test proof fuzz lint gpu-plan bench bench-plan clean

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

# NVIDIA's planner is asked about every plan that these tests start; no GPU is needed.
gpu-plan: setup
	@jar=$$(scripts/rapids.sh) && SHARDWRIGHT_RAPIDS_JAR=$$jar .venv/bin/python -m pytest -p tests.gpu_plan.gate \
		-m "spark and not proof" tests/gpu_plan tests/test_*.py

bench: setup
	@.venv/bin/python tests/benchmarks/export.py $(ARGS)

bench-plan: setup
	@.venv/bin/python tests/benchmarks/plan.py $(ARGS)

# What takes minutes: every fault that verify is to find, and 10,000 damaged tars.
proof: setup fuzz
	@.venv/bin/python -m pytest -m proof

fuzz: setup
	@.venv/bin/python -m tests.fuzz.tars $(ARGS)

clean:
	@rm -rf .venv demo
