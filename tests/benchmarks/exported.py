"""What an export stored of the shards that it wrote, without Spark."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardwright.files import list_files, read_json, readable


def manifest_of(exported: str) -> dict[str, Any]:
    """Read the manifest of a finished export.

    Raises:
        SystemExit: There is none.
    """
    manifest: dict[str, Any] | None = read_json(f"{exported}/manifest.json")
    if manifest is None:
        raise SystemExit(f"{exported}: there is no finished export.")
    return manifest


def shares_of(manifest: dict[str, Any], process_count: int) -> list[tuple[int, int]]:
    """Share out shards evenly: for each process the first one, and the one behind its last."""
    count = len(manifest["shards"])
    cuts = [count * number // process_count for number in range(process_count + 1)]
    return list(pairwise(cuts))


def rows_of(tables: str, begin: int, end: int) -> pa.Table:
    """Load the rows of some shards, in their order, from tables that hold one export alone."""
    files = [file.path for file in list_files(f"{tables}/exports", recursive=True)]
    rows = pa.concat_tables(
        pq.ParquetFile(readable(path)).read()
        for path in files
        if path.endswith(".parquet") and "/_delta_log/" not in path
    )
    shard_ids = rows["shard_id"]
    rows = rows.filter(pc.and_(pc.greater_equal(shard_ids, begin), pc.less(shard_ids, end)))
    return rows.sort_by([("shard_id", "ascending"), ("position", "ascending")]).combine_chunks()
