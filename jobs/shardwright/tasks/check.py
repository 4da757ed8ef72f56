"""Read written shards back: against the manifest, against the rows of ``exports``, and as a loader does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardwright.errors import Problem
from shardwright.files import OpenFile
from shardwright.format.names import combine_key, shard_name
from shardwright.format.scan import ShardIndex, scan_tar
from shardwright.tasks.streams import by_value
from shardwright.tasks.sums import sum_file

PROBLEMS = pa.schema(
    [
        pa.field("shard", pa.string()),
        pa.field("key", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)


@dataclass(frozen=True)
class CheckJob:
    """What every checking task knows of an output; ``shards`` are the manifest's, by ``shard_id``."""

    output_root: str
    shards: Sequence[Mapping[str, Any]]
    id_col: str
    source_key_col: str
    source_shard_col: str
    shard_digits: int
    key_digits: int | None  # digits of the position in a new key; None where keys were kept
    deep: bool


def check_shards(batches: Iterable[pa.RecordBatch], job: CheckJob) -> Iterator[pa.RecordBatch]:
    """Check the files of the shards whose numbers arrive; give a row (schema `PROBLEMS`) a problem."""
    for batch in batches:
        for shard_id in batch.column(0).to_pylist():
            yield _as_rows(list(_check_files(shard_id, job)))


def check_rows(batches: Iterable[pa.RecordBatch], job: CheckJob) -> Iterator[pa.RecordBatch]:
    """Compare sidecars with ordered rows of ``exports``: ``shard_id``, ``key``, ``source_key``, ``source_shard``."""
    for shard_id, rows in by_value(batches, "shard_id"):
        table = pa.Table.from_batches(list(rows))
        yield _as_rows(list(_compare_rows(shard_name(shard_id, job.shard_digits), table, job)))


def _as_rows(problems: list[Problem]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([problem._asdict() for problem in problems], schema=PROBLEMS)


def _check_files(shard_id: int, job: CheckJob) -> Iterator[Problem]:
    expected = job.shards[shard_id]
    name = expected["shard_name"]
    stem = os.path.join(job.output_root, name)
    sound = True
    for suffix, size, checksum in (
        (".tar", "shard_bytes", "checksum"),
        (".parquet", "sidecar_bytes", "sidecar_checksum"),
    ):
        for problem in _check_file(f"{stem}{suffix}", name + suffix, expected[size], expected[checksum]):
            sound = False
            yield problem
    if os.path.exists(f"{stem}.parquet"):
        yield from _check_sidecar(shard_id, f"{stem}.parquet", expected, job)
    if job.deep and os.path.exists(f"{stem}.tar"):
        yield from _check_tar(stem, name, expected["sample_count"], job, load=sound)


def _check_file(path: str, name: str, size_bytes: int, checksum: str) -> Iterator[Problem]:
    if not os.path.exists(path):
        yield Problem(name, None, None, "missing_file", "the manifest names it")
        return
    found = os.path.getsize(path)
    if found != size_bytes:
        yield Problem(
            name,
            None,
            min(found, size_bytes),
            "wrong_size",
            f"it has {found:,} bytes, the manifest says {size_bytes:,}",
        )
    elif (found_sum := sum_file(path).checksum) != checksum:
        yield Problem(name, None, None, "wrong_checksum", f"it is {found_sum}, the manifest says {checksum}")


def _check_sidecar(shard_id: int, path: str, expected: Mapping[str, Any], job: CheckJob) -> Iterator[Problem]:
    name = f"{expected['shard_name']}.parquet"
    try:
        keys = _read_keys(path, job.id_col)
    except (pa.ArrowException, OSError) as error:
        yield Problem(name, None, None, "unreadable", str(error).splitlines()[0])
        return
    if len(keys) != expected["sample_count"]:
        detail = f"it has {len(keys):,} rows, the manifest says {expected['sample_count']:,} samples"
        yield Problem(name, None, None, "wrong_count", detail)
    if job.key_digits is not None:
        wanted = [combine_key(shard_id, position, job.shard_digits, job.key_digits) for position in range(len(keys))]
        yield from _first_difference(name, keys, pa.array(wanted, pa.string()), "the key should be")


def _check_tar(stem: str, name: str, sample_count: int, job: CheckJob, *, load: bool) -> Iterator[Problem]:
    tar = f"{name}.tar"
    # Where keys were kept, an id that is a number need not read as the key does; the source's key is the key.
    key_col = job.id_col if job.key_digits is not None else job.source_key_col
    with OpenFile(f"{stem}.tar") as file:
        index = scan_tar(file, tar)
    yield from index.problems
    if index.sample_count != sample_count:
        detail = f"it has {index.sample_count:,} samples, the manifest says {sample_count:,}"
        yield Problem(tar, None, None, "wrong_count", detail)
    try:
        keys = _read_keys(f"{stem}.parquet", key_col)
    except (pa.ArrowException, OSError):
        return  # already reported
    tar_keys = index.samples["key"].combine_chunks()
    yield from _first_difference(tar, tar_keys, keys, "the sidecar has", index.samples["sample_offset"])
    if load and len(index.samples):
        yield from _load_first(f"{stem}.tar", tar, index)


def _load_first(path: str, name: str, index: ShardIndex) -> Iterator[Problem]:
    """Load the first sample as training code would."""
    from webdataset import tariterators  # slow to import, and only --deep needs it

    first = index.samples.slice(0, 1).to_pylist()[0]
    # The file is opened here: webdataset takes a path for a URL, and some names for a part of one.
    with open(path, "rb") as stream:
        members = tariterators.tar_file_expander([{"url": path, "stream": stream}])
        sample = next(iter(tariterators.group_by_keys(members)))
    wanted = {ext.lower(): size for ext, size in zip(first["member_exts"], first["payload_bytes"], strict=True)}
    found = {ext: len(payload) for ext, payload in sample.items() if not ext.startswith("__")}
    if sample["__key__"] != first["key"] or found != wanted:
        detail = f"webdataset loads '{sample['__key__']}' with {found}, expected {wanted}"
        yield Problem(name, first["key"], first["sample_offset"], "loads_differently", detail)


def _compare_rows(name: str, rows: pa.Table, job: CheckJob) -> Iterator[Problem]:
    path = os.path.join(job.output_root, f"{name}.parquet")
    columns = {job.id_col: "key", job.source_key_col: "source_key", job.source_shard_col: "source_shard"}
    try:
        sidecar = pq.read_table(path, columns=list(columns))
    except (pa.ArrowException, OSError):
        return  # the check of the files reports it
    for column, source in columns.items():
        found = sidecar[column].combine_chunks().cast(pa.string())
        wanted = rows[source].combine_chunks()
        if column == job.id_col and job.key_digits is None and not pa.types.is_string(sidecar[column].type):
            wanted = wanted.cast(sidecar[column].type).cast(pa.string())
        yield from _first_difference(f"{name}.parquet", found, wanted, f"column '{column}': the exports table has")


def _first_difference(
    shard: str, found: pa.Array, wanted: pa.Array, what: str, offsets: pa.ChunkedArray | None = None
) -> Iterator[Problem]:
    """Name the first place at which two columns of keys differ."""
    if found.equals(wanted):
        return
    count = min(len(found), len(wanted))
    unequal = pc.fill_null(pc.not_equal(found[:count], wanted[:count]), True)
    row = pc.index(unequal, True).as_py()
    row = count if row < 0 else row
    key = found[row].as_py() if row < len(found) else None
    other = repr(wanted[row].as_py()) if row < len(wanted) else "nothing more"
    offset = offsets[row].as_py() if offsets is not None and row < len(offsets) else None
    yield Problem(shard, key, offset, "wrong_key", f"at row {row:,} {what} {other}")


def _read_keys(path: str, id_col: str) -> pa.Array:
    return pq.read_table(path, columns=[id_col])[id_col].combine_chunks().cast(pa.string())
