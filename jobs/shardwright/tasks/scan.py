"""Scan source tars: their places in a list in; sample rows and one row a shard out."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from shardwright.errors import Problem
from shardwright.files import open_forwards, read_bytes
from shardwright.format.key_sums import KeySums
from shardwright.format.loader_index import header_runs
from shardwright.format.scan import SAMPLES, ShardIndex, scan_tar
from shardwright.locations import FileInfo
from shardwright.tasks.packed import Packed

SAMPLE, SHARD = "sample", "shard"

# One schema for both kinds of rows, so that headers are read once; `kind` tells which columns are set.
SCAN = pa.schema(
    [
        pa.field("kind", pa.string()),
        pa.field("shard_index", pa.int64()),
        pa.field("shard_path", pa.string()),
        pa.field("position", pa.int64()),
        *(field.with_nullable(True) for field in SAMPLES),
        pa.field("sample_count", pa.int64()),
        pa.field("unsound_count", pa.int64()),
        pa.field("longest_name_bytes", pa.int64()),
        pa.field("longest_ext_bytes", pa.int64()),
        *(pa.field(name, pa.int64()) for name in KeySums._fields),
        pa.field("member_count", pa.int64()),
        pa.field("skipped_count", pa.int64()),
        pa.field("dialect", pa.string()),
    ]
)
_SHARD_COUNTS = (
    "sample_count",
    "unsound_count",
    "longest_name_bytes",
    "longest_ext_bytes",
    "member_count",
    "skipped_count",
    "dialect",
)
SHARD_COLUMNS = (*_SHARD_COUNTS, *KeySums._fields, "problem", "problem_offset", "problem_detail")
_BATCH_ROWS = 4_096
# Hopping from header to header waits for a disk that serves many reads at once: 4 shards take two thirds of the time.
_READ_AHEAD = 4
# How a tar, which begins with a name, never does.
_COMPRESSIONS = {
    "gzip": rb"\x1f\x8b",
    "bzip2": rb"BZh[1-9]1AY&SY",
    "xz": rb"\xfd7zXZ\0",
    "zstd": rb"\x28\xb5\x2f\xfd",
    "lz4": rb"\x04\x22\x4d\x18",
}


class Tar(NamedTuple):
    """A tar to scan as it was listed, and the path of the index that a loader keeps beside it."""

    shard_index: int
    path: str
    size_bytes: int
    modified_ns: int
    etag: str | None
    loader_index_path: str | None = None

    @property
    def file(self) -> FileInfo:
        return FileInfo(self.path, self.size_bytes, self.modified_ns, self.etag)


def scan_shards(batches: Iterable[pa.RecordBatch], shards: Packed[Tar]) -> Iterator[pa.RecordBatch]:
    """Scan the shards whose places arrive.

    Args:
        batches: One column: places in ``shards``.

    Returns:
        Rows of schema `SCAN`: per shard its samples in tar order, then the shard.
    """
    chosen = (shards[place] for batch in batches for place in batch.column(0).to_pylist())
    with ThreadPoolExecutor(_READ_AHEAD) as pool:
        for tar, index in _scan_ahead(pool, chosen):
            place: dict[str, Any] = {"shard_index": tar.shard_index, "shard_path": tar.path}
            for begin in range(0, len(index.samples), _BATCH_ROWS):
                yield _sample_rows(index.samples.slice(begin, _BATCH_ROWS), begin, place)
            yield _shard_row(index, place)


def _scan_ahead(pool: Executor, shards: Iterable[Tar]) -> Iterator[tuple[Tar, ShardIndex]]:
    """Scan shards in their order, some at a time: while one waits for the disk, others are read."""
    waiting: deque[tuple[Tar, Future[ShardIndex]]] = deque()
    for shard in shards:
        waiting.append((shard, pool.submit(_scan_file, shard)))
        if len(waiting) >= _READ_AHEAD:
            first, scanned = waiting.popleft()
            yield first, scanned.result()
    for first, scanned in waiting:
        yield first, scanned.result()


def _scan_file(shard: Tar) -> ShardIndex:
    path = shard.path
    with open_forwards(path, shard.file, partial(_header_runs, shard.loader_index_path)) as tar:
        start = tar.read(0, 16)
        kind = next((kind for kind, magic in _COMPRESSIONS.items() if re.match(magic, start)), None)
        if kind is None:
            return scan_tar(tar, path)
        detail = f"the tar is inside {kind}, where payloads have no place of their own"
        return ShardIndex(path, SAMPLES.empty_table(), 0, 0, 0, 0, kind, Problem(path, None, 0, "compressed", detail))


def _header_runs(index_path: str | None) -> Sequence[tuple[int, int]]:
    """Give where an index says that headers stand; each is checked nevertheless, and missed ones are found."""
    return header_runs(index_path, read_bytes(index_path)) if index_path else ()


def _shard_row(index: ShardIndex, place: Mapping[str, Any]) -> pa.RecordBatch:
    damage = index.damage
    row = {
        "kind": SHARD,
        **place,
        **{name: getattr(index, name) for name in _SHARD_COUNTS},
        **index.key_sums._asdict(),
        "problem": damage and damage.reason,
        "problem_offset": damage and damage.offset,
        "problem_detail": damage and damage.detail,
    }
    return pa.RecordBatch.from_pylist([row], schema=SCAN)


def _sample_rows(samples: pa.Table, first_position: int, place: Mapping[str, Any]) -> pa.RecordBatch:
    count = len(samples)
    columns = {"kind": SAMPLE, **place}
    arrays = []
    for field in SCAN:
        if field.name == "position":
            arrays.append(pa.array(np.arange(first_position, first_position + count), field.type))
        elif field.name in SAMPLES.names:
            arrays.append(samples.column(field.name).combine_chunks())
        else:
            arrays.append(pa.repeat(pa.scalar(columns.get(field.name), field.type), count))
    return pa.RecordBatch.from_arrays(arrays, schema=SCAN)
