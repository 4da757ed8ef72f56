"""Time the writer alone: the tasks of an export, without Spark, on the rows that the export stored.

Processes load their rows first, then all write at once. Prints seconds and bytes as JSON.

Run: ``python tests/benchmarks/writer.py EXPORTED OUTPUT PROCESSES json-id|no-json-id``
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardwright.format.sidecar import SidecarColumn
from shardwright.tasks.write import WriteJob, write_shards

_BATCH_ROWS = 4_096


def main(exported: Path, output: Path, process_count: int, json_id: str) -> None:
    """Write the shards of a finished export once more, to ``output``."""
    staging = output / ".staging"
    staging.mkdir(parents=True)
    manifest = json.loads((exported / "manifest.json").read_text(encoding="utf-8"))
    job = _write_job(manifest, output, staging, rewrites_json=json_id == "json-id")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(process_count + 1)
    shard_count = len(manifest["shards"])
    cuts = [shard_count * number // process_count for number in range(process_count + 1)]
    processes = [
        context.Process(target=_write, args=(manifest["tables"], begin, end, job, barrier))
        for begin, end in pairwise(cuts)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    start = time.perf_counter()
    for process in processes:
        process.join()
    seconds = time.perf_counter() - start
    if any(process.exitcode for process in processes):
        raise SystemExit("A process failed.")
    staging.rmdir()
    print(json.dumps({"seconds": seconds, "bytes": sum(file.stat().st_size for file in output.iterdir())}))


def _write_job(manifest: dict[str, Any], output: Path, staging: Path, *, rewrites_json: bool) -> WriteJob:
    """Give the job of the export; columns take the types that they are stored with."""
    settings = manifest["settings"]
    stored = {settings["id_col"]: "key"} | manifest["columns"]
    stored |= {settings["source_key_col"]: "source_key", settings["source_shard_col"]: "source_shard"}
    return WriteJob(
        dataset_root=manifest["dataset_root"],
        output_root=str(output),
        staging=str(staging),
        shard_digits=settings["shard_digits"],
        json_id_field=settings["id_col"] if rewrites_json else None,
        columns=tuple(SidecarColumn(source, name, None) for name, source in stored.items()),
        source_key_col=settings["source_key_col"],
        source_shard_col=settings["source_shard_col"],
    )


def _write(tables: str, begin: int, end: int, job: WriteJob, barrier: Barrier) -> None:
    rows = pq.read_table(Path(tables) / "exports")
    shard_ids = rows["shard_id"]
    rows = rows.filter(pc.and_(pc.greater_equal(shard_ids, begin), pc.less(shard_ids, end)))
    rows = rows.sort_by([("shard_id", "ascending"), ("position", "ascending")])
    batches: list[pa.RecordBatch] = rows.combine_chunks().to_batches(max_chunksize=_BATCH_ROWS)
    barrier.wait()
    for _ in write_shards(batches, job):
        pass


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
