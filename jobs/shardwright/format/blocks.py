"""Assemble members into tar blocks: a tar is an array of 512-byte rows, so copying is one gather."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from shardwright.format.headers import BLOCK_BYTES, Bytes, Flags, Longs, block_count, ustar_headers

# A header, a PAX header with its payload and their padding fit in.
_HEADER_GAP_BYTES = 4 << 10
_LONG_RUN_BYTES = 1 << 20
# A request is dearer than this, but traffic is paid for: what comes for nothing is held to 5 %. Headers of long runs
# may be more.
_MOST_WASTE = 0.048


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


def plan_reads(members: Members, starts_here: Flags) -> Reads:
    """Coalesce payloads into ranges; the first member begins one, the others where `starts_range` says so."""
    starts, sizes = members.payload_offsets, members.payload_bytes
    is_new = np.concatenate([[True], starts_here[1:]])
    firsts = np.flatnonzero(is_new)
    lasts = np.append(firsts[1:], len(starts)) - 1
    range_sizes = starts[lasts] + sizes[lasts] - starts[firsts]
    range_blocks = block_count(range_sizes)
    first_blocks = np.cumsum(range_blocks) - range_blocks
    range_of_member = np.cumsum(is_new) - 1
    payload_blocks = first_blocks[range_of_member] + (starts - starts[firsts][range_of_member]) // BLOCK_BYTES
    return Reads(starts[firsts], range_sizes, first_blocks, payload_blocks, int(range_blocks.sum()))


def starts_range(members: Members, max_gap_bytes: int) -> Flags:
    """Tell for each member whether a new range begins with it: where the gap before it is larger than this."""
    starts = members.payload_offsets
    ends = starts + block_count(members.payload_bytes) * BLOCK_BYTES
    gaps = starts[1:] - ends[:-1]
    starts_here: Flags = np.concatenate([[True], (gaps < 0) | (gaps > max_gap_bytes)])
    return starts_here


def starts_request(members: Members, request_bytes: int) -> Flags:
    """Tell for each member whether a new range begins with it, where ranges are dear and so is what is not needed.

    What stands together, with nothing but headers between, is read through from `_LONG_RUN_BYTES` on, and so are
    members that are no larger than headers: a request would take more than it spares. Of the other gaps those that
    cost less than a request are bridged, the smallest first, until with those `_MOST_WASTE` of the payloads is reached.

    Args:
        request_bytes: What a request costs: the bytes that would come in while its first byte is waited for.
    """
    starts, sizes = members.payload_offsets, members.payload_bytes
    # Padding counts: it comes in and is not needed.
    gaps = np.concatenate([[-1], starts[1:] - starts[:-1] - sizes[:-1]])
    follows = (gaps >= 0) & (gaps <= max(request_bytes, _HEADER_GAP_BYTES))
    is_near = follows & (gaps <= _HEADER_GAP_BYTES)
    runs = np.cumsum(~is_near) - 1
    is_long = np.bincount(runs, weights=sizes)[runs] >= _LONG_RUN_BYTES
    is_tiny = sizes <= _HEADER_GAP_BYTES
    bridged: Flags = is_near & (is_long | is_tiny & np.roll(is_tiny, 1))
    places = np.flatnonzero(follows & ~bridged)
    places = places[np.argsort(gaps[places], kind="stable")]
    wasted = np.cumsum(gaps[places]) + gaps[bridged].sum()
    bridged[places[wasted <= _MOST_WASTE * sizes.sum()]] = True
    return ~bridged


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
