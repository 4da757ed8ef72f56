"""Write output shards: rows of a layout in, one tar and one sidecar a shard out, a manifest row each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from shardwright.errors import DataError
from shardwright.files import OpenFile, ask_for, published, read_range, write_all
from shardwright.format.blocks import Members, Reads, assemble, plan_reads, starts_range
from shardwright.format.headers import BLOCK_BYTES, RECORD_BYTES, Bytes, Flags, Longs, block_count, ustar_headers
from shardwright.format.json_id import BadJsonError, with_json_id
from shardwright.format.names import shard_name
from shardwright.format.sidecar import ROW_GROUP_ROWS, Receipt, SidecarColumn, as_field, read_receipt, receipt_bytes
from shardwright.tasks.streams import by_value
from shardwright.tasks.sums import FileSum, checksum_text, sum_file

# Read and written at a time; with its gather a task holds about three of these, and all of them lie in a core's share
# of the cache: four times as much takes half as long again.
BUFFER_BYTES = 2 << 20
# Reading through a gap of this size costs about as much as another call.
MAX_GAP_BYTES = 16 << 10

WRITTEN = pa.schema(
    [
        pa.field("shard_id", pa.int64(), nullable=False),
        pa.field("shard_name", pa.string(), nullable=False),
        pa.field("sample_count", pa.int64(), nullable=False),
        pa.field("shard_bytes", pa.int64(), nullable=False),
        pa.field("sidecar_bytes", pa.int64(), nullable=False),
        pa.field("checksum", pa.string(), nullable=False),
        pa.field("sidecar_checksum", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class WriteJob:
    """What every task of one export knows; ``columns`` are the sidecar's, in order."""

    dataset_root: str
    output_root: str
    staging: str
    shard_digits: int
    json_id_field: str | None
    columns: tuple[SidecarColumn, ...]
    source_key_col: str
    source_shard_col: str


def write_shards(batches: Iterable[pa.RecordBatch], job: WriteJob) -> Iterator[pa.RecordBatch]:
    """Write the shards whose rows arrive; give one manifest row (schema `WRITTEN`) for each.

    Args:
        batches: Rows of ``exports`` ordered by ``shard_id`` and ``position``, every shard whole:
            ``shard_id``, ``key``, ``source_shard``, ``member_exts``, ``payload_offsets``,
            ``payload_bytes`` and the sources of ``job.columns``.

    A shard that an earlier attempt published is not written again.
    """
    for shard_id, rows in by_value(batches, "shard_id"):
        yield _write_shard(shard_id, rows, job)


def _write_shard(shard_id: int, rows: Iterator[pa.RecordBatch], job: WriteJob) -> pa.RecordBatch:
    name = shard_name(shard_id, job.shard_digits)
    path = os.path.join(job.output_root, name)
    receipt = _finished(path)
    if receipt is None:
        with ExitStack() as files:
            # The sidecar is published last: where it stands, the shard is complete.
            sidecar_path = files.enter_context(published(f"{path}.parquet", job.staging))
            tar_path = files.enter_context(published(f"{path}.tar", job.staging))
            sidecar = files.enter_context(_SidecarWriter(sidecar_path, job))
            with _TarWriter(tar_path, job) as tar:
                for batch in rows:
                    tar.add(batch)
                    sidecar.add(batch)
                tar_sum = tar.finish()
            receipt = Receipt(sidecar.row_count, *tar_sum, job.source_key_col, job.source_shard_col)
            sidecar.finish(receipt)
    sidecar_sum = sum_file(f"{path}.parquet")
    values = [shard_id, name, receipt.sample_count, receipt.shard_bytes, sidecar_sum.size_bytes]
    values += [receipt.checksum, sidecar_sum.checksum]
    return pa.RecordBatch.from_arrays([pa.array([value]) for value in values], schema=WRITTEN)


def _finished(path: str) -> Receipt | None:
    """Find what an earlier attempt of this same export published, and a crash of the machine left whole."""
    try:
        receipt = read_receipt(pq.read_metadata(f"{path}.parquet").metadata)
        if receipt and sum_file(f"{path}.tar") == FileSum(receipt.shard_bytes, receipt.checksum):
            return receipt
    except (FileNotFoundError, pa.ArrowException):
        pass
    return None


class _TarWriter:
    """One output tar, written once from front to back."""

    def __init__(self, path: str, job: WriteJob) -> None:
        self._job = job
        self._digest = xxhash.xxh3_128()
        self._size = 0
        self._buffer = np.empty((BUFFER_BYTES // BLOCK_BYTES, BLOCK_BYTES), dtype=np.uint8)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)

    def __enter__(self) -> _TarWriter:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def add(self, rows: pa.RecordBatch) -> None:
        """Append the samples of these rows."""
        counts = rows.column("payload_offsets").value_lengths().to_numpy()
        exts = rows.column("member_exts").flatten()
        keys = rows.column("key").take(pa.array(np.repeat(np.arange(len(counts)), counts)))
        members = Members(
            pc.binary_join_element_wise(keys, exts, "."),
            rows.column("payload_offsets").flatten().to_numpy(),
            rows.column("payload_bytes").flatten().to_numpy(),
        )
        is_json = np.zeros(len(exts), dtype=bool)
        if self._job.json_id_field is not None:
            is_json = pc.equal(pc.utf8_lower(exts), "json").to_numpy(zero_copy_only=False)
        shards = pc.dictionary_encode(rows.column("source_shard"))
        bounds = np.flatnonzero(np.diff(shards.indices.to_numpy(), prepend=-1, append=-1))
        member_bounds = np.concatenate([[0], np.cumsum(counts)])[bounds]
        for row, begin, end in zip(bounds[:-1], member_bounds[:-1], member_bounds[1:], strict=True):
            shard = rows.column("source_shard")[row].as_py()
            with _Source(os.path.join(self._job.dataset_root, shard)) as source:
                self._copy(source, members.slice(begin, end), is_json[begin:end], keys.slice(begin, end - begin))

    def finish(self) -> FileSum:
        """Write the end blocks."""
        end = self._size + 2 * BLOCK_BYTES
        self._append(np.zeros(-(-end // RECORD_BYTES) * RECORD_BYTES - self._size, dtype=np.uint8))
        return FileSum(self._size, checksum_text(self._digest))

    def _copy(self, source: _Source, members: Members, is_json: Flags, keys: pa.Array) -> None:
        for begin, end in _chunks(members):
            chunk = members.slice(begin, end)
            if end - begin == 1 and chunk.payload_bytes[0] > BUFFER_BYTES and not is_json[begin]:
                self._stream(source, chunk)
                continue
            reads = plan_reads(chunk, MAX_GAP_BYTES)
            blocks = source.read_blocks(reads, self._buffer)
            replaced = {
                member: self._with_id(
                    blocks, int(reads.payload_blocks[member]), chunk, member, keys[begin + member], source
                )
                for member in np.flatnonzero(is_json[begin:end]).tolist()
            }
            self._append(assemble(chunk, blocks, reads.payload_blocks, replaced).reshape(-1))

    def _with_id(
        self, blocks: Bytes, block: int, members: Members, member: int, key: pa.Scalar, source: _Source
    ) -> bytes:
        begin = block * BLOCK_BYTES
        payload = blocks.reshape(-1)[begin : begin + int(members.payload_bytes[member])].tobytes()
        try:
            return with_json_id(payload, str(self._job.json_id_field), key.as_py())
        except BadJsonError as error:
            raise DataError(
                f"{source.path}: JSON member at byte {members.payload_offsets[member]:,}",
                f"bad_json: {error}",
                "Repair the JSON, or pass --no-json-id to copy JSON members as they are. Nothing was committed.",
            ) from None

    def _stream(self, source: _Source, member: Members) -> None:
        """Copy a member that is larger than the buffer."""
        self._append(ustar_headers(member.names, member.payload_bytes).reshape(-1))
        offset, left = int(member.payload_offsets[0]), int(member.payload_bytes[0])
        buffer = self._buffer.reshape(-1)
        while left:
            count = min(left, BUFFER_BYTES)
            source.fill(offset, buffer[:count])
            self._append(buffer[:count])
            offset, left = offset + count, left - count
        self._append(np.zeros(-int(member.payload_bytes[0]) % BLOCK_BYTES, dtype=np.uint8))

    def _append(self, data: Bytes) -> None:
        write_all(self._file, data.data)
        self._digest.update(data.data)
        self._size += len(data)


def _chunks(members: Members) -> Iterator[tuple[int, int]]:
    """Cut members into runs whose reads fit the buffer; a member that does not fit is a run of its own."""
    blocks: Longs = block_count(members.payload_bytes)
    ends = members.payload_offsets + blocks * BLOCK_BYTES
    gaps = np.concatenate([[0], members.payload_offsets[1:] - ends[:-1]]) // BLOCK_BYTES
    cost = np.cumsum(blocks + np.where(starts_range(members, MAX_GAP_BYTES), 0, gaps))
    begin = 0
    while begin < len(cost):
        spent = int(cost[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(cost, spent + BUFFER_BYTES // BLOCK_BYTES, side="right")))
        yield begin, end
        begin = end


class _Source(OpenFile):
    """One source tar."""

    def read_blocks(self, reads: Reads, buffer: Bytes) -> Bytes:
        """Read ranges one behind the other; the buffer is used where it is large enough."""
        blocks = buffer if reads.total_blocks <= len(buffer) else np.empty((reads.total_blocks, BLOCK_BYTES), np.uint8)
        flat = blocks.reshape(-1)
        ranges = list(zip(*(part.tolist() for part in reads[:3]), strict=True))
        # A disk serves many ranges at once about twice as fast as one behind the other.
        for offset, size, _ in ranges:
            ask_for(self.descriptor, offset, size)
        for offset, size, first in ranges:
            self.fill(offset, flat[first * BLOCK_BYTES : first * BLOCK_BYTES + size])
        return blocks

    def fill(self, offset: int, into: Bytes) -> None:
        count = read_range(self.descriptor, offset, into.data)
        if count < len(into):
            raise DataError(
                f"{self.path} at byte {offset:,}",
                f"{len(into):,} bytes were expected, {count:,} are there; the shard changed since it was indexed",
                "Run the command again: it indexes the shard anew. Nothing was committed.",
            )


class _SidecarWriter:
    """One output sidecar, row groups of `ROW_GROUP_ROWS`."""

    def __init__(self, path: str, job: WriteJob) -> None:
        self._path = path
        self._job = job
        self._waiting: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None
        self.row_count = 0

    def __enter__(self) -> _SidecarWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def add(self, rows: pa.RecordBatch) -> None:
        """Append these rows."""
        arrays, fields = [], []
        for column in self._job.columns:
            values = rows.column(column.source)
            field = column.field or pa.field(column.name, values.type)
            arrays.append(as_field(values, field))
            fields.append(field)
        self._waiting.append(pa.table(arrays, schema=pa.schema(fields)))
        self.row_count += len(rows)
        if sum(len(table) for table in self._waiting) >= ROW_GROUP_ROWS:
            self._flush(whole_groups=True)

    def finish(self, receipt: Receipt) -> None:
        """Write what is left and the receipt."""
        self._flush(whole_groups=False)
        if self._writer:
            self._writer.add_key_value_metadata(receipt_bytes(receipt))
            self._writer.close()

    def _flush(self, *, whole_groups: bool) -> None:
        table = pa.concat_tables(self._waiting).combine_chunks()
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema)
        count = len(table) // ROW_GROUP_ROWS * ROW_GROUP_ROWS if whole_groups else len(table)
        if count:
            self._writer.write_table(table.slice(0, count), row_group_size=ROW_GROUP_ROWS)
        self._waiting = [table.slice(count)]
