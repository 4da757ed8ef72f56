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

_USTAR = np.frombuffer(b"ustar\0", dtype=np.uint8)
_JSON = b".json"
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
    # Gathered as two numbers a row, which is seven times faster than as eight bytes.
    field = np.ascontiguousarray(np.ascontiguousarray(rows.view(np.uint32)[:, 37:39]).view(np.uint8).T)
    digits = field[:6] - np.uint8(ord("0"))  # what is no digit wraps round to more than 7
    is_plain = (digits <= 7).all(axis=0) & (field[6] == 0) & (field[7] == ord(" "))
    stated = np.zeros(len(rows), dtype=np.uint32)
    for digit in digits:
        stated = stated * 8 + digit
    found = rows.sum(axis=1, dtype=np.uint32) - field.sum(axis=0, dtype=np.uint32) + 8 * ord(" ")
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


def member_names(rows: Bytes, members: Longs, given: Mapping[int, bytes]) -> pa.BinaryArray:
    """Read names as the tar has them: bytes up to the first NUL, behind ustar's prefix.

    Args:
        rows: Shape ``(headers, 512)``.
        members: The rows to read.
        given: Names that extension headers gave, by place in ``members``.
    """
    field = rows[:, :NAME_BYTES][members]
    widths = (field == 0).argmax(axis=1)
    widths[field[np.arange(len(field)), widths] != 0] = NAME_BYTES  # there is no NUL
    longest = int(widths.max(initial=0))
    data = field[:, :longest][np.arange(longest) < widths[:, None]]
    names = binary_array(pa.binary(), widths, data)
    # GNU's old format keeps other things where ustar keeps the prefix.
    prefixed = np.flatnonzero((rows[members, 345] != 0) & (rows[members, 257:263] == _USTAR).all(axis=1))
    if not len(prefixed) and not given:
        return names
    listed = names.to_pylist()
    for place in prefixed.tolist():
        listed[place] = rows[members[place], 345:500].tobytes().partition(b"\0")[0] + b"/" + listed[place]
    for place, name in given.items():
        listed[place] = name
    return pa.array(listed, pa.binary())


def named_json(names: pa.BinaryArray, places: Longs) -> Longs:
    """Give those of the places whose names end in ``.json``, whatever the case."""
    ends = np.frombuffer(names.buffers()[1], dtype=np.int32)
    data = np.frombuffer(names.buffers()[2] or b"", dtype=np.uint8)
    places = places[ends[places + 1] - ends[places] >= len(_JSON)]
    # Most names differ in the last letter already. The bit is all that tells small letters from capitals.
    for back, (letter, case_bit) in enumerate(zip(_JSON[::-1], b"    \0", strict=True), start=1):
        places = places[data[ends[places + 1] - back] | np.uint8(case_bit) == letter]
    return places


def binary_array(kind: pa.DataType, widths: Longs, data: Bytes) -> pa.Array:
    """Make an array of strings or binaries from their lengths in bytes and their bytes, one behind the other."""
    offsets = np.zeros(len(widths) + 1, dtype=np.int32)
    np.cumsum(widths, out=offsets[1:])
    return pa.Array.from_buffers(kind, len(widths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
