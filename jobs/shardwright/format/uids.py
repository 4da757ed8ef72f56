"""Uids of 128 bits: keep lists hold them as two integers, tables as 32 hex digits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

UID_BYTES = 16
_DIGITS = 32
# Two hex digits for each byte, as they lie in memory.
_DIGIT_PAIRS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)


class UidFile(NamedTuple):
    """Where uids stand in a file: ``uid_count`` of them, one after another, from byte ``offset`` on."""

    path: str
    offset: int
    uid_count: int


def uid_texts(data: bytes) -> pa.StringArray:
    """Give uids as 32 lower-case hex digits, leading zeros included.

    Args:
        data: The high, then the low 64 bits of each, both little-endian: what NumPy calls ``u8,u8``.
    """
    highest_first = np.frombuffer(data, "<u8").astype(">u8").view(np.uint8)
    count = len(data) // UID_BYTES
    offsets = np.arange(0, _DIGITS * (count + 1), _DIGITS, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(_DIGIT_PAIRS[highest_first]))
