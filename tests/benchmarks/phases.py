"""Run an export as the command line does and tell where its time goes; prints moments and jobs as JSON.

Moments are in seconds since the epoch, jobs are Spark's own record of when each began and ended.

Run: ``python tests/benchmarks/phases.py SOURCE OUTPUT WHERE SAMPLES_PER_SHARD``
"""

from __future__ import annotations

import time

MAIN_RUNS = time.time()

# ruff: noqa: E402 - what is imported here is part of what is timed
import json
import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardwright import cli  # noqa: F401 - all that the command line imports before it looks at the words
from shardwright.config import ExportSettings, Selection, SourceSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class _Lines(logging.Handler):
    """Remembers the lines of the run's log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.created, record.getMessage()))


def main(source: str, output: str, where: str, samples_per_shard: int) -> None:
    """Export, and print what happened when."""
    moments = {"process": _process_start(), "main": MAIN_RUNS, "cli imported": time.time()}
    log = logging.getLogger("shardwright")
    log.setLevel(logging.INFO)
    log.addHandler(lines := _Lines())

    from shardwright.store.dataset import sidecar_bytes
    from shardwright.store.session import session, starting_session

    moments["pyspark imported"] = time.time()
    with starting_session(sidecar_bytes(source)) as starting:
        export = import_module("shardwright.export")
        moments["verbs imported"] = time.time()
    with session(starting.result()) as spark:
        moments["context began"] = float(spark.sparkContext.startTime or 0) / 1000
        moments["session"] = time.time()
        selection = Selection({"where": where})
        settings = ExportSettings(SourceSettings(source), output, selection, samples_per_shard=samples_per_shard)
        export.export_dataset(spark, settings)
        moments["exported"] = time.time()
    print(json.dumps({"moments": moments, "jobs": _jobs(spark), "lines": lines.lines, "ended": time.time()}))


def _process_start() -> float:
    """Give when the kernel made this process; a field of ``stat`` counts ticks since the machine's start."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    uptime = float(Path("/proc/uptime").read_text(encoding="utf-8").split()[0])
    return time.time() - uptime + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _jobs(spark: SparkSession) -> list[dict[str, Any]]:
    context = spark.sparkContext._jsc.sc()  # noqa: SLF001 - pyspark has no list of jobs
    context.listenerBus().waitUntilEmpty()
    listed = context.statusStore().jobsList(None)
    jobs = [listed.apply(number) for number in range(listed.size())]
    return [
        {
            "name": job.description().get() if job.description().isDefined() else job.name(),
            "begin": job.submissionTime().get().getTime() / 1000,
            "end": job.completionTime().get().getTime() / 1000,
            "tasks": job.numTasks(),
        }
        for job in jobs
    ]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
