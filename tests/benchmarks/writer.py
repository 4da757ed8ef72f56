"""Time the writer alone: the tasks of an export, without Spark, on the rows that the export stored.

Processes load their rows first, then all write at once. Prints seconds and bytes as JSON. The export, its dataset and
the output may lie in a store; the last words are its options.

Run: ``python tests/benchmarks/writer.py EXPORTED OUTPUT PROCESSES json-id|no-json-id [KEY=VALUE …]``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from threading import Barrier
from typing import Any

from exported import manifest_of, rows_of, shares_of
from shardwright.files import list_files, make_folder, remove_folder
from shardwright.format.sidecar import SidecarColumn
from shardwright.locations import FileInfo, read_option, storage_options
from shardwright.publishing import write_json
from shardwright.tasks.packed import Packed
from shardwright.tasks.write import WriteJob, write_shards
from together import seconds_together

_BATCH_ROWS = 4_096


def main(exported: str, output: str, process_count: int, json_id: str, options: Mapping[str, str]) -> None:
    """Write the shards of a finished export once more, to ``output``."""
    staging = f"{output}/.staging"
    with storage_options(options):
        make_folder(staging)
        write_json(f"{staging}/attempt.json", {})  # in a store, a folder is there where something is in it
        manifest = manifest_of(exported)
        job = _write_job(manifest, output, staging, rewrites_json=json_id == "json-id")
        shares = [(manifest["tables"], *share, job, options) for share in shares_of(manifest, process_count)]
        seconds = seconds_together(_write, shares)
        remove_folder(staging)
        print(json.dumps({"seconds": seconds, "bytes": sum(file.size_bytes for file in list_files(output))}))


def _write_job(manifest: dict[str, Any], output: str, staging: str, *, rewrites_json: bool) -> WriteJob:
    """Give the job of the export; columns take the types that they are stored with."""
    settings, root = manifest["settings"], manifest["dataset_root"]
    stored = {settings["id_col"]: "key"} | manifest["columns"]
    stored |= {settings["source_key_col"]: "source_key", settings["source_shard_col"]: "source_shard"}
    return WriteJob(
        dataset_root=root,
        output_root=output,
        staging=staging,
        shard_digits=settings["shard_digits"],
        json_id_field=settings["id_col"] if rewrites_json else None,
        columns=tuple(SidecarColumn(source, name, None) for name, source in stored.items()),
        source_key_col=settings["source_key_col"],
        source_shard_col=settings["source_shard_col"],
        sources=Packed(FileInfo, (file for file in list_files(root) if file.path.endswith(".tar"))),
    )


def _write(tables: str, begin: int, end: int, job: WriteJob, options: Mapping[str, str], barrier: Barrier) -> None:
    with storage_options(options):
        batches = rows_of(tables, begin, end).to_batches(max_chunksize=_BATCH_ROWS)
        barrier.wait()
        for _ in write_shards(batches, job):
            pass


if __name__ == "__main__":
    words = sys.argv[1:]
    main(words[0], words[1], int(words[2]), words[3], dict(map(read_option, words[4:])))
