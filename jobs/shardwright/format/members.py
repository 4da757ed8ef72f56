"""Walk a tar from header to header: where its members lie, and where it is damaged.

JSON members are looked into as well: they are small and lie between headers, so that they come with them.

Source:
    POSIX.1-2017 (ustar, pax), the GNU tar manual (long names, base-256 numbers).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from shardwright.format.fields import (
    DamageError,
    first_bad_checksum,
    member_names,
    pax_records,
    read_digits,
    read_number,
)
from shardwright.format.headers import BLOCK_BYTES
from shardwright.format.json_id import MAX_JSON_BYTES, json_flaw

_ZERO_BLOCK = bytes(BLOCK_BYTES)
_CHECK_ROWS = 8_192
# A caption and a JSON, with their headers, come with the header of the image behind them.
_MIN_WINDOW_BYTES, _MAX_WINDOW_BYTES = 8 << 10, 1 << 20
_MAX_EXTENSION_BYTES = 1 << 20
_PAX_GLOBAL, _PAX, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"gxLKS"
_EXTENSIONS = frozenset((_PAX_GLOBAL, _PAX, _GNU_NAME, _GNU_LINK))
_FILES = frozenset(b"\x0007")
_FOLDER = ord("5")
# Links, devices, folders, pipes: whatever size their header states, no payload follows.
_WITHOUT_PAYLOAD = frozenset(b"123456")
# GNU's labels of volumes and lists of folders' contents.
_NOTES = frozenset(b"VD")
_SPARSE = "sparse members can't be copied byte for byte; write the tar without --sparse"
# What PAX headers state that we go by.
_OVERRIDING = frozenset((b"path", b"size"))


class RangeReader(Protocol):
    """A tar that can be read in ranges."""

    size_bytes: int

    def read(self, offset: int, count: int) -> bytes:
        """Read a range; fewer bytes only where the tar ends."""


class Members:
    """The regular files of a tar, a value each, in the tar's order; offsets and sizes in bytes.

    ``starts`` are the first headers, extension headers included; ``headers`` those before the payload.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.headers: list[int] = []
        self.sizes: list[int] = []
        self.names: list[bytes] = []
        self.bad_json: dict[int, str] = {}  # members named like JSON that hold no object, and why
        self.skipped_count = 0  # folders, links, devices
        self.damage: DamageError | None = None
        self.dialect = "v7"


def list_members(tar: RangeReader) -> Members:
    """List a tar's members; of payloads only JSON is read, and damage ends the list where it stands."""
    walk = _Walk(tar)
    for step in (walk.run, walk.check_headers):
        try:
            step()
        except DamageError as damage:
            # A header whose checksum is wrong stands before what the walk met because of it.
            walk.members.damage = damage
    members = walk.members
    del members.starts[len(members.names) :], members.headers[len(members.names) :], members.sizes[len(members.names) :]
    return members


class _Walk:
    """The way from header to header up to the end blocks."""

    def __init__(self, tar: RangeReader) -> None:
        self.members = Members()
        self._tar = _Window(tar)
        self._overrides: dict[bytes, bytes] = {}
        self._given_names: dict[int, bytes] = {}  # member number to a name that an extension header gave
        # Headers whose checksum is still to be verified, and which of them are members'.
        self._blocks: list[bytes] = []
        self._offsets: list[int] = []
        self._member_rows: list[int] = []

    def run(self) -> None:
        end = self._tar.size_bytes
        if not end:
            raise DamageError(0, "truncated", "the file is empty, a tar ends with two zero blocks")
        at = start = 0  # start: where the extension headers of the coming member begin
        while True:
            if at + BLOCK_BYTES > end:
                found = "inside a header" if at < end else "without the two zero blocks that end a tar"
                raise DamageError(at, "truncated", f"the tar stops {found}")
            block = self._tar.read(at, BLOCK_BYTES)
            if block == _ZERO_BLOCK:
                if start != at:
                    raise DamageError(start, "bad_header", "an extension header is followed by no member")
                return self._check_end(at)
            if len(self._blocks) == _CHECK_ROWS:
                self.check_headers()
            self._blocks.append(block)
            self._offsets.append(at)
            size = read_number(block[124:136], at)
            kind = block[156]
            if kind in _EXTENSIONS:
                self._read_extension(kind, at, size)
            else:
                size = self._add_member(block, start, at, size)
            at += BLOCK_BYTES + -(-size // BLOCK_BYTES) * BLOCK_BYTES
            if kind not in _EXTENSIONS:
                start = at

    def check_headers(self) -> None:
        """Verify the checksums of the headers met so far and read the members' names.

        Raises:
            DamageError: At the first header whose checksum is wrong; names end before it.
        """
        rows = np.frombuffer(b"".join(self._blocks), dtype=np.uint8).reshape(-1, BLOCK_BYTES)
        bad = first_bad_checksum(rows)
        bad_offset = None if bad is None else self._offsets[bad]
        members = self.members
        sound = np.array([row for row in self._member_rows if bad is None or row < bad], dtype=np.int64)
        first_number = len(members.names)
        members.names += member_names(rows[sound])
        for waiting in (self._blocks, self._offsets, self._member_rows):
            waiting.clear()
        if not first_number and len(sound):
            self._name_dialect(rows[sound[0], 257:265].tobytes())
        for number in range(first_number, len(members.names)):
            if number in self._given_names:
                members.names[number] = self._given_names.pop(number)
        if bad_offset is not None:
            raise DamageError(bad_offset, "bad_header", "the header's checksum is wrong")

    def _name_dialect(self, magic: bytes) -> None:
        if self.members.dialect == "v7":
            known = {b"ustar  \0": "gnu", b"ustar\x0000": "ustar"}
            self.members.dialect = known.get(magic, "v7")

    def _read_extension(self, kind: int, at: int, size: int) -> None:
        """Note what an extension header says of the next member (or, a global one, of all that follow)."""
        payload = at + BLOCK_BYTES
        if size > _MAX_EXTENSION_BYTES or payload + size > self._tar.size_bytes:
            raise DamageError(at, "bad_header", f"an extension header of {size:,} bytes can't be read")
        is_pax = kind in (_PAX, _PAX_GLOBAL)
        self.members.dialect = "pax" if is_pax or self.members.dialect == "pax" else "gnu"
        # Like tarfile, up to the first NUL, wherever the size says that the text ends.
        text = self._tar.read(payload, -(-size // BLOCK_BYTES) * BLOCK_BYTES)
        if kind == _GNU_NAME:
            self._override({b"path": text.partition(b"\0")[0]}, at)
        # Most PAX headers hold a time and nothing else.
        elif is_pax and (b"path=" in text or b"size=" in text or b"GNU.sparse" in text):
            records = dict(pax_records(text, at))
            if any(key.startswith(b"GNU.sparse.") for key in records):
                raise DamageError(at, "unsupported", _SPARSE)
            given = {key: value for key, value in records.items() if key in _OVERRIDING}
            if given and kind == _PAX_GLOBAL:
                raise DamageError(at, "unsupported", "a global PAX header gives all members one name or size")
            self._override(given, at)

    def _override(self, given: dict[bytes, bytes], at: int) -> None:
        """Note what overrides fields of the next header; of two values readers would take either."""
        for key, value in given.items():
            if not value or self._overrides.setdefault(key, value) != value:
                found = "two values" if value else "no value"
                raise DamageError(at, "bad_header", f"extension headers give a member's {key.decode()} {found}")

    def _add_member(self, block: bytes, start: int, at: int, size: int) -> int:
        """Note a member, or skip what is none; give the size of the payload that follows."""
        kind, overrides = block[156], self._overrides
        if overrides:
            self._overrides = {}
            if b"size" in overrides:
                size = read_digits(overrides[b"size"], 10, at)
        # V7 has no kind for folders.
        if not kind and block[:100].partition(b"\0")[0].endswith(b"/"):
            kind = _FOLDER
        if kind in _WITHOUT_PAYLOAD or kind in _NOTES:
            self.members.skipped_count += 1
            return size if kind in _NOTES else 0
        if kind not in _FILES:
            detail = _SPARSE if kind == _GNU_SPARSE else f"no two readers agree on members of kind {chr(kind)!r}"
            raise DamageError(at, "unsupported", detail)
        left = self._tar.size_bytes - at - BLOCK_BYTES
        if size > left:
            raise DamageError(at, "truncated", f"the member's payload needs {size:,} bytes, {left:,} are left")
        if b"path" in overrides:
            if overrides[b"path"].endswith(b"/"):
                raise DamageError(at, "bad_header", "a file is given the name of a folder")
            self._given_names[len(self.members.headers)] = overrides[b"path"]
        name = overrides[b"path"] if b"path" in overrides else block[:100].rstrip(b"\0")
        if name[-5:].lower() == b".json":
            self._check_json(at + BLOCK_BYTES, size)
        self._member_rows.append(len(self._blocks) - 1)
        self.members.starts.append(start)
        self.members.headers.append(at)
        self.members.sizes.append(size)
        return size

    def _check_json(self, payload: int, size: int) -> None:
        """Look into a small payload that came with the headers around it: the rewriting of ids needs an object."""
        if size > MAX_JSON_BYTES:
            flaw: str | None = f"it has {size:,} bytes, more than {MAX_JSON_BYTES:,} are not read"
        else:
            flaw = json_flaw(self._tar.read(payload, size))
        if flaw:
            self.members.bad_json[len(self.members.headers)] = flaw

    def _check_end(self, at: int) -> None:
        """Require the second end block, and nothing but zeros behind it."""
        if self._tar.read(at + BLOCK_BYTES, BLOCK_BYTES) != _ZERO_BLOCK:
            is_last = self._tar.size_bytes <= at + BLOCK_BYTES
            found = "one zero block ends the tar" if is_last else "a lone zero block stands in the tar"
            raise DamageError(at, "truncated", f"{found}, two are needed")
        for begin in range(at, self._tar.size_bytes, _MAX_WINDOW_BYTES):
            rest = self._tar.read(begin, min(_MAX_WINDOW_BYTES, self._tar.size_bytes - begin))
            if rest.count(0) != len(rest):
                offset = begin + len(rest) - len(rest.lstrip(b"\0"))
                detail = "data follows the end of the tar; readers stop there and would lose it"
                raise DamageError(offset, "trailing_data", detail)


class _Window:
    """A tar read through a small window: headers that stand close together come with one read."""

    def __init__(self, tar: RangeReader) -> None:
        self.size_bytes = tar.size_bytes
        self._tar = tar
        self._begin = 0
        self._data = b""
        self._step = _MIN_WINDOW_BYTES

    def read(self, offset: int, count: int) -> bytes:
        begin = offset - self._begin
        if begin < 0 or begin + count > len(self._data):
            # Where the last window was used to its end, members are small: look further ahead.
            is_near = 0 <= begin <= len(self._data) + BLOCK_BYTES
            self._step = min(4 * self._step, _MAX_WINDOW_BYTES) if is_near else _MIN_WINDOW_BYTES
            self._data = self._tar.read(offset, max(count, self._step))
            self._begin, begin = offset, 0
        return self._data[begin : begin + count]
