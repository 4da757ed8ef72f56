"""Headers of a tar, thousands at a time: their checksums, and the members' places and names.

The walk from header to header looks at kinds and sizes alone; what can be asked of all headers at once is asked here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from shardwright.format.fields import first_bad_checksum, member_names, named_json
from shardwright.format.headers import BLOCK_BYTES, NAME_BYTES, Bytes, Longs

# In place of a size: headers that are no member's.
EXTENSION, SKIPPED = -1, -2


class Checked(NamedTuple):
    """Members whose headers are sound, a value each, in the tar's order; offsets and sizes in bytes."""

    starts: Longs  # of their extension headers, where they have some
    headers: Longs
    sizes: Longs
    names: pa.BinaryArray  # never null
    unknown_json: Longs  # by place among these members: they are named like JSON, and nobody looked into them
    magic: bytes  # of the first member; empty where there is none
    bad_offset: int | None  # the first header whose checksum is wrong; members end before it


class HeaderBatch:
    """Headers that are still to be checked.

    ``blocks``, ``offsets`` and ``sizes`` have a value a header; where the walk ends at a header, it has no size.
    By place among them ``given_names`` has the names that extension headers gave, ``objects`` the payloads that were
    found to be JSON objects.
    """

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.offsets: list[int] = []
        self.sizes: list[int] = []
        self.given_names: dict[int, bytes] = {}
        self.objects: list[int] = []
        self._start: int | None = None  # of extension headers that were checked before their member came

    def check(self) -> Checked:
        """Verify checksums and read the members' names; the batch is empty then."""
        rows = np.frombuffer(b"".join(self.blocks), dtype=np.uint8).reshape(-1, BLOCK_BYTES)
        bad = first_bad_checksum(rows)
        sizes = np.array(self.sizes[:bad], dtype=np.int64)
        offsets = np.array(self.offsets, dtype=np.int64)
        # An entry begins where the one before it ends, with its extension headers.
        entries = np.flatnonzero(sizes != EXTENSION)
        starts = offsets[np.append(0, entries + 1)[:-1]] if len(entries) else offsets[:0]
        if self._start is not None:
            starts[:1] = self._start
        is_member = sizes[entries] >= 0
        members = entries[is_member]
        given = {}
        if self.given_names:
            given = {place: name for place, row in enumerate(members.tolist()) if (name := self.given_names.get(row))}
        names = member_names(rows, members, given)
        is_known = np.zeros(len(rows), dtype=bool)
        is_known[self.objects] = True
        unknown = named_json(names, np.flatnonzero(~is_known[members]))
        unknown = unknown[[_ends_as_json(given.get(place), rows[members[place]]) for place in unknown.tolist()]]
        checked = Checked(
            starts[is_member],
            offsets[members],
            sizes[members],
            names,
            unknown,
            rows[members[0], 257:265].tobytes() if len(members) else b"",
            None if bad is None else int(offsets[bad]),
        )
        self._start = self.pending_start()
        for waiting in (self.blocks, self.offsets, self.sizes, self.given_names, self.objects):
            waiting.clear()
        return checked

    def pending_start(self) -> int | None:
        """Give where extension headers begin whose member is still to come; None when there are none."""
        count = len(self.sizes)
        while count and self.sizes[count - 1] == EXTENSION:
            count -= 1
        if not count and self._start is not None:
            return self._start
        return self.offsets[count] if count < len(self.sizes) else None


def _ends_as_json(given: bytes | None, header: Bytes) -> bool:
    """Tell JSON by the whole name field: what stands behind a NUL is no name, and nobody took it for JSON."""
    name = header[:NAME_BYTES].tobytes().rstrip(b"\0") if given is None else given
    return name[-5:].lower() == b".json"
