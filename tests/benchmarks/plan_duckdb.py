"""What planning is timed against: the same plan in one statement of DuckDB, on every core, into one Parquet file.

It reads the same files of the same index and sidecars, and takes on trust what shardwright proves first:
that samples and rows pair one for one. Nothing is committed, so that a plan that breaks off is no plan.

Run: ``python tests/benchmarks/plan_duckdb.py SOURCE OUTPUT SAMPLES_PER_SHARD``
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from plan_dataset import tables_of

_THREADS = len(os.sched_getaffinity(0))
_POSITION_DIGITS = 4
_KEY_DIGITS = 5 + _POSITION_DIGITS

# As shardwright does, it counts within shards: one window over all rows takes as long and half as much memory again.
_PLAN = f"""
COPY (
    WITH scores AS NOT MATERIALIZED (
        SELECT id, aesthetic_score, nsfw_score, scan_id, shard_path, shard_index
        FROM read_parquet($sidecars, filename = true) AS sidecars
        JOIN read_parquet($shards) AS shards ON sidecars.filename[:-9] = shard_path[:-5]
        WHERE aesthetic_score > 0.5
    ),
    earlier AS (
        SELECT shard_index, (sum(count(*)) OVER (ORDER BY shard_index) - count(*))::BIGINT AS first_rank
        FROM scores
        GROUP BY shard_index
    ),
    kept AS (
        SELECT samples.*, aesthetic_score, nsfw_score,
            first_rank + row_number() OVER (PARTITION BY shard_index ORDER BY position) - 1 AS rank
        FROM read_parquet($samples) AS samples
        JOIN scores ON samples.key = id AND samples.shard_path = scores.shard_path AND samples.scan_id = scores.scan_id
        JOIN earlier USING (shard_index)
    )
    SELECT
        rank // $size AS shard_id,
        rank % $size AS position,
        lpad((rank // $size * {10**_POSITION_DIGITS} + rank % $size)::VARCHAR, {_KEY_DIGITS}, '0') AS key,
        kept.key AS source_key,
        parse_filename(shard_path) AS source_shard,
        member_exts, payload_offsets, payload_bytes, aesthetic_score, nsfw_score
    FROM kept
) TO '{{output}}' (FORMAT parquet)
"""
_SUM = "SELECT count(*), sum(hash(shard_id, position, key, source_key, source_shard)) FROM read_parquet($files)"


def plan(source: Path, output: Path, samples_per_shard: int) -> None:
    """Write what shardwright stores in ``exports``."""
    tables = tables_of(source)
    values = {
        "samples": table_files(tables / "samples"),
        "shards": table_files(tables / "shards"),
        "sidecars": str(source / "*.parquet"),
        "size": samples_per_shard,
    }
    _connect(output).execute(_PLAN.format(output=output), values)


def table_files(table: Path) -> list[str]:
    """List the live files of a Delta table."""
    return [uri.removeprefix("file://") for uri in DeltaTable(str(table)).file_uris()]


def checksum(files: list[str]) -> tuple[int, int]:
    """Count a plan's samples and add up hashes of where each comes from and goes to."""
    count, total = duckdb.execute(_SUM, {"files": files}).fetchall()[0]
    return int(count), int(total)


def _connect(output: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": _THREADS, "temp_directory": f"{output}.spilled"})


if __name__ == "__main__":
    plan(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
