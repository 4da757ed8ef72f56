"""Write one output tar from rows of a layout: new headers, payloads copied, JSON ids replaced."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from shardwright.errors import DataError
from shardwright.format.blocks import Members, Reads, assemble, plan_reads
from shardwright.format.headers import BLOCK_BYTES, RECORD_BYTES, Bytes, Flags, Longs, block_count, ustar_headers
from shardwright.format.json_id import BadJsonError, with_json_id
from shardwright.locations import FileInfo
from shardwright.publishing import Target, open_target
from shardwright.tasks.packed import Packed
from shardwright.tasks.sources import BUFFER_BYTES, Source, open_source
from shardwright.tasks.sums import FileSum, checksum_text


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


class TarWriter:
    """One output tar, written once from front to back."""

    def __init__(self, target: Target, dataset_root: str, sources: Packed[FileInfo], json_id_field: str | None) -> None:
        self._dataset_root, self._sources, self._json_id_field = dataset_root, sources, json_id_field
        self._digest = xxhash.xxh3_128()
        self._size = 0
        self._buffer = np.empty((BUFFER_BYTES // BLOCK_BYTES, BLOCK_BYTES), dtype=np.uint8)
        self._file = open_target(target)

    def __enter__(self) -> TarWriter:
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
        if self._json_id_field is not None:
            is_json = pc.equal(pc.utf8_lower(exts), "json").to_numpy(zero_copy_only=False)
        shards = pc.dictionary_encode(rows.column("source_shard"))
        bounds = np.flatnonzero(np.diff(shards.indices.to_numpy(), prepend=-1, append=-1))
        member_bounds = np.concatenate([[0], np.cumsum(counts)])[bounds]
        for row, begin, end in zip(bounds[:-1], member_bounds[:-1], member_bounds[1:], strict=True):
            shard = rows.column("source_shard")[row].as_py()
            run = members.slice(begin, end)
            path = os.path.join(self._dataset_root, shard)
            with open_source(path, self._sources.find(path)) as source:
                starts_here = source.starts(run)
                for first, last in cut_reads(run, starts_here):
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
            return with_json_id(payload, str(self._json_id_field), key.as_py())
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


def cut_reads(members: Members, starts_here: Flags) -> Iterator[tuple[int, int]]:
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
