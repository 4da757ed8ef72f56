"""Walk a tar from header to header: where its members lie, and where it is damaged.

Source:
    POSIX.1-2017 (ustar, pax), the GNU tar manual (long names, base-256 numbers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from mmap import mmap

import numpy as np

from shardwright.errors import TarReason
from shardwright.format.headers import BLOCK_BYTES, Bytes, Longs

Buffer = bytes | mmap

_ZERO_BLOCK = bytes(BLOCK_BYTES)
_CHECK_ROWS = 8_192
_MAX_EXTENSION_BYTES = 1 << 20
_PAX_GLOBAL, _PAX, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"gxLKS"
_EXTENSIONS = frozenset((_PAX_GLOBAL, _PAX, _GNU_NAME, _GNU_LINK))
# Links, devices, folders, pipes: whatever size their header states, no payload follows.
_WITHOUT_PAYLOAD = frozenset(b"123456")
_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")


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
        self.skipped_count = 0  # folders, links, devices
        self.damage: DamageError | None = None
        self.dialect = "v7"


def list_members(buffer: Buffer) -> Members:
    """List a tar's members; payloads are not touched, and damage ends the list where it stands."""
    walk = _Walk(buffer)
    try:
        walk.run()
    except DamageError as damage:
        walk.members.damage = damage
    _check_headers(buffer, walk)
    walk.members.dialect = _dialect(buffer, walk)
    return walk.members


class _Walk:
    """The way from header to header up to the end blocks."""

    def __init__(self, buffer: Buffer) -> None:
        self.members = Members()
        self.other_headers: list[int] = []  # of folders, links and extensions: only their checksum matters
        self.extensions: set[int] = set()
        self.given_names: dict[int, bytes] = {}  # member number to a name that an extension header gave
        self._buffer = buffer
        self._overrides: dict[bytes, bytes] = {}
        self._global_overrides: dict[bytes, bytes] = {}

    def run(self) -> None:
        buffer, end = self._buffer, len(self._buffer)
        if not end:
            raise DamageError(0, "truncated", "the file is empty, a tar ends with two zero blocks")
        at = start = 0  # start: where the extension headers of the coming member begin
        while True:
            if at + BLOCK_BYTES > end:
                found = "inside a header" if at < end else "without the two zero blocks that end a tar"
                raise DamageError(at, "truncated", f"the tar stops {found}")
            if buffer[at] == 0 and buffer[at : at + BLOCK_BYTES] == _ZERO_BLOCK:
                if start != at:
                    raise DamageError(start, "bad_header", "an extension header is followed by no member")
                return _check_end(buffer, at)
            size = _number(buffer[at + 124 : at + 136], at)
            kind = buffer[at + 156]
            if kind in _EXTENSIONS:
                self._read_extension(kind, at, size)
            else:
                size = self._add_member(kind, start, at, size)
            at += BLOCK_BYTES + -(-size // BLOCK_BYTES) * BLOCK_BYTES
            if kind not in _EXTENSIONS:
                start = at

    def _read_extension(self, kind: int, at: int, size: int) -> None:
        """Note what an extension header says of the next member (or, a global one, of all that follow)."""
        payload = at + BLOCK_BYTES
        if size > _MAX_EXTENSION_BYTES or payload + size > len(self._buffer):
            raise DamageError(at, "bad_header", f"an extension header of {size:,} bytes can't be read")
        self.other_headers.append(at)
        self.extensions.add(kind)
        text = self._buffer[payload : payload + size]
        if kind == _GNU_NAME:
            self._overrides[b"path"] = text.rstrip(b"\0")
        # Most PAX headers hold a time and nothing else.
        elif kind != _GNU_LINK and (b"path=" in text or b"size=" in text or b"GNU.sparse" in text):
            overrides = self._global_overrides if kind == _PAX_GLOBAL else self._overrides
            overrides.update(_pax_records(text, at))

    def _add_member(self, kind: int, start: int, at: int, size: int) -> int:
        """Note a member, or skip what is none; give the size of the payload that follows."""
        overrides = self._overrides
        if self._global_overrides or overrides:
            overrides = {**self._global_overrides, **overrides}
            self._overrides = {}
            if b"size" in overrides:
                size = _number(overrides[b"size"], at, base=10)
        if kind == _GNU_SPARSE or b"GNU.sparse.major" in overrides:
            detail = "sparse members can't be copied byte for byte; write the tar without --sparse"
            raise DamageError(at, "unsupported", detail)
        if kind in _WITHOUT_PAYLOAD:
            self.other_headers.append(at)
            self.members.skipped_count += 1
            return 0
        left = len(self._buffer) - at - BLOCK_BYTES
        if size > left:
            raise DamageError(at, "truncated", f"the member's payload needs {size:,} bytes, {left:,} are left")
        if b"path" in overrides:
            self.given_names[len(self.members.headers)] = overrides[b"path"]
        self.members.starts.append(start)
        self.members.headers.append(at)
        self.members.sizes.append(size)
        return size


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


def _check_end(buffer: Buffer, at: int) -> None:
    """Require the second end block, and nothing but zeros behind it."""
    if buffer[at + BLOCK_BYTES : at + 2 * BLOCK_BYTES] != _ZERO_BLOCK:
        found = (
            "one zero block ends the tar" if len(buffer) <= at + BLOCK_BYTES else "a lone zero block stands in the tar"
        )
        raise DamageError(at, "truncated", f"{found}, two are needed")
    step = 1 << 20
    for begin in range(at, len(buffer), step):
        rest = buffer[begin : begin + step]
        if rest.count(0) != len(rest):
            offset = begin + len(rest) - len(rest.lstrip(b"\0"))
            raise DamageError(
                offset, "trailing_data", "data follows the end of the tar; readers stop there and would lose it"
            )


def _check_headers(buffer: Buffer, walk: _Walk) -> None:
    """Verify every header's checksum and read the names; cut the members at the first bad header."""
    members = walk.members
    bad = [
        offset
        for offset in (_first_bad(buffer, members.headers), _first_bad(buffer, walk.other_headers))
        if offset >= 0
    ]
    if bad:
        # What the walk met behind a bad header means nothing.
        members.damage = DamageError(min(bad), "bad_header", "the header's checksum is wrong")
        good = int(np.searchsorted(np.array(members.headers, dtype=np.int64), min(bad)))
        del members.starts[good:], members.headers[good:], members.sizes[good:]
    for rows in _header_rows(buffer, members.headers):
        members.names += _names(rows)
    for number, name in walk.given_names.items():
        if number < len(members.names):
            members.names[number] = name


def _header_rows(buffer: Buffer, offsets: list[int]) -> Iterator[Bytes]:
    blocks = np.frombuffer(buffer, dtype=np.uint8, count=len(buffer) // BLOCK_BYTES * BLOCK_BYTES).reshape(
        -1, BLOCK_BYTES
    )
    indices = np.array(offsets, dtype=np.int64) // BLOCK_BYTES
    for begin in range(0, len(indices), _CHECK_ROWS):
        yield blocks[indices[begin : begin + _CHECK_ROWS]]


def _first_bad(buffer: Buffer, offsets: list[int]) -> int:
    """Find the first header whose checksum does not fit; -1 when all do."""
    begin = 0
    for rows in _header_rows(buffer, offsets):
        stated = _octal(rows[:, 148:156])
        outside = np.delete(rows, np.s_[148:156], axis=1)
        unsigned = outside.sum(axis=1, dtype=np.int64) + 8 * ord(" ")
        # Some old writers summed signed characters.
        signed = outside.view(np.int8).sum(axis=1, dtype=np.int64) + 8 * ord(" ")
        bad = np.flatnonzero((stated != unsigned) & (stated != signed))
        if len(bad):
            return offsets[begin + int(bad[0])]
        begin += len(rows)
    return -1


def _octal(fields: Bytes) -> Longs:
    """Read octal fields, one a row: leading blanks, digits, then anything."""
    values = np.zeros(len(fields), dtype=np.int64)
    ended = np.zeros(len(fields), dtype=bool)
    begun = np.zeros(len(fields), dtype=bool)
    for column in fields.T:
        is_digit = (column >= ord("0")) & (column <= ord("7"))
        ended |= begun & ~is_digit
        begun |= is_digit
        values = np.where(is_digit & ~ended, values * 8 + (column & 7), values)
    return values


def _names(rows: Bytes) -> list[bytes]:
    names: list[bytes] = np.ascontiguousarray(rows[:, :100]).view("S100")[:, 0].tolist()
    names = [name.partition(b"\0")[0] if b"\0" in name else name for name in names]
    # GNU's old format keeps other things where ustar keeps the prefix.
    is_ustar = (rows[:, 257:263] == np.frombuffer(b"ustar\0", dtype=np.uint8)).all(axis=1)
    for row in np.flatnonzero(is_ustar & (rows[:, 345] != 0)):
        names[row] = rows[row, 345:500].tobytes().partition(b"\0")[0] + b"/" + names[row]
    return names


def _dialect(buffer: Buffer, walk: _Walk) -> str:
    if walk.extensions & {_PAX, _PAX_GLOBAL}:
        return "pax"
    headers = walk.members.headers
    magic = buffer[headers[0] + 257 : headers[0] + 265] if headers else b""
    if magic == b"ustar  \0" or walk.extensions:
        return "gnu"
    return "ustar" if magic.startswith(b"ustar\0") else "v7"
