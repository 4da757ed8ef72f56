"""Read the fields of tar headers: numbers, names, checksums, PAX records.

Source:
    POSIX.1-2017 (ustar, pax), the GNU tar manual (base-256 numbers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from shardwright.errors import TarReason
from shardwright.format.headers import NAME_BYTES, Bytes, Flags, Longs

_JSON = np.frombuffer(b".json", dtype=np.uint8)
_SMALL = np.array([0, 32, 32, 32, 32], dtype=np.uint8)
_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")


class DamageError(Exception):
    """A tar can't be read on from an offset."""

    def __init__(self, offset: int, reason: TarReason, detail: str) -> None:
        super().__init__(detail)
        self.offset, self.reason, self.detail = offset, reason, detail


def read_number(field: bytes, at: int) -> int:
    """Read a header's number: octal, or GNU's base-256 where the first bit is set."""
    # As nearly all are written: digits and a NUL.
    if not field[-1] and field[:-1].isdigit():
        return read_digits(field[:-1], 8, at)
    # 0xff leads a negative number.
    if 0x80 <= field[0] < 0xFF:
        return int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
    return read_digits(field.rstrip(b" \0").lstrip(b" ") or b"0", 8, at)


def read_digits(text: bytes, base: int, at: int) -> int:
    try:
        # int() would also take signs, prefixes and underscores.
        number = int(text, base) if text.isdigit() else -1
    except ValueError:
        number = -1
    if number < 0:
        raise DamageError(at, "bad_header", f"the header's size field is {text[:30]!r}")
    return number


def pax_records(payload: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    done = 0
    while done < len(payload) and payload[done]:
        match = _PAX_RECORD.match(payload, done)
        length = int(match[1]) if match else 0
        if not match or not match.end() < done + length <= len(payload) or payload[done + length - 1] != ord("\n"):
            raise DamageError(at, "bad_header", "a PAX header holds a record that can't be read")
        yield match[2], payload[match.end() : done + length - 1]
        done += length


def first_bad_checksum(rows: Bytes) -> int | None:
    """Find the first header whose checksum is wrong; None when all are right.

    Args:
        rows: Shape ``(headers, 512)``.
    """
    odd = np.flatnonzero(~_plainly_right(rows))
    bad = odd[~_right(rows[odd])]
    return int(bad[0]) if len(bad) else None


def _plainly_right(rows: Bytes) -> Flags:
    """Tell which checksums are right and written as nearly all writers do: six digits, a NUL, a blank."""
    digits = rows[:, 148:154] - np.uint8(ord("0"))  # what is no digit wraps round to more than 7
    stated = digits.astype(np.uint32) @ (8 ** np.arange(5, -1, -1, dtype=np.uint32))
    found = rows.sum(axis=1, dtype=np.uint32) - rows[:, 148:156].sum(axis=1, dtype=np.uint32) + 8 * ord(" ")
    is_plain = (digits.max(axis=1, initial=0) <= 7) & (rows[:, 154] == 0) & (rows[:, 155] == ord(" "))
    return np.asarray(is_plain & (stated == found))


def _right(rows: Bytes) -> Flags:
    stated = _octal(rows[:, 148:156])
    outside = np.delete(rows, np.s_[148:156], axis=1)
    unsigned = outside.sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    # Some old writers summed signed characters.
    signed = outside.view(np.int8).sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    return np.asarray((stated == unsigned) | (stated == signed))


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


def member_names(rows: Bytes, given: Mapping[int, bytes]) -> pa.Array:
    """Read names as the tar has them: bytes up to the first NUL, behind ustar's prefix.

    Args:
        rows: Shape ``(headers, 512)``.
        given: Names that extension headers gave, by row.
    """
    field = rows[:, :NAME_BYTES]
    widths = (field == 0).argmax(axis=1)  # where there is no NUL, 0, as for an empty name
    widths[(widths == 0) & (field[:, 0] != 0)] = NAME_BYTES
    longest = int(widths.max(initial=0))
    data = field[:, :longest][np.arange(longest) < widths[:, None]]
    names = binary_array(pa.binary(), widths, data)
    # GNU's old format keeps other things where ustar keeps the prefix.
    is_ustar = (rows[:, 257:263] == np.frombuffer(b"ustar\0", dtype=np.uint8)).all(axis=1)
    prefixed = np.flatnonzero(is_ustar & (rows[:, 345] != 0))
    if not len(prefixed) and not given:
        return names
    listed = names.to_pylist()
    for row in prefixed:
        listed[row] = rows[row, 345:500].tobytes().partition(b"\0")[0] + b"/" + listed[row]
    for row, name in given.items():
        listed[row] = name
    return pa.array(listed, pa.binary())


def named_json(names: pa.Array, places: Longs) -> Flags:
    """Tell which of the names at these places end in ``.json``, whatever the case."""
    offsets = np.frombuffer(names.buffers()[1], dtype=np.int32)
    data = np.frombuffer(names.buffers()[2] or b"", dtype=np.uint8)
    is_json = offsets[places + 1] - offsets[places] >= len(_JSON)
    ends = offsets[places + 1][is_json]
    tails = data[ends[:, None] + np.arange(-len(_JSON), 0)]
    # This bit is all that tells small letters from capitals; no other two characters here differ by it.
    is_json[is_json] = ((tails | _SMALL) == _JSON).all(axis=1)
    return is_json


def binary_array(kind: pa.DataType, widths: Longs, data: Bytes) -> pa.Array:
    """Make an array of strings or binaries from their lengths in bytes and their bytes, one behind the other."""
    offsets = np.zeros(len(widths) + 1, dtype=np.int32)
    np.cumsum(widths, out=offsets[1:])
    return pa.Array.from_buffers(kind, len(widths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
