"""List the samples of a tar from its headers alone.

Source:
    POSIX.1-2017 (ustar, pax), the GNU tar manual (long names, base-256 numbers); grouping as in
    webdataset's ``group_by_keys``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardwright.errors import Problem
from shardwright.format.headers import BLOCK_BYTES, MAX_MEMBER_BYTES, Bytes, Longs, block_count
from shardwright.format.names import split_name, unsafe_name

SAMPLES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("sample_offset", pa.int64(), nullable=False),
        pa.field("sample_bytes", pa.int64(), nullable=False),
        pa.field("written_bytes", pa.int64(), nullable=False),
        pa.field("member_exts", pa.list_(pa.string()), nullable=False),
        pa.field("payload_offsets", pa.list_(pa.int64()), nullable=False),
        pa.field("payload_bytes", pa.list_(pa.int64()), nullable=False),
    ]
)

Buffer = bytes | mmap

_ZERO_BLOCK = bytes(BLOCK_BYTES)
_CHECK_ROWS = 8_192
_MAX_EXTENSION_BYTES = 1 << 20
_PAX_GLOBAL, _PAX, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"gxLKS"
_EXTENSIONS = frozenset((_PAX_GLOBAL, _PAX, _GNU_NAME, _GNU_LINK))
# Links, devices, folders, pipes: whatever size their header states, no payload follows.
_WITHOUT_PAYLOAD = frozenset(b"123456")
_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")


class ShardIndex(NamedTuple):
    """What the headers of one tar say.

    ``samples`` has one row a sound sample, in tar order, offsets and sizes in bytes from the start
    of the tar (schema `SAMPLES`). ``sample_bytes`` runs from its first header to the end of its last
    padded payload, ``written_bytes`` is what it takes in a tar of ours. ``sample_count`` counts the
    unsound samples too, which ``problems`` names; the longest names tell whether ours can hold them.
    """

    samples: pa.Table
    sample_count: int
    longest_name_bytes: int
    longest_ext_bytes: int
    member_count: int
    skipped_count: int
    dialect: str
    problems: list[Problem]


class _Damage(Exception):
    """The tar can't be read on from here."""

    def __init__(self, offset: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.offset, self.reason, self.detail = offset, reason, detail


class _Members:
    """The members of a tar, column by column, as the hop over its headers meets them."""

    def __init__(self) -> None:
        self.starts: list[int] = []  # first header, extension headers included
        self.headers: list[int] = []
        self.sizes: list[int] = []
        self.names: dict[int, bytes] = {}  # names that an extension header gave
        self.other_headers: list[int] = []  # folders, links, extension headers: only their checksum matters
        self.skipped_count = 0
        self.extended: set[int] = set()
        self.damage: list[_Damage] = []


def scan_tar(buffer: Buffer, shard: str) -> ShardIndex:
    """List a tar's samples; problems are returned, never raised.

    Args:
        buffer: The whole tar, mapped or in memory. Payloads are not touched.
        shard: What problems call it.
    """
    members = _Members()
    try:
        _hop(buffer, members)
    except _Damage as damage:
        members.damage.append(damage)
    raw_names = _check_headers(buffer, members)
    samples, sample_count, problems = _group(members, raw_names, shard)
    problems += [Problem(shard, None, damage.offset, damage.reason, damage.detail) for damage in members.damage]
    return ShardIndex(
        samples,
        sample_count,
        max(map(len, raw_names), default=0),
        max(
            (
                len(ext)
                for ext in pc.unique(samples["member_exts"].combine_chunks().flatten().cast(pa.binary())).to_pylist()
            ),
            default=0,
        ),
        len(members.headers),
        members.skipped_count,
        _dialect(buffer, members),
        problems,
    )


def _hop(buffer: Buffer, members: _Members) -> None:
    """Go from header to header up to the end blocks."""
    end = len(buffer)
    at = 0
    start = 0  # where the extension headers of the coming member begin
    overrides: dict[bytes, bytes] = {}
    global_overrides: dict[bytes, bytes] = {}
    if not end:
        raise _Damage(0, "truncated", "the file is empty, a tar ends with two zero blocks")
    while True:
        if at + BLOCK_BYTES > end:
            found = "inside a header" if at < end else "without the two zero blocks that end a tar"
            raise _Damage(at, "truncated", f"the tar stops {found}")
        if buffer[at] == 0 and buffer[at : at + BLOCK_BYTES] == _ZERO_BLOCK:
            if start != at:
                raise _Damage(start, "bad_header", "an extension header is followed by no member")
            return _check_end(buffer, at)
        size = _number(buffer[at + 124 : at + 136], at)
        kind = buffer[at + 156]
        payload = at + BLOCK_BYTES
        if kind in _EXTENSIONS:
            members.other_headers.append(at)
            members.extended.add(kind)
            if size > _MAX_EXTENSION_BYTES or payload + size > end:
                raise _Damage(at, "bad_header", f"an extension header of {size:,} bytes can't be read")
            _extend(kind, buffer[payload : payload + size], global_overrides if kind == _PAX_GLOBAL else overrides, at)
            at = payload + -(-size // BLOCK_BYTES) * BLOCK_BYTES
            continue
        if global_overrides:
            overrides = {**global_overrides, **overrides}
        if b"size" in overrides:
            size = _number(overrides[b"size"], at, base=10)
        if kind == _GNU_SPARSE or b"GNU.sparse.major" in overrides:
            raise _Damage(
                at, "unsupported", "sparse members can't be copied byte for byte; write the tar without --sparse"
            )
        if kind in _WITHOUT_PAYLOAD:
            members.other_headers.append(at)
            members.skipped_count += 1
            size = 0
        else:
            if b"path" in overrides:
                members.names[len(members.headers)] = overrides[b"path"]
            members.starts.append(start)
            members.headers.append(at)
            members.sizes.append(size)
        at = payload + -(-size // BLOCK_BYTES) * BLOCK_BYTES
        if payload + size > end:
            raise _Damage(payload, "truncated", f"a member needs {size:,} bytes, {max(0, end - payload):,} are left")
        start = at
        if overrides:
            overrides = {}


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
        raise _Damage(at, "bad_header", f"the header's size field is {field!r}")
    return number


def _extend(kind: int, payload: bytes, overrides: dict[bytes, bytes], at: int) -> None:
    """Note what an extension header says of the next member (or, for a global one, of all)."""
    if kind == _GNU_NAME:
        overrides[b"path"] = payload.rstrip(b"\0")
    elif kind in (_PAX, _PAX_GLOBAL) and (b"path=" in payload or b"size=" in payload or b"GNU.sparse" in payload):
        overrides.update(_pax_records(payload, at))


def _pax_records(payload: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    done = 0
    while done < len(payload):
        match = _PAX_RECORD.match(payload, done)
        length = int(match[1]) if match else 0
        if not match or not match.end() < done + length <= len(payload) or payload[done + length - 1] != ord("\n"):
            raise _Damage(at, "bad_header", "a PAX header holds a record that can't be read")
        yield match[2], payload[match.end() : done + length - 1]
        done += length


def _check_end(buffer: Buffer, at: int) -> None:
    """Require the second end block, and nothing but zeros behind it."""
    if buffer[at + BLOCK_BYTES : at + 2 * BLOCK_BYTES] != _ZERO_BLOCK:
        found = (
            "one zero block ends the tar" if len(buffer) <= at + BLOCK_BYTES else "a lone zero block stands in the tar"
        )
        raise _Damage(at, "truncated", f"{found}, two are needed")
    step = 1 << 20
    for begin in range(at, len(buffer), step):
        rest = buffer[begin : begin + step]
        if rest.count(0) != len(rest):
            offset = begin + len(rest) - len(rest.lstrip(b"\0"))
            raise _Damage(
                offset, "trailing_data", "data follows the end of the tar; readers stop there and would lose it"
            )


def _check_headers(buffer: Buffer, members: _Members) -> list[bytes]:
    """Verify every header's checksum and give the raw member names; cut the members at the first bad header."""
    bad = min(
        (
            offset
            for offset in (_first_bad(buffer, members.headers), _first_bad(buffer, members.other_headers))
            if offset >= 0
        ),
        default=-1,
    )
    if bad >= 0:
        good = int(np.searchsorted(np.array(members.headers, dtype=np.int64), bad))
        del members.starts[good:], members.headers[good:], members.sizes[good:]
        # What the hop met behind a bad header means nothing.
        members.damage = [_Damage(bad, "bad_header", "the header's checksum is wrong")]
    raw_names: list[bytes] = []
    for rows in _header_rows(buffer, members.headers):
        raw_names += _names(rows)
    for index, name in members.names.items():
        if index < len(raw_names):
            raw_names[index] = name
    return raw_names


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


def _group(members: _Members, raw_names: list[bytes], shard: str) -> tuple[pa.Table, int, list[Problem]]:
    """Group consecutive members by key; set samples aside that no reader would read alike."""
    keys: list[str] = []
    firsts: list[int] = []
    exts: list[str] = []
    kept_members: list[int] = []
    unsound: dict[str, Problem] = {}
    seen: set[str] = set()
    for index, raw in enumerate(raw_names):
        try:
            name = raw.decode()
            why = None
        except UnicodeDecodeError:
            name = raw.decode(errors="backslashreplace")
            why = "the name is not UTF-8"
        split = None if name.endswith("/") else split_name(name)
        if split is None:
            members.skipped_count += 1
            continue
        key, ext = split
        if not keys or key != keys[-1]:
            keys.append(key)
            firsts.append(len(exts))
            seen.clear()
        lowered = ext.lower()
        if why := why or unsafe_name(name):
            unsound.setdefault(key, Problem(shard, key, members.headers[index], "bad_name", why))
        elif members.sizes[index] > MAX_MEMBER_BYTES:
            detail = f"a member of {members.sizes[index]:,} bytes, ustar can hold {MAX_MEMBER_BYTES:,}"
            unsound.setdefault(key, Problem(shard, key, members.headers[index], "too_large", detail))
        elif lowered in seen:
            detail = f"two members '{ext}' but for case in one sample"
            unsound.setdefault(key, Problem(shard, key, members.headers[index], "duplicate_member", detail))
        seen.add(lowered)
        exts.append(ext)
        kept_members.append(index)
    if len(set(keys)) < len(keys):
        for key, count in Counter(keys).items():
            if count > 1:
                where = members.headers[kept_members[firsts[len(keys) - 1 - keys[::-1].index(key)]]]
                detail = f"{count:,} groups of members in this shard have the key"
                unsound[key] = Problem(shard, key, where, "duplicate_key", detail)
    table = _table(members, keys, firsts, exts, kept_members)
    if unsound:
        table = table.filter(pa.array([key not in unsound for key in keys], pa.bool_()))
    return table, len(keys), list(unsound.values())


def _table(members: _Members, keys: list[str], firsts: list[int], exts: list[str], chosen: list[int]) -> pa.Table:
    indices = np.array(chosen, dtype=np.int64)
    starts = np.array(members.starts, dtype=np.int64)[indices]
    payloads = np.array(members.headers, dtype=np.int64)[indices] + BLOCK_BYTES
    sizes = np.array(members.sizes, dtype=np.int64)[indices]
    bounds = np.array([*firsts, len(exts)], dtype=np.int64)
    list_offsets = pa.array(bounds.astype(np.int32))
    lasts = bounds[1:] - 1
    sample_offsets = starts[bounds[:-1]]
    written = np.concatenate([[0], np.cumsum((1 + block_count(sizes)) * BLOCK_BYTES)])
    sample_ends = payloads[lasts] + block_count(sizes[lasts]) * BLOCK_BYTES
    return pa.table(
        [
            pa.array(keys, pa.string()),
            pa.array(sample_offsets, pa.int64()),
            pa.array(sample_ends - sample_offsets, pa.int64()),
            pa.array(np.diff(written[bounds]), pa.int64()),
            pa.ListArray.from_arrays(list_offsets, pa.array(exts, pa.string())),
            pa.ListArray.from_arrays(list_offsets, pa.array(payloads, pa.int64())),
            pa.ListArray.from_arrays(list_offsets, pa.array(sizes, pa.int64())),
        ],
        schema=SAMPLES,
    )


def _dialect(buffer: Buffer, members: _Members) -> str:
    if members.extended & {_PAX, _PAX_GLOBAL}:
        return "pax"
    magic = buffer[members.headers[0] + 257 : members.headers[0] + 265] if members.headers else b""
    if magic == b"ustar  \0" or members.extended:
        return "gnu"
    return "ustar" if magic.startswith(b"ustar\0") else "v7"
