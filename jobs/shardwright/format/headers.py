"""The 512-byte blocks of a tar: headers built for many members at once.

Source:
    POSIX.1-2017, pax, ustar interchange format.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

BLOCK_BYTES = 512
# What GNU tar and Python's tarfile pad a tar to.
RECORD_BYTES = 10_240
NAME_BYTES = 100
PREFIX_BYTES = 155
MAX_MEMBER_BYTES = 8**11 - 1

Bytes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_OCTAL_SHIFTS = 3 * np.arange(10, -1, -1, dtype=np.int64)


def _template() -> Bytes:
    """Give the header that all members share: name, prefix, size and checksum are still to be set."""
    header = bytearray(BLOCK_BYTES)
    header[100:108] = b"0000644\0"
    header[108:116] = b"0000000\0"
    header[116:124] = b"0000000\0"
    header[135:136] = b"\0"
    header[136:148] = b"00000000000\0"
    header[148:156] = b" " * 8
    header[156:157] = b"0"
    header[257:265] = b"ustar\x0000"
    return np.frombuffer(bytes(header), dtype=np.uint8)


_TEMPLATE = _template()


def block_count(sizes: Longs) -> Longs:
    """Count the blocks that payloads of these sizes fill."""
    return (sizes + (BLOCK_BYTES - 1)) // BLOCK_BYTES


def ustar_headers(names: pa.Array, sizes: Longs) -> Bytes:
    """Build the headers of regular files, one row of 512 bytes a member.

    Args:
        names: UTF-8 member names for which `ustar_split` is true.
        sizes: Payload sizes in bytes, at most `MAX_MEMBER_BYTES`.

    Returns:
        Shape ``(len(names), 512)``; mode 0644, owner and time 0, equal for equal input.
    """
    headers = np.tile(_TEMPLATE, (len(sizes), 1))
    name_field, prefix_field = _split_long(names)
    _put_strings(headers, 0, NAME_BYTES, name_field)
    if prefix_field is not None:
        _put_strings(headers, 345, PREFIX_BYTES, prefix_field)
    headers[:, 124:135] = ((sizes[:, None] >> _OCTAL_SHIFTS) & 7) + ord("0")
    checksums = headers.sum(axis=1, dtype=np.int64)
    headers[:, 148:154] = ((checksums[:, None] >> _OCTAL_SHIFTS[-6:]) & 7) + ord("0")
    headers[:, 154] = 0
    return headers


def ustar_split(name: bytes) -> tuple[bytes, bytes] | None:
    """Split a name into ustar's prefix and name fields; None when no split fits."""
    if len(name) <= NAME_BYTES:
        return b"", name
    # The shortest prefix will do, as in Python's tarfile.
    slash = name.find(b"/", len(name) - NAME_BYTES - 1)
    if not 0 < slash <= PREFIX_BYTES or slash == len(name) - 1:
        return None
    return name[:slash], name[slash + 1 :]


def _split_long(names: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    encoded = names.cast(pa.binary())
    if len(encoded) == 0 or int(np.diff(_string_offsets(encoded)).max()) <= NAME_BYTES:
        return encoded, None
    # Only names over 100 bytes bring us here: renumbered keys never do.
    splits = [ustar_split(name) for name in encoded.to_pylist()]
    if None in splits:
        raise ValueError(f"ustar can't hold the name {encoded[splits.index(None)].as_py()!r}")
    prefixes, bases = zip(*(split for split in splits if split), strict=True)
    return pa.array(bases, pa.binary()), pa.array(prefixes, pa.binary())


def _put_strings(headers: Bytes, start: int, width: int, strings: pa.Array) -> None:
    """Write one string a row, left-aligned; the rest of the field stays zero."""
    offsets = _string_offsets(strings)
    lengths = np.diff(offsets)
    data = np.frombuffer(strings.buffers()[2] or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    # Row-major order of the mask is the order of the concatenated strings.
    headers[:, start : start + width][np.arange(width) < lengths[:, None]] = data


def _string_offsets(strings: pa.Array) -> npt.NDArray[np.int32]:
    offsets = np.frombuffer(strings.buffers()[1], dtype=np.int32)
    return offsets[strings.offset : strings.offset + len(strings) + 1]
