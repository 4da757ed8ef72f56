"""Sizes and checksums of files."""

from __future__ import annotations

from typing import NamedTuple

import xxhash


class FileSum(NamedTuple):
    """Size and checksum of a file that was written or read."""

    size_bytes: int
    checksum: str


def sum_file(path: str) -> FileSum:
    """Read a file for its size and checksum."""
    digest = xxhash.xxh3_128()
    size = 0
    with open(path, "rb", buffering=0) as file:
        buffer = memoryview(bytearray(1 << 20))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size += count
    return FileSum(size, checksum_text(digest))


def checksum_text(digest: xxhash.xxh3_128) -> str:
    """Give a checksum as tables and manifests hold it: ``xxh3-128:<hex>``."""
    return f"xxh3-128:{digest.hexdigest()}"
