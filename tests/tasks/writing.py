"""Rows of ``exports`` for the shard writer, as Spark would hand them over."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from shardwright.format.scan import scan_tar
from shardwright.format.sidecar import SidecarColumn
from shardwright.tasks.write import WriteJob, write_shards
from tests.builders import TarInMemory

COLUMNS = (
    SidecarColumn("key", "key", pa.field("key", pa.string())),
    SidecarColumn("score", "score", pa.field("score", pa.float32())),
    SidecarColumn("source_key", "source_key", pa.field("source_key", pa.string())),
)


def make_job(root: Path, *, json_id_field: str | None = "key") -> WriteJob:
    output = root / "out"
    (output / ".staging").mkdir(parents=True, exist_ok=True)
    return WriteJob(
        dataset_root=str(root),
        output_root=str(output),
        staging=str(output / ".staging"),
        shard_digits=5,
        json_id_field=json_id_field,
        columns=COLUMNS,
        source_key_col="source_key",
        source_shard_col="source_shard",
    )


def rows_of(data: bytes, name: str = "source.tar", keep: list[int] | None = None, per_shard: int = 3) -> pa.Table:
    """Lay the samples of a tar out as ``exports`` would."""
    samples = scan_tar(TarInMemory(data), name).samples
    samples = samples.take(keep if keep is not None else list(range(len(samples))))
    count = len(samples)
    return pa.table(
        {
            "shard_id": pa.array([rank // per_shard for rank in range(count)], pa.int64()),
            "position": pa.array([rank % per_shard for rank in range(count)], pa.int64()),
            "key": [f"{rank:03d}" for rank in range(count)],
            "source_key": samples["key"],
            "source_shard": [name] * count,
            "member_exts": samples["member_exts"],
            "payload_offsets": samples["payload_offsets"],
            "payload_bytes": samples["payload_bytes"],
            "score": pa.array([rank / 2 for rank in range(count)], pa.float64()),
        }
    )


def written(rows: pa.Table, job: WriteJob) -> list[dict[str, object]]:
    return [row for batch in write_shards(rows.to_batches(), job) for row in batch.to_pylist()]
