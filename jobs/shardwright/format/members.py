"""Walk a tar from header to header: where its members lie, and where it is damaged.

JSON members are looked into as well: they are small and lie between headers, so that they come with them.

Source:
    POSIX.1-2017 (ustar, pax), the GNU tar manual (long names, base-256 numbers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from shardwright.errors import TarReason
from shardwright.format.headers import BLOCK_BYTES, Bytes, Longs
from shardwright.format.json_id import MAX_JSON_BYTES, json_flaw

_ZERO_BLOCK = bytes(BLOCK_BYTES)
_CHECK_ROWS = 8_192
# A caption and a JSON, with their headers, come with the header of the image behind them.
_MIN_WINDOW_BYTES, _MAX_WINDOW_BYTES = 8 << 10, 1 << 20
_MAX_EXTENSION_BYTES = 1 << 20
_PAX_GLOBAL, _PAX, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"gxLKS"
_EXTENSIONS = frozenset((_PAX_GLOBAL, _PAX, _GNU_NAME, _GNU_LINK))
# Links, devices, folders, pipes: whatever size their header states, no payload follows.
_WITHOUT_PAYLOAD = frozenset(b"123456")
_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")


class RangeReader(Protocol):
    """A tar that can be read in ranges."""

    size_bytes: int

    def read(self, offset: int, count: int) -> bytes:
        """Read a range; fewer bytes only where the tar ends."""


class DamageError(Exception):
    """A tar can't be read on from an offset."""

    def __init__(self, offset: int, reason: TarReason, detail: str) -> None:
        super().__init__(detail)
        self.offset, self.reason, self.detail = offset, reason, detail


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
        self._global_overrides: dict[bytes, bytes] = {}
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
            size = _number(block[124:136], at)
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
        bad = _first_bad(rows)
        members = self.members
        sound = np.array([row for row in self._member_rows if bad is None or row < bad], dtype=np.int64)
        first_number = len(members.names)
        members.names += _names(rows[sound])
        for number in range(first_number, len(members.names)):
            if number in self._given_names:
                members.names[number] = self._given_names.pop(number)
        if not first_number and len(sound):
            self._name_dialect(rows[sound[0], 257:265].tobytes())
        if bad is not None:
            raise DamageError(self._offsets[bad], "bad_header", "the header's checksum is wrong")
        for waiting in (self._blocks, self._offsets, self._member_rows):
            waiting.clear()

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
        text = self._tar.read(payload, size)
        if kind == _GNU_NAME:
            self._overrides[b"path"] = text.rstrip(b"\0")
        # Most PAX headers hold a time and nothing else.
        elif is_pax and (b"path=" in text or b"size=" in text or b"GNU.sparse" in text):
            overrides = self._global_overrides if kind == _PAX_GLOBAL else self._overrides
            overrides.update(_pax_records(text, at))

    def _add_member(self, block: bytes, start: int, at: int, size: int) -> int:
        """Note a member, or skip what is none; give the size of the payload that follows."""
        kind, overrides = block[156], self._overrides
        if self._global_overrides or overrides:
            overrides = {**self._global_overrides, **overrides}
            self._overrides = {}
            if b"size" in overrides:
                size = _number(overrides[b"size"], at, base=10)
        if kind == _GNU_SPARSE or b"GNU.sparse.major" in overrides:
            detail = "sparse members can't be copied byte for byte; write the tar without --sparse"
            raise DamageError(at, "unsupported", detail)
        if kind in _WITHOUT_PAYLOAD:
            self.members.skipped_count += 1
            return 0
        left = self._tar.size_bytes - at - BLOCK_BYTES
        if size > left:
            raise DamageError(at, "truncated", f"the member's payload needs {size:,} bytes, {left:,} are left")
        if b"path" in overrides:
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


def _number(field: bytes, at: int, base: int = 8) -> int:
    """Read a header's number: octal, or GNU's base-256 where the first bit is set."""
    try:
        if field[0] & 0x80:
            number = int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
            # 0xff leads a negative number.
            number = -1 if field[0] == 0xFF else number
        else:
            number = int(field.rstrip(b" \0") or b"0", base)
    except (ValueError, IndexError):
        number = -1
    if number < 0:
        raise DamageError(at, "bad_header", f"the header's size field is {field!r}")
    return number


def _pax_records(payload: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    done = 0
    while done < len(payload):
        match = _PAX_RECORD.match(payload, done)
        length = int(match[1]) if match else 0
        if not match or not match.end() < done + length <= len(payload) or payload[done + length - 1] != ord("\n"):
            raise DamageError(at, "bad_header", "a PAX header holds a record that can't be read")
        yield match[2], payload[match.end() : done + length - 1]
        done += length


def _first_bad(rows: Bytes) -> int | None:
    """Find the first header whose checksum is wrong; None when all are right."""
    stated = _octal(rows[:, 148:156])
    outside = np.delete(rows, np.s_[148:156], axis=1)
    unsigned = outside.sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    # Some old writers summed signed characters.
    signed = outside.view(np.int8).sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    bad = np.flatnonzero((stated != unsigned) & (stated != signed))
    return int(bad[0]) if len(bad) else None


def _octal(fields: Bytes) -> Longs:
    """Read octal fields, one a row: digits between blanks and NULs; -1 where anything else stands."""
    values: Longs = np.zeros(len(fields), dtype=np.int64)
    ended = np.zeros(len(fields), dtype=bool)
    begun = np.zeros(len(fields), dtype=bool)
    for column in fields.T:
        is_digit = (column >= ord("0")) & (column <= ord("7"))
        ended |= begun & ~is_digit
        begun |= is_digit
        values = np.where(is_digit & ~ended, values * 8 + (column & 7), values)
    is_legal = ((fields >= ord("0")) & (fields <= ord("7"))) | (fields == ord(" ")) | (fields == 0)
    values[~is_legal.all(axis=1)] = -1
    return values


def _names(rows: Bytes) -> list[bytes]:
    names: list[bytes] = np.ascontiguousarray(rows[:, :100]).view("S100")[:, 0].tolist()
    names = [name.partition(b"\0")[0] if b"\0" in name else name for name in names]
    # GNU's old format keeps other things where ustar keeps the prefix.
    is_ustar = (rows[:, 257:263] == np.frombuffer(b"ustar\0", dtype=np.uint8)).all(axis=1)
    for row in np.flatnonzero(is_ustar & (rows[:, 345] != 0)):
        names[row] = rows[row, 345:500].tobytes().partition(b"\0")[0] + b"/" + names[row]
    return names
