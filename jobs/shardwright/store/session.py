"""The Spark session: the caller's, spark-submit's, or one of our own on this machine.

The only module that may use what Spark Connect lacks.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module, resources
from pathlib import Path
from urllib.parse import unquote

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from shardwright.errors import RequestError, RunError, UnreadableFileError, restored

# Rules are checked under ANSI on every version: an overflow or a bad cast is an error, never a silent null.
# Batches of the size of a sidecar's row group keep a worker's memory flat however wide the metadata is.
_SETTINGS = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "4096",
    "spark.sql.session.timeZone": "UTC",
}
# The settings of conf/local.conf that have plans interpreted, and what they are for large ones.
_COMPILED = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}
_COMPILED_FROM_ROWS = 200_000
# A task sorts its share in memory.
_PARTITIONS, _ROWS_PER_PARTITION = "spark.sql.shuffle.partitions", 500_000
_LEAST_DRIVER_MIB = 1024
# As many bytes as a million narrow rows take.
_LARGE_METADATA_BYTES = 32 << 20
# The slow compiler is worth its time in what runs for all rows, ten times later than by default.
_JAVA_FOR_MANY = [
    "-XX:+UseParallelGC",
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=20000",
    "-XX:Tier4CompileThreshold=200000",
    "-XX:Tier4BackEdgeThreshold=2000000",
]
_DAEMON = "shardwright.store.daemon"
_EXTENSIONS, _UDFS = "spark.sql.extensions", "shardwright.udfs.Extensions"
_PYTHON_ERROR = re.compile(
    r"(?!(?:java|scala|org|com|io|py4j|pyspark)\.)[A-Za-z_][\w.]*(?:Error|Exception|ArrowInvalid): "
)
# The planner looks at plans for a CPU; a bridge to the CPU would hide what crosses it.
_ASK_PLANNER = {"spark.rapids.sql.enabled": "false", "spark.rapids.sql.expression.cpuBridge.enabled": "false"}
# `!Expression <ZipWith> zip_with(…) cannot run on GPU because …`; operators say no more than their expressions.
_REFUSED = re.compile(r"^\s*!\s?\w* ?<\w+(?<!Exec)> (?P<text>.*)$")
_FAILED_FILE = re.compile(r"Encountered error while reading file (?:file:/*)?(/.+?\.parquet)")


@contextmanager
def session(spark: SparkSession | None = None) -> Iterator[SparkSession]:
    """Give a session with our settings; the caller's own settings are restored at the end.

    Raises:
        RequestError: The session has no Delta.
    """
    spark = spark or _current_session()
    _require_delta(spark)
    # pyspark 4 also logs, as JSON on stderr, every exception that we turn into a sentence.
    with suppress(ImportError):
        from pyspark.logger import PySparkLogger

        for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
            PySparkLogger.getLogger(name).setLevel(logging.CRITICAL)
    with _settings(spark, _SETTINGS, (*_COMPILED, _PARTITIONS)), run_errors("Spark"):
        yield spark


@contextmanager
def _settings(spark: SparkSession, settings: Mapping[str, str], others: Sequence[str] = ()) -> Iterator[None]:
    """Set some, and restore them at the end, and others that are set meanwhile."""
    before = {name: spark.conf.get(name, None) for name in (*settings, *others)}
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, old)


@contextmanager
def run_errors(where: str) -> Iterator[None]:
    """Turn what Spark raises into an error of ours; one that a task raised comes back as it was."""
    try:
        yield
    except (PySparkException, Py4JError) as error:
        text = str(error)
        ours = restored(text)
        if ours is not None:
            raise ours from None
        unreadable = _FAILED_FILE.search(text)
        if unreadable:
            raise UnreadableFileError(unquote(unreadable[1]), _first_cause(text)) from None
        raise RunError(where, _first_cause(text), "Run the same command again to go on") from error


def _first_cause(text: str) -> str:
    """Pick the line of a Spark error that says what happened."""
    lines = [line.strip().removeprefix(": ") for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("An error occurred while calling")]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    python = [line for line in lines if _PYTHON_ERROR.match(line)]
    missing = next(
        (line for line in lines if line.startswith("ModuleNotFoundError: No module named 'shardwright")), None
    )
    if missing:
        return "the executors' Python has no shardwright; pass its wheel with --py-files"
    return (python[-1:] or causes[-1:] or lines or ["Spark failed"])[0].rstrip(".")


def is_repeatable(frame: DataFrame) -> bool:
    """Tell whether a frame has the same values each time it is computed; Spark Connect can't tell."""
    try:
        plans = frame._jdf.queryExecution()  # noqa: SLF001 - said nowhere else
    except AttributeError:
        return True
    # Spark holds the time to be the same within one query, and an export runs several.
    patterns = frame.sparkSession._jvm.org.apache.spark.sql.catalyst.trees.TreePattern  # type: ignore[union-attr]  # noqa: SLF001
    if plans.analyzed().containsPattern(patterns.CURRENT_LIKE()):
        return False
    # Optimized, a plan has lost the columns that were assigned anew; that takes time, and few need it.
    return bool(plans.analyzed().deterministic() or plans.optimizedPlan().deterministic())


def is_ours(spark: SparkSession) -> bool:
    """Tell a session on this machine alone, with ``conf/local.conf``."""
    return spark.conf.get("spark.python.daemon.module", None) == _DAEMON


def plans_for_gpu(spark: SparkSession) -> bool:
    """Tell a session whose plans RAPIDS takes over, with ``conf/rapids.conf``."""
    return spark.conf.get("spark.rapids.sql.enabled", "false") == "true"


def refused_by_gpu(frame: DataFrame) -> list[str]:
    """Give the expressions of a plan that RAPIDS leaves on the CPU, each with its reason, as NVIDIA's planner says it.

    Empty where no plan is for a GPU, and on Spark Connect, which has no way to ask.
    """
    spark = frame.sparkSession
    if not plans_for_gpu(spark):
        return []
    try:
        planner = spark._jvm.com.nvidia.spark.rapids.ExplainPlan  # type: ignore[union-attr]  # noqa: SLF001
        with _settings(spark, _ASK_PLANNER):
            # A plan is made once: that of a new frame is made here.
            text = planner.explainPotentialGpuPlan(frame.select("*")._jdf, "NOT")  # noqa: SLF001
    except (AttributeError, TypeError, Py4JError):
        return []
    return list(dict.fromkeys(match["text"] for match in map(_REFUSED.match, text.splitlines()) if match))


def fit_to_rows(spark: SparkSession, row_count: int) -> None:
    """Let a session of our own compile its plans from here on where they are worth it, and share out many rows."""
    if is_ours(spark) and row_count >= _COMPILED_FROM_ROWS:
        for name, value in _COMPILED.items():
            spark.conf.set(name, value)
        wanted = max(int(str(spark.conf.get(_PARTITIONS))), -(-row_count // _ROWS_PER_PARTITION))
        spark.conf.set(_PARTITIONS, str(wanted))


def task_count(spark: SparkSession, shard_count: int, per_core: int = 4) -> int:
    """Give the tasks among which shards are shared out: some for each core, so that uneven ones balance."""
    try:
        cores = spark.sparkContext.defaultParallelism
    except Exception:  # noqa: BLE001 - Spark Connect raises its own class, which 3.5 lacks
        cores = 50
    return max(1, min(shard_count, per_core * cores))


@contextmanager
def starting_session(metadata_bytes: int) -> Iterator[Future[SparkSession]]:
    """Start a session, or find the one that is there, while the caller does something else.

    Args:
        metadata_bytes: What is to be planned: how large the sidecars are.

    Not in the main thread: there pyspark would set a signal handler that breaks into any call to the JVM.
    """
    active = SparkSession.getActiveSession()
    with ThreadPoolExecutor(1) as starter:
        yield starter.submit(lambda: _current_session(metadata_bytes) if active is None else active)


def _current_session(metadata_bytes: int = 0) -> SparkSession:
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    # spark-submit and notebooks have made the gateway and the settings already.
    if (
        "PYSPARK_GATEWAY_PORT" in os.environ
        or "DATABRICKS_RUNTIME_VERSION" in os.environ
        or "SPARK_REMOTE" in os.environ
    ):
        return SparkSession.builder.getOrCreate()
    return local_session(metadata_bytes)


def local_session(metadata_bytes: int = 0, record_classes: str | None = None) -> SparkSession:
    """Start Spark on this machine with ``conf/local.conf``, the interpreter of this process and Delta from disk.

    Args:
        metadata_bytes: How large the sidecars are that it is for.
        record_classes: Where the JVM is to archive the classes that it loaded, when it ends.
    """
    from shardwright.store.jvm import class_archive, delta_jars, udfs_jar  # not needed where the cluster brings Delta

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Spark asks for pandas once it hands Arrow to Python: load it while the JVM starts.
    for module in ("pandas", "deltalake"):
        threading.Thread(target=import_module, args=(module,), daemon=True).start()
    # The script that starts the JVM asks another JVM for its command.
    os.environ.setdefault("SPARK_LAUNCHER_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    conf = resources.files("shardwright") / "conf"
    builder = SparkSession.builder.master("local[*]").appName("shardwright")
    for name in ("spark.conf", "local.conf"):
        for key, value in spark_properties((conf / name).read_text(encoding="utf-8")):
            builder = builder.config(key, value)
            # Not on the class path, which the archive of classes was recorded for.
            if key == _EXTENSIONS and (jar := udfs_jar()):
                builder = builder.config(key, f"{value},{_UDFS}").config("spark.jars", jar)
    # Most local runs last seconds: the quick compiler and the simplest collector take a quarter off a cold one, and
    # from a million samples on they take twice the time.
    is_large = metadata_bytes >= _LARGE_METADATA_BYTES
    java = [*_JAVA_FOR_MANY] if is_large else ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    java += [f"-Xms{_LEAST_DRIVER_MIB}m", "-XX:MetaspaceSize=256m", "-Xlog:disable", "-Xlog:all=error:stderr"]
    java.append(f"-Dlog4j2.configurationFile={Path(str(conf / 'log4j2.properties')).as_uri()}")
    if record_classes:
        java.append(f"-XX:ArchiveClassesAtExit={record_classes}")
    elif class_archive().exists():
        java.append(f"-XX:SharedArchiveFile={class_archive()}")
    builder = builder.config("spark.driver.extraJavaOptions", " ".join(java))
    # Nothing of Spark's own shall appear in the folder that the user stands in.
    builder = builder.config("spark.sql.warehouse.dir", os.path.join(tempfile.gettempdir(), "shardwright-warehouse"))
    builder = builder.config("spark.driver.memory", f"{_driver_memory_mib()}m")
    builder = builder.config("spark.driver.extraClassPath", os.pathsep.join(delta_jars()))
    return builder.getOrCreate()


def spark_properties(text: str) -> Iterator[tuple[str, str]]:
    """Read the settings of a Spark properties file."""
    for line in text.splitlines():
        setting = line.strip()
        if setting and not setting.startswith("#"):
            name, value = setting.split(None, 1)
            yield name, value


def _driver_memory_mib() -> int:
    """Give the driver a quarter of the machine, 1 to 16 GiB; Python workers and the page cache need the rest."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_LEAST_DRIVER_MIB, min(16 * 1024, machine // 4 // 2**20))


def _require_delta(spark: SparkSession) -> None:
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return
    if "delta" not in (spark.conf.get("spark.sql.catalog.spark_catalog", "") or "").lower():
        raise RequestError(
            "Spark session",
            "Delta Lake is not set up in it",
            "Start it with the settings of conf/spark.conf and --packages io.delta:delta-spark_2.13:4.0.1 "
            "(Spark 3.5: io.delta:delta-spark_2.12:3.3.2)",
        )
