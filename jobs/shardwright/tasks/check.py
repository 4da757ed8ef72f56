"""Read written shards back: against the manifest, against one another, and as a loader does.

Of what goes wrong in the same way throughout a shard the first place is named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardwright.config import Keys
from shardwright.errors import Problem
from shardwright.files import Ranges, at_hand, describe, is_file, open_file, readable
from shardwright.format.json_id import BadJsonError, with_json_id
from shardwright.format.names import combine_key
from shardwright.format.scan import ShardIndex, scan_tar
from shardwright.format.sidecar import as_field, read_receipt
from shardwright.tasks.check_index import check_indexes
from shardwright.tasks.differences import differing_row, shown
from shardwright.tasks.packed import Packed
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
# What reading a damaged Parquet file raises; names and texts in it need not be UTF-8 any more.
UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
KEYS = pa.schema([pa.field("shard", pa.string()), pa.field("key", pa.string())])


class ListedShard(NamedTuple):
    """An output shard as the manifest lists it."""

    shard_id: int
    shard_name: str
    sample_count: int
    shard_bytes: int
    sidecar_bytes: int
    checksum: str
    sidecar_checksum: str


@dataclass(frozen=True)
class CheckJob:
    """What every checking task knows of an output.

    ``shards`` are the manifest's; ``columns`` are those of a sidecar, in no
    order, each with the column of ``exports`` that it was written from.
    """

    output_root: str
    shards: Packed[ListedShard]
    columns: Mapping[str, str]
    id_col: str
    source_key_col: str
    keys: Keys
    shard_digits: int
    key_digits: int  # digits of the position in a new key
    json_id_field: str | None  # the field of JSON members that holds the key; None where they were copied as they are
    deep: bool

    @property
    def key_col(self) -> str:
        """The sidecar's column that holds the tar's keys; where they were kept, an id may be a number."""
        return self.source_key_col if self.keys == "source" else self.id_col


def check_shards(batches: Iterable[pa.RecordBatch], job: CheckJob) -> Iterator[pa.RecordBatch]:
    """Check the files of shards whose places in ``job.shards`` arrive; give a row (schema `PROBLEMS`) a problem."""
    for batch in batches:
        for place in batch.column(0).to_pylist():
            yield problem_rows(_check_files(job.shards[place], job))


def list_keys(batches: Iterable[pa.RecordBatch], job: CheckJob) -> Iterator[pa.RecordBatch]:
    """Give a row (schema `KEYS`) a sample of the shards whose places arrive, from sidecars that can be read."""
    for batch in batches:
        for place in batch.column(0).to_pylist():
            name = job.shards[place].shard_name
            try:
                keys = _read_column(os.path.join(job.output_root, f"{name}.parquet"), job.key_col)
            except (*UNREADABLE, KeyError):
                continue  # already reported
            yield pa.RecordBatch.from_arrays([pa.repeat(name, len(keys)), keys.cast(pa.string())], schema=KEYS)


def problem_rows(problems: Iterable[Problem]) -> pa.RecordBatch:
    """Give problems as tasks hand them over."""
    return pa.RecordBatch.from_pylist([problem._asdict() for problem in problems], schema=PROBLEMS)


def _check_files(expected: ListedShard, job: CheckJob) -> Iterator[Problem]:
    name = expected.shard_name
    stem = os.path.join(job.output_root, name)
    sound = True
    with at_hand(f"{stem}.tar") if job.deep else nullcontext(f"{stem}.tar") as tar:
        for path, size_bytes, checksum in (
            (tar, expected.shard_bytes, expected.checksum),
            (f"{stem}.parquet", expected.sidecar_bytes, expected.sidecar_checksum),
        ):
            suffix = os.path.splitext(path)[1]
            for problem in _check_file(path, name + suffix, size_bytes, checksum):
                sound = False
                yield problem
        if is_file(f"{stem}.parquet"):
            yield from _check_sidecar(f"{stem}.parquet", f"{name}.parquet", expected, job)
        if job.deep and is_file(tar):
            yield from _check_tar(tar, stem, expected, job, load=sound)


def _check_file(path: str, name: str, size_bytes: int, checksum: str) -> Iterator[Problem]:
    file = describe(path)
    if file is None:
        yield Problem(name, None, None, "missing_file", "the manifest names it")
        return
    found = file.size_bytes
    if found != size_bytes:
        detail = f"it has {found:,} bytes, the manifest says {size_bytes:,}"
        yield Problem(name, None, min(found, size_bytes), "wrong_size", detail)
    elif (found_sum := sum_file(path).checksum) != checksum:
        yield Problem(name, None, None, "wrong_checksum", f"it is {found_sum}, the manifest says {checksum}")


def _check_sidecar(path: str, name: str, expected: ListedShard, job: CheckJob) -> Iterator[Problem]:
    try:
        with pq.ParquetFile(readable(path)) as file:
            yield from _check_footer(file, name, expected, job)
        keys = _read_column(path, job.id_col)
        wanted = _wanted_keys(path, keys, expected.shard_id, job)
    except UNREADABLE as error:
        yield Problem(name, None, None, "unreadable", str(error).splitlines()[0])
        return
    except KeyError:
        return  # the footer's check reports it
    if (row := differing_row(keys, wanted)) is not None:
        detail = f"at row {row:,} the key should be {shown(wanted, row)}"
        yield Problem(name, _key(keys, row), None, "wrong_key", detail)


def _check_footer(file: pq.ParquetFile, name: str, expected: ListedShard, job: CheckJob) -> Iterator[Problem]:
    """Check what a sidecar says of itself: its rows, its columns, and the tar that it was written with."""
    count = file.metadata.num_rows
    if count != expected.sample_count:
        detail = f"it has {count:,} rows, the manifest says {expected.sample_count:,} samples"
        yield Problem(name, None, None, "wrong_count", detail)
    columns = set(file.schema_arrow.names)
    for column in sorted(job.columns.keys() - columns):
        yield Problem(name, None, None, "wrong_value", f"there is no column '{column}'")
    for column in sorted(columns - job.columns.keys()):
        yield Problem(name, None, None, "wrong_value", f"the export wrote no column '{column}'")
    receipt = read_receipt(file.metadata.metadata)
    if receipt is None:
        yield Problem(name, None, None, "wrong_pair", "it does not say which tar it was written with, as ours do")
    elif (receipt.shard_bytes, receipt.checksum) != (expected.shard_bytes, expected.checksum):
        was = f"{receipt.shard_bytes:,} bytes, {receipt.checksum}"
        detail = f"the tar that it was written with had {was}; the manifest names another"
        yield Problem(name, None, None, "wrong_pair", detail)


def _wanted_keys(path: str, keys: pa.Array, shard_id: int, job: CheckJob) -> pa.Array:
    if job.keys == "prefix":
        return keys  # only the exports table knows which ones shards shared
    if job.keys == "source":
        return as_field(_read_column(path, job.source_key_col), pa.field(job.id_col, keys.type))
    wanted = [combine_key(shard_id, position, job.shard_digits, job.key_digits) for position in range(len(keys))]
    return pa.array(wanted, pa.string()).cast(keys.type)


def _check_tar(path: str, stem: str, expected: ListedShard, job: CheckJob, *, load: bool) -> Iterator[Problem]:
    name, sample_count = expected.shard_name, expected.sample_count
    tar = f"{name}.tar"
    with open_file(path) as file:
        index = scan_tar(file, tar)
        yield from index.problems
        if job.json_id_field is not None:
            yield from _check_json(file, tar, index.samples, job.json_id_field)
    if index.sample_count != sample_count:
        detail = f"it has {index.sample_count:,} samples, the manifest says {sample_count:,}"
        yield Problem(tar, None, None, "wrong_count", detail)
    try:
        wanted = _read_column(f"{stem}.parquet", job.key_col).cast(pa.string())
    except (*UNREADABLE, KeyError):
        wanted = None  # already reported
    keys = index.samples["key"].combine_chunks()
    if wanted is not None and (row := differing_row(keys, wanted)) is not None:
        offset = index.samples["sample_offset"][row].as_py() if row < len(keys) else None
        detail = f"at row {row:,} the sidecar has {shown(wanted, row)}"
        yield Problem(tar, _key(keys, row), offset, "wrong_key", detail)
    if not index.problems and len(keys):
        yield from check_indexes(stem, name, index.samples)
        if load:
            yield from _load_first(path, tar, index)


def _check_json(file: Ranges, tar: str, samples: pa.Table, field: str) -> Iterator[Problem]:
    """Require that every JSON member is an object whose id is the sample's key."""
    exts = samples["member_exts"].combine_chunks()
    rows = np.repeat(np.arange(len(exts)), exts.value_lengths().to_numpy())
    offsets = samples["payload_offsets"].combine_chunks().flatten().to_numpy()
    sizes = samples["payload_bytes"].combine_chunks().flatten().to_numpy()
    reported: set[str] = set()
    for member in np.flatnonzero(pc.equal(pc.utf8_lower(exts.flatten()), "json")).tolist():
        payload = file.read(int(offsets[member]), int(sizes[member]))
        key = samples["key"][int(rows[member])].as_py()
        try:
            problem = Problem(tar, key, int(offsets[member]), "wrong_key", f"the id in its JSON ('{field}') is another")
            is_sound = with_json_id(payload, field, key) == payload
        except BadJsonError as error:
            problem, is_sound = problem._replace(reason="bad_json", detail=str(error)), False
        if not is_sound and problem.reason not in reported:
            reported.add(problem.reason)
            yield problem


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


def _key(keys: pa.Array, row: int) -> str | None:
    try:
        key = keys[row].as_py() if row < len(keys) else None
    except UnicodeDecodeError:
        return None
    return None if key is None else str(key)


def _read_column(path: str, name: str) -> pa.Array:
    with pq.ParquetFile(readable(path)) as file:
        return file.read(columns=[name])[name].combine_chunks()
