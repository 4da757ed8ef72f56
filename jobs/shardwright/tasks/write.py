"""Write output shards: rows of a layout in, one tar and one sidecar a shard out, a manifest row each."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from shardwright.errors import DataError, RunError
from shardwright.files import Target, describe, is_folder, open_target, published, readable
from shardwright.format.blocks import Members, Reads, assemble, plan_reads
from shardwright.format.headers import BLOCK_BYTES, RECORD_BYTES, Bytes, Flags, Longs, block_count, ustar_headers
from shardwright.format.json_id import BadJsonError, with_json_id
from shardwright.format.names import shard_name
from shardwright.format.sidecar import ROW_GROUP_ROWS, Receipt, SidecarColumn, as_field, read_receipt, receipt_bytes
from shardwright.locations import FileInfo, is_url
from shardwright.tasks.sources import BUFFER_BYTES, Source, open_source
from shardwright.tasks.streams import by_value
from shardwright.tasks.sums import FileSum, Summed, checksum_text, sum_file

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
    """What every task of one export knows; ``columns`` are the sidecar's, in order.

    ``sources`` are the dataset's tars by relative path, as they were listed.
    """

    dataset_root: str
    output_root: str
    staging: str
    shard_digits: int
    json_id_field: str | None
    columns: tuple[SidecarColumn, ...]
    source_key_col: str
    source_shard_col: str
    sources: Mapping[str, FileInfo] = field(default_factory=dict)


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
        receipt, sidecar_sum = _write_files(path, rows, job)
    elif is_url(path):
        sidecar_sum = _require_own(path, rows, job, receipt)
    else:
        sidecar_sum = _write_sidecar(path, rows, job, receipt)
    values = [shard_id, name, receipt.sample_count, receipt.shard_bytes, sidecar_sum.size_bytes]
    values += [receipt.checksum, sidecar_sum.checksum]
    return pa.RecordBatch.from_arrays([pa.array([value]) for value in values], schema=WRITTEN)


def _write_files(path: str, rows: Iterator[pa.RecordBatch], job: WriteJob) -> tuple[Receipt, FileSum]:
    with ExitStack() as files:
        # The sidecar is published last: where it stands, the shard is complete.
        sidecar_target = files.enter_context(published(f"{path}.parquet", job.staging))
        tar_target = files.enter_context(published(f"{path}.tar", job.staging))
        sidecar = files.enter_context(_SidecarWriter(sidecar_target, job))
        with _TarWriter(tar_target, job) as tar:
            for batch in rows:
                tar.add(batch)
                sidecar.add(batch)
            tar_sum = tar.finish()
        receipt = Receipt(sidecar.row_count, *tar_sum, job.source_key_col, job.source_shard_col)
        sidecar_sum = sidecar.finish(receipt)
        _require_wanted(path, job)
    return receipt, sidecar_sum or sum_file(f"{path}.parquet")


def _write_sidecar(path: str, rows: Iterator[pa.RecordBatch], job: WriteJob, receipt: Receipt) -> FileSum:
    """Write a sidecar once more: a crash of the machine may have lost what stands before its end."""
    with published(f"{path}.parquet", job.staging) as target, _SidecarWriter(target, job) as sidecar:
        for batch in rows:
            sidecar.add(batch)
        sidecar.finish(receipt)
    return sum_file(f"{path}.parquet")


def _require_own(path: str, rows: Iterator[pa.RecordBatch], job: WriteJob, receipt: Receipt) -> FileSum:
    """Require that a finished sidecar in a store is the one that these rows make; give its size and checksum.

    Raises:
        DataError: A task of another export published it, when that export had been given up already.
    """
    with tempfile.NamedTemporaryFile(prefix="shardwright-", suffix=".parquet") as copy:
        with _SidecarWriter(copy.name, job) as sidecar:
            for batch in rows:
                sidecar.add(batch)
            sidecar.finish(receipt)
        own = sum_file(copy.name)
    if own != sum_file(f"{path}.parquet"):
        found = "it holds samples of another export, which was given up and wrote on"
        raise DataError(f"{path}.parquet", found, "Run the command again when nothing else writes there")
    return own


def _require_wanted(path: str, job: WriteJob) -> None:
    """Refuse to publish for an export that was given up; on a file system the folder is gone that a rename needs.

    Raises:
        RunError: Nothing is published.
    """
    if is_url(job.staging) and not is_folder(job.staging):
        raise RunError(path, "its export was given up meanwhile", "Run the export again")


def _finished(path: str) -> Receipt | None:
    """Find what an earlier attempt of this same export published: a whole tar, and the end of its sidecar."""
    try:
        receipt = read_receipt(pq.read_metadata(readable(f"{path}.parquet")).metadata)
        if receipt and _is_whole(path, receipt):
            return receipt
    except (FileNotFoundError, pa.ArrowException):
        pass
    return None


def _is_whole(path: str, receipt: Receipt) -> bool:
    """Tell whether the tar beside a sidecar is the one that it was written with."""
    if not is_url(path):
        return sum_file(f"{path}.tar") == FileSum(receipt.shard_bytes, receipt.checksum)
    # A store shows whole objects only, and the tar before its sidecar: of that size, and not written again since,
    # it is that tar. Nothing is fetched to see that.
    tar, sidecar = describe(f"{path}.tar"), describe(f"{path}.parquet")
    if tar is None or sidecar is None:
        return False
    return tar.size_bytes == receipt.shard_bytes and tar.modified_ns <= sidecar.modified_ns


class _Piece(NamedTuple):
    """Members of one source tar that are read together; one that is larger than the buffer has no ``reads``."""

    source: Source
    members: Members
    keys: pa.Array
    is_json: Flags
    reads: Reads | None = None
    fill: Callable[[Bytes], None] = lambda _: None

    @property
    def byte_count(self) -> int:
        return self.reads.total_blocks * BLOCK_BYTES if self.reads else 0


class _TarWriter:
    """One output tar, written once from front to back."""

    def __init__(self, target: Target, job: WriteJob) -> None:
        self._job = job
        self._digest = xxhash.xxh3_128()
        self._size = 0
        self._buffer = np.empty((BUFFER_BYTES // BLOCK_BYTES, BLOCK_BYTES), dtype=np.uint8)
        self._file = open_target(target)

    def __enter__(self) -> _TarWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: pa.RecordBatch) -> None:
        """Append the samples of these rows."""
        for piece in _read_ahead(self._pieces(rows)):
            self._copy(piece)

    def _pieces(self, rows: pa.RecordBatch) -> Iterator[_Piece]:
        """Cut rows into what is read at a time; each is asked for when it is given."""
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
            run = members.slice(begin, end)
            with open_source(os.path.join(self._job.dataset_root, shard), self._job.sources.get(shard)) as source:
                starts_here = source.starts(run)
                for first, last in _chunks(run, starts_here):
                    places = slice(begin + first, begin + last)
                    piece = _Piece(source, run.slice(first, last), keys[places], is_json[places])
                    if last - first > 1 or run.payload_bytes[first] <= BUFFER_BYTES or piece.is_json[0]:
                        reads = plan_reads(piece.members, starts_here[first:last])
                        piece = piece._replace(reads=reads, fill=source.ask(reads))
                    yield piece

    def finish(self) -> FileSum:
        """Write the end blocks."""
        end = self._size + 2 * BLOCK_BYTES
        self._append(np.zeros(-(-end // RECORD_BYTES) * RECORD_BYTES - self._size, dtype=np.uint8))
        return FileSum(self._size, checksum_text(self._digest))

    def _copy(self, piece: _Piece) -> None:
        source, members, reads = piece.source, piece.members, piece.reads
        if reads is None:
            self._stream(source, members)
            return
        blocks = self._buffer
        if reads.total_blocks > len(blocks):
            blocks = np.empty((reads.total_blocks, BLOCK_BYTES), np.uint8)
        piece.fill(blocks)
        replaced = {
            member: self._with_id(
                blocks, int(reads.payload_blocks[member]), members, member, piece.keys[member], source
            )
            for member in np.flatnonzero(piece.is_json).tolist()
        }
        self._append(assemble(members, blocks, reads.payload_blocks, replaced).reshape(-1))

    def _with_id(
        self, blocks: Bytes, block: int, members: Members, member: int, key: pa.Scalar, source: Source
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

    def _stream(self, source: Source, member: Members) -> None:
        """Copy a member that is larger than the buffer."""
        self._append(ustar_headers(member.names, member.payload_bytes).reshape(-1))
        size = int(member.payload_bytes[0])
        for part in source.stream(int(member.payload_offsets[0]), size, self._buffer):
            self._append(part)
        self._append(np.zeros(-size % BLOCK_BYTES, dtype=np.uint8))

    def _append(self, data: Bytes) -> None:
        self._file.write(data.data)
        self._digest.update(data.data)
        self._size += len(data)


def _read_ahead(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """Give pieces in their order; of a store's, some are on their way before they are needed."""
    waiting: deque[_Piece] = deque()
    held = 0
    for piece in pieces:
        waiting.append(piece)
        held += piece.byte_count
        while waiting and held >= piece.source.ahead_bytes:
            first = waiting.popleft()
            held -= first.byte_count
            yield first
    yield from waiting


def _chunks(members: Members, starts_here: Flags) -> Iterator[tuple[int, int]]:
    """Cut members into runs whose reads fit the buffer; a member that does not fit is a run of its own."""
    blocks: Longs = block_count(members.payload_bytes)
    ends = members.payload_offsets + blocks * BLOCK_BYTES
    gaps = np.concatenate([[0], members.payload_offsets[1:] - ends[:-1]]) // BLOCK_BYTES
    cost = np.cumsum(blocks + np.where(starts_here, 0, gaps))
    begin = 0
    while begin < len(cost):
        spent = int(cost[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(cost, spent + BUFFER_BYTES // BLOCK_BYTES, side="right")))
        yield begin, end
        begin = end


class _SidecarWriter:
    """One output sidecar, row groups of `ROW_GROUP_ROWS`."""

    def __init__(self, target: Target, job: WriteJob) -> None:
        # A file is read again for its sum, from memory; an object would have to be fetched.
        self._target = target if isinstance(target, str) else Summed(target)
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
