"""Generate what an export is planned from, at any size and without an image byte.

The sidecars are real and so is the index, which the tars never had: they are holes of the size that
their samples would take, in shards of 10,000. All values are random, the same ones every time.

Run: ``python tests/benchmarks/plan_dataset.py SOURCE SAMPLES``
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from shardwright.format.key_sums import key_sums

SAMPLES_PER_SHARD = 10_000
_SHARD_DIGITS = 5
_KEY_DIGITS = _SHARD_DIGITS + 4
_EXTS = ("jpg", "json", "txt")
_MEAN_PAYLOAD_BYTES = (50_000, 200, 60)
_SIZE_SIGMA = 0.5
_BLOCK = 512
_RECORD = 20 * _BLOCK  # what tar fills up to
_WRITTEN_AT_NS = 1_700_000_000_250_000_000
_SHARDS_PER_FILE = 25  # of the table ``samples``: four files a million rows


class _Layout(NamedTuple):
    """Where a shard's payloads would lie: arrays of samples x members, in bytes."""

    payload_offsets: npt.NDArray[np.int64]
    payload_bytes: npt.NDArray[np.int64]
    member_bytes: npt.NDArray[np.int64]  # with header and padding


def ensure_source(data: Path, samples: int) -> Path:
    """Return the folder of a complete dataset of this size below ``data``, generated if absent."""
    source = data / f"plan_{samples}"
    if not tables_of(source).exists():
        # In a process of its own: its JVM shall not live on beside those that are timed.
        subprocess.run([sys.executable, __file__, str(source), str(samples)], check=True)
    return source


def tables_of(dataset: Path) -> Path:
    """Return where a dataset's or an output's tables lie."""
    return dataset.with_name(f"{dataset.name}_tables")


def _generate(source: Path, shards: int) -> None:
    unfinished = source.with_name(f"{source.name}.unfinished_tables")
    for folder in (source, unfinished):
        shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        counts = list(pool.map(_write_shard, repeat(source, shards), range(shards), chunksize=8))
    _write_index(source, counts, unfinished)
    # An index holds absolute paths, so that the shards have their names from the start; this comes last for all.
    unfinished.rename(tables_of(source))


def _write_shard(source: Path, shard: int) -> dict[str, Any]:
    """Write a tar of nothing and its sidecar; give what a scan would find, as columns of ``shards``."""
    tar, keys = source / _tar_name(shard), _keys(shard)
    with tar.open("wb") as file:
        file.truncate(-(-(int(_layout(shard).member_bytes.sum()) + 2 * _BLOCK) // _RECORD) * _RECORD)
    os.utime(tar, ns=(_WRITTEN_AT_NS, _WRITTEN_AT_NS))
    random = np.random.default_rng([1, shard])
    scores = {name: random.random(SAMPLES_PER_SHARD) for name in ("aesthetic_score", "nsfw_score")}
    pq.write_table(pa.table({"id": keys, **scores}), tar.with_suffix(".parquet"))
    longest_ext = max(map(len, _EXTS))
    return {
        "sample_count": SAMPLES_PER_SHARD,
        "unsound_count": 0,
        "longest_name_bytes": _KEY_DIGITS + 1 + longest_ext,
        "longest_ext_bytes": longest_ext,
        **key_sums(pa.chunked_array([keys]))._asdict(),
        "member_count": SAMPLES_PER_SHARD * len(_EXTS),
        "skipped_count": 0,
        "dialect": "ustar",
    }


def _write_index(source: Path, counts: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write the tables that ``shardwright index`` would have left."""
    from shardwright.index import index_id
    from shardwright.reporting import snapshot_row
    from shardwright.store.dataset import list_dataset, sidecar_bytes
    from shardwright.store.local import local_session
    from shardwright.store.rows import append_rows
    from shardwright.store.session import session
    from shardwright.store.tables import SAMPLES, SCHEMAS, SHARDS, SNAPSHOTS, Tables, append

    started, tables, dataset = time.time(), Tables(str(folder)), list_dataset(str(source))
    snapshot_id, provenance = index_id(dataset), {"operation": "index"}
    shards = [
        {
            **found,
            "dataset_root": dataset.dataset_root,
            "shard_index": shard.shard_index,
            "shard_path": shard.file.path,
            "shard_bytes": shard.file.size_bytes,
            "modified_ns": shard.file.modified_ns,
            "scan_id": snapshot_id,
        }
        for shard, found in zip(dataset.shards, counts, strict=True)
    ]
    indexed = sum(shard["sample_count"] for shard in shards)
    row = snapshot_row(
        operation="index", started=started, dataset_root=dataset.dataset_root, settings={}, indexed=indexed, rejected=0
    )
    with session(local_session(sidecar_bytes(str(source)))) as spark:
        numbers = spark.range(0, len(shards), 1, -(-len(shards) // _SHARDS_PER_FILE))
        samples = numbers.mapInArrow(partial(_samples, source=str(source), scan_id=snapshot_id), SCHEMAS[SAMPLES])
        append(tables, SAMPLES, samples, snapshot_id, provenance)
        append_rows(spark, tables, SHARDS, shards, snapshot_id, provenance)
        append_rows(spark, tables, SNAPSHOTS, [row], snapshot_id, provenance)


def _samples(batches: Iterable[pa.RecordBatch], source: str, scan_id: str) -> Iterator[pa.RecordBatch]:
    """Give the rows of ``samples`` of the shards whose numbers arrive."""
    for batch in batches:
        for shard in batch.column(0).to_pylist():
            yield _sample_rows(shard, str(Path(source) / _tar_name(shard)), scan_id)


def _sample_rows(shard: int, path: str, scan_id: str) -> pa.RecordBatch:
    layout, count = _layout(shard), SAMPLES_PER_SHARD
    sample_bytes = layout.member_bytes.sum(axis=1)
    bounds = np.arange(count + 1, dtype=np.int32) * len(_EXTS)
    member_exts = pa.array(np.tile(np.array(_EXTS, dtype=object), count), pa.string())
    return pa.RecordBatch.from_pydict(
        {
            "scan_id": pa.repeat(scan_id, count),
            "shard_path": pa.repeat(path, count),
            "position": np.arange(count),
            "key": _keys(shard),
            "sample_offset": layout.payload_offsets[:, 0] - _BLOCK,
            "sample_bytes": sample_bytes,
            "written_bytes": sample_bytes,
            "member_exts": pa.ListArray.from_arrays(bounds, member_exts),
            "payload_offsets": pa.ListArray.from_arrays(bounds, layout.payload_offsets.ravel()),
            "payload_bytes": pa.ListArray.from_arrays(bounds, layout.payload_bytes.ravel()),
            "problem": pa.nulls(count, pa.string()),
            "problem_offset": pa.nulls(count, pa.int64()),
            "problem_detail": pa.nulls(count, pa.string()),
        }
    )


def _layout(shard: int) -> _Layout:
    random = np.random.default_rng([2, shard])
    mu = np.log(_MEAN_PAYLOAD_BYTES) - _SIZE_SIGMA**2 / 2
    drawn = random.lognormal(mu, _SIZE_SIGMA, (SAMPLES_PER_SHARD, len(_EXTS)))
    payload_bytes = np.maximum(drawn, 1).astype(np.int64)
    member_bytes = (1 + -(-payload_bytes // _BLOCK)) * _BLOCK
    ends = np.cumsum(member_bytes).reshape(member_bytes.shape)
    return _Layout(ends - member_bytes + _BLOCK, payload_bytes, member_bytes)


def _keys(shard: int) -> pa.Array:
    first = shard * SAMPLES_PER_SHARD
    return pa.array([f"{number:0{_KEY_DIGITS}d}" for number in range(first, first + SAMPLES_PER_SHARD)])


def _tar_name(shard: int) -> str:
    return f"{shard:0{_SHARD_DIGITS}d}.tar"


if __name__ == "__main__":
    _generate(Path(sys.argv[1]), int(sys.argv[2]) // SAMPLES_PER_SHARD)
