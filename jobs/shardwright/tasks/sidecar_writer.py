"""Write one output sidecar from rows of a layout."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from shardwright.format.sidecar import ROW_GROUP_ROWS, Receipt, SidecarColumn, as_field, receipt_bytes
from shardwright.publishing import Target
from shardwright.tasks.sums import FileSum, Summed


class SidecarWriter:
    """One output sidecar, row groups of `ROW_GROUP_ROWS`."""

    def __init__(self, target: Target, columns: Sequence[SidecarColumn]) -> None:
        # A file is read again for its sum, from memory; an object would have to be fetched.
        self._target = target if isinstance(target, str) else Summed(target)
        self._columns = columns
        self._waiting: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None
        self.row_count = 0

    def __enter__(self) -> SidecarWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def add(self, rows: pa.RecordBatch) -> None:
        """Append these rows."""
        arrays, fields = [], []
        for column in self._columns:
            values = rows.column(column.source)
            field = column.field or pa.field(column.name, values.type)
            arrays.append(as_field(values, field))
            fields.append(field)
        self._waiting.append(pa.table(arrays, schema=pa.schema(fields)))
        self.row_count += len(rows)
        if sum(len(table) for table in self._waiting) >= ROW_GROUP_ROWS:
            self._flush(whole_groups=True)

    def finish(self, receipt: Receipt) -> FileSum | None:
        """Write what is left and the receipt; give the sum where it was taken."""
        self._flush(whole_groups=False)
        if self._writer:
            self._writer.add_key_value_metadata(receipt_bytes(receipt))
            self._writer.close()
        return self._target.sum() if isinstance(self._target, Summed) else None

    def _flush(self, *, whole_groups: bool) -> None:
        table = pa.concat_tables(self._waiting).combine_chunks()
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._target, table.schema)
        count = len(table) // ROW_GROUP_ROWS * ROW_GROUP_ROWS if whole_groups else len(table)
        if count:
            self._writer.write_table(table.slice(0, count), row_group_size=ROW_GROUP_ROWS)
        self._waiting = [table.slice(count)]
