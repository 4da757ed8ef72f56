"""Assemble members into tar blocks: a tar is an array of 512-byte rows, so copying is one gather."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from shardwright.format.headers import BLOCK_BYTES, Bytes, Flags, Longs, block_count, ustar_headers


class Members(NamedTuple):
    """Members of one source tar in output order, a value a member."""

    names: pa.Array  # as they will be written
    payload_offsets: Longs
    payload_bytes: Longs

    def slice(self, begin: int, end: int) -> Members:
        return Members(
            self.names.slice(begin, end - begin), self.payload_offsets[begin:end], self.payload_bytes[begin:end]
        )


class Reads(NamedTuple):
    """The byte ranges to read for some members, and where in the read blocks each payload begins."""

    offsets: Longs
    sizes: Longs
    first_blocks: Longs  # of each range, in the buffer that the ranges fill one behind the other
    payload_blocks: Longs  # of each member, in the same buffer
    total_blocks: int


def plan_reads(members: Members, max_gap_bytes: int) -> Reads:
    """Coalesce payload ranges that lie behind one another with at most ``max_gap_bytes`` between them."""
    starts, sizes = members.payload_offsets, members.payload_bytes
    is_new = starts_range(members, max_gap_bytes)
    firsts = np.flatnonzero(is_new)
    lasts = np.append(firsts[1:], len(starts)) - 1
    range_sizes = starts[lasts] + sizes[lasts] - starts[firsts]
    range_blocks = block_count(range_sizes)
    first_blocks = np.cumsum(range_blocks) - range_blocks
    range_of_member = np.cumsum(is_new) - 1
    payload_blocks = first_blocks[range_of_member] + (starts - starts[firsts][range_of_member]) // BLOCK_BYTES
    return Reads(starts[firsts], range_sizes, first_blocks, payload_blocks, int(range_blocks.sum()))


def starts_range(members: Members, max_gap_bytes: int) -> Flags:
    """Tell for each member whether a new range begins with it."""
    starts = members.payload_offsets
    ends = starts + block_count(members.payload_bytes) * BLOCK_BYTES
    gaps = starts[1:] - ends[:-1]
    starts_here: Flags = np.concatenate([[True], (gaps < 0) | (gaps > max_gap_bytes)])
    return starts_here


def assemble(members: Members, source: Bytes, payload_blocks: Longs, replaced: Mapping[int, bytes]) -> Bytes:
    """Lay out members as they stand in a tar: header, payload, zeros up to the next block.

    Args:
        members: At least one.
        source: Shape ``(blocks, 512)``: what was read.
        payload_blocks: The row of ``source`` at which each payload begins.
        replaced: New payloads by member number.

    Returns:
        Shape ``(blocks, 512)``.
    """
    sizes = members.payload_bytes
    if replaced:
        sizes = sizes.copy()
        sizes[list(replaced)] = [len(payload) for payload in replaced.values()]
    counts = block_count(sizes)
    header_rows = np.cumsum(counts + 1) - counts - 1
    total = int(counts.sum()) + len(counts)
    # Row r of the output is row r + shift of the source, the shift being constant within a member. Headers gather
    # a row too, which is then overwritten.
    rows = np.arange(total, dtype=np.int64) + np.repeat(payload_blocks - header_rows - 1, counts + 1)
    blocks: Bytes = np.take(source, rows, axis=0, mode="clip")
    blocks[header_rows] = ustar_headers(members.names, sizes)
    for member, payload in replaced.items():
        begin = (int(header_rows[member]) + 1) * BLOCK_BYTES
        blocks.reshape(-1)[begin : begin + len(payload)] = np.frombuffer(payload, dtype=np.uint8)
    rests = sizes % BLOCK_BYTES
    partial = np.flatnonzero(rests)
    tail_rows = (header_rows + counts)[partial]
    # What the source had in its padding is not ours to copy.
    blocks[tail_rows] *= np.arange(BLOCK_BYTES) < rests[partial, None]
    return blocks
