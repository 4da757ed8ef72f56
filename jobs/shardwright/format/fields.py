"""Read the fields of tar headers: numbers, names, checksums, PAX records.

Source:
    POSIX.1-2017 (ustar, pax), the GNU tar manual (base-256 numbers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from shardwright.errors import TarReason
from shardwright.format.headers import Bytes, Longs

_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")


class DamageError(Exception):
    """A tar can't be read on from an offset."""

    def __init__(self, offset: int, reason: TarReason, detail: str) -> None:
        super().__init__(detail)
        self.offset, self.reason, self.detail = offset, reason, detail


def read_number(field: bytes, at: int) -> int:
    """Read a header's number: octal, or GNU's base-256 where the first bit is set."""
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


def member_names(rows: Bytes) -> list[bytes]:
    names: list[bytes] = np.ascontiguousarray(rows[:, :100]).view("S100")[:, 0].tolist()
    names = [name.partition(b"\0")[0] if b"\0" in name else name for name in names]
    # GNU's old format keeps other things where ustar keeps the prefix.
    is_ustar = (rows[:, 257:263] == np.frombuffer(b"ustar\0", dtype=np.uint8)).all(axis=1)
    for row in np.flatnonzero(is_ustar & (rows[:, 345] != 0)):
        names[row] = rows[row, 345:500].tobytes().partition(b"\0")[0] + b"/" + names[row]
    return names
