"""Sizes and checksums of files."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import xxhash

from shardwright.files import read_chunks


class FileSum(NamedTuple):
    """Size and checksum of a file that was written or read."""

    size_bytes: int
    checksum: str


def sum_file(path: str) -> FileSum:
    """Read a file for its size and checksum."""
    digest = xxhash.xxh3_128()
    size = 0
    for chunk in read_chunks(path):
        digest.update(chunk)
        size += len(chunk)
    return FileSum(size, checksum_text(digest))


def checksum_text(digest: xxhash.xxh3_128) -> str:
    """Give a checksum as tables and manifests hold it: ``xxh3-128:<hex>``."""
    return f"xxh3-128:{digest.hexdigest()}"


class Summed(io.RawIOBase):
    """What is written through it is summed on the way."""

    def __init__(self, target: io.RawIOBase) -> None:
        self._target = target
        self._digest = xxhash.xxh3_128()
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._target.write(data)
        self._digest.update(data)
        self._size += len(data)
        return len(data)

    def sum(self) -> FileSum:
        """Give the size and checksum of what was written so far."""
        return FileSum(self._size, checksum_text(self._digest))
