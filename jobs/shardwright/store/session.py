"""The Spark session: the caller's, spark-submit's, or one of our own on this machine."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import unquote

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from shardwright.errors import RequestError, RunError, UnreadableFileError, restored
from shardwright.locations import current_options, from_spark, stores_among, without_secrets
from shardwright.store.expressions import explained
from shardwright.store.hadoop import hadoop_settings, require_file_systems

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
_DAEMON = "shardwright.store.daemon"
# Into how many tasks a plan cuts a range.
_SPLITS = re.compile(r"\bsplits=(?:Some\()?(\d+)")
_PYTHON_ERROR = re.compile(
    r"(?!(?:java|scala|org|com|io|py4j|pyspark)\.)[A-Za-z_][\w.]*(?:Error|Exception|ArrowInvalid): "
)
# The planner looks at plans for a CPU; a bridge to the CPU would hide what crosses it.
_ASK_PLANNER = {"spark.rapids.sql.enabled": "false", "spark.rapids.sql.expression.cpuBridge.enabled": "false"}
# `!Expression <ZipWith> zip_with(…) cannot run on GPU because …`; operators say no more than their expressions.
_REFUSED = re.compile(r"^\s*!\s?\w* ?<\w+(?<!Exec)> (?P<text>.*)$")
_FAILED_FILE = re.compile(r"Encountered error while reading file (\S.*?\.parquet)")


@contextmanager
def session(spark: SparkSession | None = None, places: Sequence[str | None] = ()) -> Iterator[SparkSession]:
    """Give a session with our settings; the caller's own settings are restored at the end.

    Args:
        places: What is to be read and written; their stores need settings, too.

    Raises:
        RequestError: The session has no Delta, or can't read a store.
    """
    stores = stores_among(places)
    spark = spark or _current_session(0, stores)
    _require_delta(spark)
    settings = dict(_SETTINGS)
    if stores:
        settings |= hadoop_settings(stores, current_options()) | require_file_systems(spark, stores)
    # pyspark 4 also logs, as JSON on stderr, every exception that we turn into a sentence.
    with suppress(ImportError):
        from pyspark.logger import PySparkLogger

        for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
            PySparkLogger.getLogger(name).setLevel(logging.CRITICAL)
    with run_errors("Spark"), _settings(spark, settings, (*_COMPILED, _PARTITIONS)):
        yield spark


@contextmanager
def _settings(spark: SparkSession, settings: Mapping[str, str], others: Sequence[str] = ()) -> Iterator[None]:
    """Set some, and restore them at the end, and others that are set meanwhile."""
    before = {name: spark.conf.get(name, None) for name in (*settings, *others)}
    try:
        for name, value in settings.items():
            spark.conf.set(name, value)
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
            raise UnreadableFileError(from_spark(unquote(unreadable[1])), _first_cause(text)) from None
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
        return "the executors' Python has no shardwright; pass its wheel, renamed to .zip, with --py-files"
    return without_secrets((python[-1:] or causes[-1:] or lines or ["Spark failed"])[0].rstrip("."))


@contextmanager
def in_memory(frame: DataFrame) -> Iterator[None]:
    """Keep a frame's rows while several jobs read them; where that is refused, each job computes them anew."""
    try:
        frame.persist()
    except (PySparkException, Py4JError) as error:
        if "PERSIST" not in str(error):
            raise
        yield  # serverless compute
        return
    try:
        yield
    finally:
        frame.unpersist()


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
    except (AttributeError, TypeError, Py4JError, PySparkException):
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
        found = _SPLITS.search(explained(spark.range(2**30)))
        cores = int(found[1]) if found else 50
    return max(1, min(shard_count, per_core * cores))


def cancel_jobs(spark: SparkSession) -> None:
    """Cancel all jobs of a session's application."""
    try:
        spark.sparkContext.cancelAllJobs()
    except Exception:  # noqa: BLE001 - Spark Connect raises its own class, which 3.5 lacks
        spark.interruptAll()


@contextmanager
def starting_session(metadata_bytes: int, places: Sequence[str | None] = ()) -> Iterator[Future[SparkSession]]:
    """Start a session, or find the one that is there, while the caller does something else.

    Args:
        metadata_bytes: What is to be planned: how large the sidecars are.
        places: What is to be read and written.

    Not in the main thread: there pyspark would set a signal handler that breaks into any call to the JVM.
    """
    active = SparkSession.getActiveSession()
    with ThreadPoolExecutor(1) as starter:
        stores = stores_among(places)
        yield starter.submit(lambda: _current_session(metadata_bytes, stores) if active is None else active)


def _current_session(metadata_bytes: int, stores: Collection[str]) -> SparkSession:
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
    from shardwright.store.local import local_session  # not needed where the cluster brings Delta

    return local_session(metadata_bytes, stores=stores)


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
