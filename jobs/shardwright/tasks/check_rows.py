"""Read written shards back against the rows of ``exports``: keys, and for ``--deep`` values and members.

Of what goes wrong in the same way throughout a shard the first place is named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardwright.errors import Problem, Reason
from shardwright.files import is_file, open_forwards, readable
from shardwright.format.names import shard_name
from shardwright.format.scan import scan_tar
from shardwright.format.sidecar import ROW_GROUP_ROWS, as_field
from shardwright.tasks.check import UNREADABLE, CheckJob, problem_rows
from shardwright.tasks.differences import differing_row, is_stored_as, shown
from shardwright.tasks.streams import by_value

# Columns of `exports` that tell which sample a row is; those of the user are `CheckJob.columns`' others.
KEY_COLUMNS = ("key", "source_key", "source_shard")
MEMBER_COLUMNS = ("member_exts", "payload_bytes")


def check_rows(batches: Iterable[pa.RecordBatch], job: CheckJob) -> Iterator[pa.RecordBatch]:
    """Compare shards with their rows of ``exports``; give a row (schema `check.PROBLEMS`) a problem.

    Args:
        batches: Ordered by ``shard_id`` and ``position``: these two, `KEY_COLUMNS`, and for a deep check
            `MEMBER_COLUMNS` and the sources of ``job.columns``. What is not among them is not compared.
    """
    for shard_id, rows in by_value(batches, "shard_id"):
        if job.shards.find(shard_id) is not None:
            yield problem_rows(_check_shard(shard_name(shard_id, job.shard_digits), rows, job))


def _check_shard(name: str, rows: Iterator[pa.RecordBatch], job: CheckJob) -> Iterator[Problem]:
    stem = os.path.join(job.output_root, name)
    members = _Members(f"{stem}.tar", f"{name}.tar", job) if job.deep else None
    done = 0
    with _Sidecar(f"{stem}.parquet", f"{name}.parquet", job) as sidecar:
        for batch in rows:
            positions = batch.column("position")
            wanted = pa.array(np.arange(done, done + len(batch)))
            if (row := differing_row(positions, wanted)) is not None:
                detail = f"at row {done + row:,} the exports table has position {shown(positions, row)}"
                yield Problem(name, batch.column("key")[row].as_py(), None, "wrong_key", detail)
                return
            yield from sidecar.compare(batch, done)
            if members is not None:
                yield from members.compare(batch, done)
            done += len(batch)


class _Sidecar:
    """A sidecar, read a batch at a time; each of its columns is compared until it differs."""

    def __init__(self, path: str, name: str, job: CheckJob) -> None:
        self._name = name
        self._id_col = job.id_col
        self._columns: dict[str, str] = {}
        self._files = ExitStack()
        try:
            file = self._files.enter_context(pq.ParquetFile(readable(path)))
            names = file.schema_arrow.names
        except UNREADABLE:
            return  # the check of the files reports it
        wanted = {name: source for name, source in job.columns.items() if job.deep or source in KEY_COLUMNS}
        self._columns = {name: source for name, source in wanted.items() if name in names}
        self._ahead: list[pa.Table] = []
        self._batches = file.iter_batches(ROW_GROUP_ROWS, columns=list(self._columns))

    def __enter__(self) -> _Sidecar:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def compare(self, rows: pa.RecordBatch, done: int) -> Iterator[Problem]:
        """Compare the next rows; those of ``exports`` begin at row ``done`` of the shard."""
        if not self._columns:
            return
        try:
            found = self._take(len(rows))
        except UNREADABLE as error:
            self._columns.clear()
            yield Problem(self._name, None, None, "unreadable", str(error).splitlines()[0])
            return
        if found is None:
            return
        for name, source in sorted(self._columns.items(), key=lambda column: column[0] != self._id_col):
            if source not in rows.schema.names:
                continue
            # Where keys were kept, an id may be a number; in the table a key is text.
            is_key = source in KEY_COLUMNS
            fault = _compare_column(found[name], rows.column(source), any_type=is_key)
            if fault is None:
                continue
            row, values = fault
            reason: Reason = "wrong_key" if is_key else "wrong_value"
            detail = f"at row {done + row:,} column '{name}': the exports table has {values}"
            yield Problem(self._name, rows.column("key")[row].as_py(), None, reason, detail)
            del self._columns[name]
            if name == self._id_col:  # the rows are other samples', and so are all values
                self._columns.clear()
                return

    def _take(self, count: int) -> pa.Table | None:
        """Give the next rows, fewer where the file ends, None behind its end."""
        pieces = self._ahead
        while sum(map(len, pieces)) < count and (batch := next(self._batches, None)) is not None:
            pieces.append(pa.Table.from_batches([batch]))
        if not pieces:
            return None
        table = pa.concat_tables(pieces)
        self._ahead = [table.slice(count)] if len(table) > count else []
        return table.slice(0, count)


def _compare_column(column: pa.ChunkedArray, source: pa.Array, *, any_type: bool) -> tuple[int, str] | None:
    """Give the first row at which a sidecar's column is not what the table's would be written as, and both values."""
    if not (any_type or is_stored_as(column.type, source.type)):
        return 0, f"{source.type}, here it is {column.type}"
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    try:
        found = column.cast(kind).combine_chunks()
        wanted = as_field(source[: len(found)], pa.field("", kind))  # the counts are compared elsewhere
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return 0, f"{source.type}, here it is {kind}"
    row = differing_row(found, wanted)
    return None if row is None else (row, f"{shown(wanted, row)}, here it is {shown(found, row)}")


class _Members:
    """The members of a tar's samples, compared until they differ."""

    def __init__(self, path: str, name: str, job: CheckJob) -> None:
        self._name = name
        # Lengths of JSON members changed with the ids in them.
        self._skips_json = job.json_id_field is not None
        self._samples: pa.Table | None = None
        if is_file(path):
            with open_forwards(path) as file:
                index = scan_tar(file, name)
            self._samples = None if index.problems else index.samples  # those are already reported

    def compare(self, rows: pa.RecordBatch, done: int) -> Iterator[Problem]:
        """Compare the samples from ``done`` on with their rows."""
        if self._samples is None:
            return
        found = self._samples.slice(done, len(rows)).combine_chunks()
        rows = rows.slice(0, len(found))
        parts = {name: found[name].combine_chunks() for name in ("key", *MEMBER_COLUMNS)}
        if differing_row(parts["key"], rows.column("key")) is not None:
            self._samples = None  # other samples: the keys are compared elsewhere
            return
        exts, wanted_exts = parts["member_exts"], rows.column("member_exts")
        sizes = self._lengths(exts, parts["payload_bytes"])
        wanted_sizes = self._lengths(wanted_exts, rows.column("payload_bytes"))
        for what, here, there in (("the members", exts, wanted_exts), ("payloads of the bytes", sizes, wanted_sizes)):
            if (row := differing_row(here, there)) is not None:
                offset = found["sample_offset"][row].as_py()
                detail = f"the sample has {what} {shown(here, row)}, the exports table has {shown(there, row)}"
                yield Problem(self._name, parts["key"][row].as_py(), offset, "wrong_member", detail)
                self._samples = None
                return

    def _lengths(self, exts: pa.Array, sizes: pa.Array) -> pa.Array:
        """Give the lengths of payloads, null where they need not be the same."""
        counts = exts.value_lengths()
        if not self._skips_json or not counts.equals(sizes.value_lengths()):
            return sizes
        is_json = pc.equal(pc.utf8_lower(exts.flatten()), "json")
        bounds = np.concatenate([[0], np.cumsum(counts.to_numpy())]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(bounds), pc.if_else(is_json, None, sizes.flatten()))
