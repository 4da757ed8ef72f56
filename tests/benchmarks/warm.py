"""Time exports in a session that is up: of datasets that are new to it, then of one whose index is stored.

Prints the seconds of each export as JSON; the first ones warm the session up.

Run: ``python tests/benchmarks/warm.py SOURCE WORKSPACE WHERE SAMPLES_PER_SHARD``
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession

from shardwright.config import ExportSettings, Selection, SourceSettings
from shardwright.export import export_dataset
from shardwright.store.dataset import sidecar_bytes
from shardwright.store.local import local_session
from shardwright.store.session import session

EXPORTS = 5


def main(source: Path, workspace: Path, where: str, samples_per_shard: int) -> None:
    """Export copies of ``source``, each without an index; then the last copy, which has one."""
    shutil.rmtree(workspace, ignore_errors=True)
    copies = [workspace / f"source{number}" for number in range(EXPORTS)]
    for copy in copies:
        shutil.copytree(source, copy)
    settings = [
        ExportSettings(
            SourceSettings(str(copy)),
            str(workspace / f"out{number}"),
            Selection({"where": where}),
            samples_per_shard=samples_per_shard,
        )
        for number, copy in enumerate([*copies, *[copies[-1]] * EXPORTS])
    ]
    with session(local_session(sidecar_bytes(str(source)))) as spark:
        seconds = [_export(spark, each) for each in settings]
    shutil.rmtree(workspace)
    print(json.dumps({"new": seconds[:EXPORTS], "indexed": seconds[EXPORTS:]}))


def _export(spark: SparkSession, settings: ExportSettings) -> float:
    start = time.perf_counter()
    export_dataset(spark, settings)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
