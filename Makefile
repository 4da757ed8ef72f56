# `make demo` and `make test` set everything up themselves.
.PHONY: setup demo test test-stores test-cluster test-faults test-spark35 test-connect proof fuzz lint udfs gpu-plan test-gpu \
	bench bench-plan bench-stores bench-skew bench-udfs clean

setup:
	@bash scripts/setup.sh

demo: setup
	@.venv/bin/python examples/demo.py

test: setup
	@.venv/bin/python -m pytest

# Stores, against real servers of S3 and Azure on this machine: Go builds the one, npm installs the other.
test-stores: setup
	@scripts/versitygw.sh >/dev/null
	@scripts/azurite.sh >/dev/null
	@.venv/bin/python -m shardwright.store.jvm s3
	@.venv/bin/python -m pytest -m "stores and not faults"

# spark-submit against Spark's own standalone cluster, with the wheel: every verb.
test-cluster: setup
	@.venv/bin/python -m pytest -m cluster tests/cluster $(ARGS)

# Killed executors, drivers and workers, slow tasks, full disks, stores that fail; a table of what came of it.
test-faults: setup
	@scripts/versitygw.sh >/dev/null
	@.venv/bin/python -m shardwright.store.jvm s3
	@.venv/bin/python -m pytest -m faults tests/faults $(ARGS)

# What runs the verbs and the class.
VERBS = $(patsubst %,tests/test_%.py,export filter dataset save_metadata verify clean)

# The oldest Spark that is meant, on another Delta, Scala and NumPy; what asks Spark in other ways there, too.
test-spark35: setup
	@scripts/spark35.sh
	@.venv-spark35/bin/python -m pytest $(VERBS) tests/test_functions.py tests/store/test_expressions.py $(ARGS)

# The same verbs where Python talks to Spark over the network, and sees neither its plans nor its JVM.
test-connect: setup
	@.venv/bin/python -m pytest --connect $(VERBS) tests/store/test_expressions.py $(ARGS)
	@.venv/bin/python -m pytest -m connect

lint: setup
	@.venv/bin/ruff format --check
	@.venv/bin/ruff check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

# NVIDIA's planner is asked about every plan that tests start, but for those in sessions of their own, and those that
# start no plan that others do not; no GPU is needed. The functions' columnar twins are compiled against the real jar first.
NOT_ASKED = $(patsubst %,tests/test_%.py,azure clean cli conf functions functions_connect index interrupts lifecycle \
	loaders locations nemo object_files proof refusals secrets spark_laws stores submit tables two_exports web)
gpu-plan: setup udfs
	@jar=$$(scripts/rapids.sh) && bash scripts/sbt.sh -Drapids.jar=$$jar udfs/compile && \
		SHARDWRIGHT_RAPIDS_JAR=$$jar .venv/bin/python -m pytest -p tests.gpu_plan.gate $(ARGS) \
		-m "spark and not proof" tests/gpu_plan tests/gpu \
		$(filter-out $(NOT_ASKED),$(wildcard tests/test_*.py))

# The same plans on the CPU and on the GPU; without a GPU each test says what is missing.
test-gpu: setup udfs
	@jar=$$(scripts/rapids.sh) && SHARDWRIGHT_RAPIDS_JAR=$$jar .venv/bin/python -m pytest -p tests.gpu.session -m gpu tests/gpu

# The Scala functions, for Spark 4.0 and 3.5; sessions on this machine have them from then on.
udfs: jobs/shardwright/jars

jobs/shardwright/jars: build.sbt scripts/udfs.sh scripts/sbt.sh project/plugins.sbt \
		$(shell find udfs -type f -not -path '*/target/*')
	@bash scripts/udfs.sh

bench: setup
	@.venv/bin/python tests/benchmarks/export.py $(ARGS)

bench-plan: setup
	@.venv/bin/python tests/benchmarks/plan.py $(ARGS)

# A real S3 server on this machine, which Go builds.
bench-stores: setup
	@scripts/versitygw.sh >/dev/null
	@.venv/bin/python -m shardwright.store.jvm s3
	@PYTHONPATH=. .venv/bin/python tests/benchmarks/stores.py $(ARGS)

# One huge shard among small ones, huge shards written, and thousands of tiny ones.
bench-skew: setup
	@.venv/bin/python tests/benchmarks/skew.py $(ARGS)

bench-udfs: setup udfs
	@.venv/bin/python tests/benchmarks/udfs.py $(ARGS)

# What takes minutes: every fault that verify is to find, and 10,000 damaged tars.
proof: setup fuzz
	@.venv/bin/python -m pytest -m proof

fuzz: setup
	@.venv/bin/python -m tests.fuzz.tars $(ARGS)

clean:
	@rm -rf .venv demo target project/target project/project udfs/target udfs/rapids-stubs/target jobs/shardwright/jars
