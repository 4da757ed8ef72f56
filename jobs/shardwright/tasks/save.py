"""Write sidecars anew: the source's columns as they are, computed ones beside them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from shardwright.errors import RunError
from shardwright.files import readable, size_of
from shardwright.format.sidecar import METADATA_KEY
from shardwright.publishing import published
from shardwright.tasks.packed import Packed
from shardwright.tasks.streams import by_value

SAVED = pa.schema(
    [pa.field("path", pa.string()), pa.field("row_count", pa.int64()), pa.field("size_bytes", pa.int64())]
)
_BATCH_ROWS = 4_096


class Sidecar(NamedTuple):
    """A shard's sidecar, and where it is written anew."""

    stem: str
    source_path: str
    target_path: str


@dataclass(frozen=True)
class SaveJob:
    """What every task knows: the sidecars, and the columns to write.

    ``computed`` maps each computed column's name to the column in which its values arrive; ``chosen``
    are the columns to write, in order, None for all.
    """

    sidecars: Packed[Sidecar]
    computed: Mapping[str, str]
    chosen: tuple[str, ...] | None


def save_sidecars(batches: Iterable[pa.RecordBatch], job: SaveJob) -> Iterator[pa.RecordBatch]:
    """Write the sidecars whose rows arrive.

    Args:
        batches: ``shard_stem``, ``row_index`` and the columns of ``job.computed``, ordered by the first
            two; one row without a ``row_index`` stands for a sidecar without rows.
    """
    for stem, rows in by_value(batches, "shard_stem"):
        sidecar = job.sidecars.find(stem)
        if sidecar is None:
            raise RunError(stem, "it is no sidecar that was listed", "Run the command again")
        yield _save(sidecar, (batch.filter(batch.column("row_index").is_valid()) for batch in rows), job)


def copy_sidecars(batches: Iterable[pa.RecordBatch], job: SaveJob) -> Iterator[pa.RecordBatch]:
    """Write the sidecars whose places in ``job.sidecars`` arrive, where nothing is computed."""
    for batch in batches:
        for place in batch.column(0).to_pylist():
            yield _save(job.sidecars[place], None, job)


def _save(sidecar: Sidecar, rows: Iterator[pa.RecordBatch] | None, job: SaveJob) -> pa.RecordBatch:
    _, source, target = sidecar
    computed = _Rows(rows)
    count = 0
    writer: pq.ParquetWriter | None = None
    with pq.ParquetFile(readable(source)) as file, published(target, os.path.dirname(target)) as written:
        try:
            for batch in _batches(file, _kept_metadata(file, job)):
                table = _merge(batch, computed.take(len(batch), source), job)
                if writer is None:
                    writer = pq.ParquetWriter(written, table.schema)
                writer.write_table(table)
                count += len(table)
        finally:
            if writer:
                writer.close()
        computed.require_end(source)
    return pa.RecordBatch.from_arrays(
        [pa.array([target]), pa.array([count]), pa.array([size_of(target)])], schema=SAVED
    )


def _kept_metadata(file: pq.ParquetFile, job: SaveJob) -> dict[bytes, bytes]:
    """Give the file's own key-value metadata; a receipt stays with the shard that it speaks of."""
    # pyarrow gives what was added after the schema with the file alone.
    found = {**(file.schema_arrow.metadata or {}), **(file.metadata.metadata or {})}
    dropped = (b"ARROW:schema",) if job.chosen is None else (b"ARROW:schema", METADATA_KEY)
    return {name: value for name, value in found.items() if name not in dropped}


def _batches(file: pq.ParquetFile, metadata: dict[bytes, bytes]) -> Iterator[pa.Table]:
    if not file.metadata.num_rows:
        yield file.schema_arrow.empty_table().replace_schema_metadata(metadata)
    for batch in file.iter_batches(_BATCH_ROWS):
        # iter_batches loses the schema's own metadata.
        yield pa.Table.from_batches([batch]).replace_schema_metadata(metadata)


def _merge(table: pa.Table, computed: pa.Table | None, job: SaveJob) -> pa.Table:
    for name, source in job.computed.items():
        if computed is None:
            raise ValueError("computed columns need rows")
        values = computed.column(source)
        place = table.schema.get_field_index(name)
        table = table.append_column(name, values) if place < 0 else table.set_column(place, name, values)
    return table if job.chosen is None else table.select(job.chosen)


class _Rows:
    """A stream of batches, taken so many rows at a time."""

    def __init__(self, batches: Iterator[pa.RecordBatch] | None) -> None:
        self._batches = batches
        self._waiting: list[pa.RecordBatch] = []

    def take(self, count: int, source: str) -> pa.Table | None:
        """Give the next ``count`` rows; None where no rows were expected at all."""
        if self._batches is None:
            return None
        have = sum(len(batch) for batch in self._waiting)
        while have < count or not self._waiting:
            batch = next(self._batches, None)
            if batch is None:
                raise _changed(source)
            self._waiting.append(batch)
            have += len(batch)
        table = pa.Table.from_batches(self._waiting)
        self._waiting = table.slice(count).to_batches()
        return table.slice(0, count)

    def require_end(self, source: str) -> None:
        if self._batches is not None and (self._waiting or next(self._batches, None) is not None):
            raise _changed(source)


def _changed(source: str) -> RunError:
    return RunError(
        source, "its rows are not those that were read before; the file changed meanwhile", "Run the command again"
    )
