"""Scan source tars: shard numbers in; sample rows, one row a shard and problem rows out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from shardwright.errors import Problem
from shardwright.files import OpenFile
from shardwright.format.scan import SAMPLES, ShardIndex, scan_tar

SAMPLE, SHARD, PROBLEM = "sample", "shard", "problem"

# One schema for three kinds of rows, so that headers are read once; `kind` tells which columns are set.
SCAN = pa.schema(
    [
        pa.field("kind", pa.string()),
        pa.field("shard_index", pa.int64()),
        pa.field("shard_path", pa.string()),
        pa.field("position", pa.int64()),
        *(field.with_nullable(True) for field in SAMPLES),
        pa.field("sample_count", pa.int64()),
        pa.field("longest_name_bytes", pa.int64()),
        pa.field("longest_ext_bytes", pa.int64()),
        pa.field("member_count", pa.int64()),
        pa.field("skipped_count", pa.int64()),
        pa.field("dialect", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
SHARD_COUNTS = (
    "sample_count",
    "longest_name_bytes",
    "longest_ext_bytes",
    "member_count",
    "skipped_count",
    "dialect",
)
_BATCH_ROWS = 4_096


def scan_shards(batches: Iterable[pa.RecordBatch], shards: Mapping[int, tuple[int, str]]) -> Iterator[pa.RecordBatch]:
    """Scan the shards whose numbers arrive.

    Args:
        batches: One column: numbers of ``shards``.
        shards: ``shard_index`` and path of each shard.

    Returns:
        Rows of schema `SCAN`: per shard its samples in tar order, its problems, then the shard.
    """
    for batch in batches:
        for number in batch.column(0).to_pylist():
            shard_index, path = shards[number]
            index = _scan_file(path)
            place: dict[str, Any] = {"shard_index": shard_index, "shard_path": path}
            for begin in range(0, len(index.samples), _BATCH_ROWS):
                yield _sample_rows(index.samples.slice(begin, _BATCH_ROWS), begin, place)
            yield from _rows(
                [
                    *({"kind": PROBLEM, **place, **_problem_row(problem)} for problem in index.problems),
                    {
                        "kind": SHARD,
                        **place,
                        **{name: getattr(index, name) for name in SHARD_COUNTS},
                    },
                ]
            )


def _scan_file(path: str) -> ShardIndex:
    with OpenFile(path) as tar:
        if tar.read(0, 2) == b"\x1f\x8b":
            detail = "the tar is inside gzip, where payloads have no place of their own; gunzip it first"
            return ShardIndex(
                SAMPLES.empty_table(), 0, 0, 0, 0, 0, "gzip", [Problem(path, None, 0, "compressed", detail)]
            )
        return scan_tar(tar, path)


def _problem_row(problem: Problem) -> dict[str, Any]:
    return {
        "key": problem.key,
        "sample_offset": problem.offset,
        "reason": problem.reason,
        "detail": problem.detail,
    }


def _sample_rows(samples: pa.Table, first_position: int, place: Mapping[str, Any]) -> pa.RecordBatch:
    count = len(samples)
    columns = {"kind": SAMPLE, **place}
    arrays = []
    for field in SCAN:
        if field.name == "position":
            arrays.append(pa.array(range(first_position, first_position + count), field.type))
        elif field.name in SAMPLES.names:
            arrays.append(samples.column(field.name).combine_chunks())
        else:
            arrays.append(pa.repeat(pa.scalar(columns.get(field.name), field.type), count))
    return pa.RecordBatch.from_arrays(arrays, schema=SCAN)


def _rows(rows: list[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    for begin in range(0, len(rows), _BATCH_ROWS):
        yield pa.RecordBatch.from_pylist(rows[begin : begin + _BATCH_ROWS], schema=SCAN)
