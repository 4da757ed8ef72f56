"""Read a tar through a window: headers that stand close together come with one read, payloads are passed over."""

from __future__ import annotations

from typing import Protocol

from shardwright.format.headers import BLOCK_BYTES

MAX_WINDOW_BYTES = 1 << 20
# Up to here to read what lies between two headers takes no longer than another call, and a disk reads it anyway.
_NEAR_BYTES = 8 << 10
_FIRST_BYTES = 4 << 10
_FORGOTTEN = 4  # a quarter of what was too much, with each large payload


class RangeReader(Protocol):
    """A tar that can be read in ranges."""

    size_bytes: int

    def read(self, offset: int, count: int) -> bytes:
        """Read a range; fewer bytes only where the tar ends."""


class Window:
    """What was read of a tar last: ``data``, from the offset ``begin`` on.

    Behind a large payload as much is read as stood together behind those before: a caption and a JSON, say, and the
    next image's header. Where all members are small, windows grow up to `MAX_WINDOW_BYTES`.
    """

    def __init__(self, tar: RangeReader) -> None:
        self.begin = 0
        self.data = b""
        self._tar = tar
        self._run_begin = 0  # where the last large payload ended
        self._run_bytes = _FIRST_BYTES

    def move(self, offset: int, seen_end: int) -> bytes:
        """Read from an offset on, a block at least, and give ``data``; it is shorter only where the tar ends.

        Args:
            offset: Behind the window, or so near its end that the window doesn't hold what is needed.
            seen_end: Where the last header ended; what was read behind it was of no use.
        """
        if offset - self.begin - len(self.data) < _NEAR_BYTES:
            count = min(max(offset - self._run_begin, self._run_bytes), MAX_WINDOW_BYTES)
        else:
            # Captions differ in length, and a second read costs more than a block too many: forget the longest slowly.
            needed = min(seen_end - self._run_begin, _NEAR_BYTES)
            count = self._run_bytes = max(needed, self._run_bytes + (needed - self._run_bytes) // _FORGOTTEN)
            self._run_begin = offset
        self.begin = offset
        self.data = self._tar.read(offset, count + BLOCK_BYTES - 1 & -BLOCK_BYTES)
        return self.data

    def read(self, offset: int, count: int) -> bytes:
        """Read a range, from the window where it lies there; fewer bytes only where the tar ends."""
        place = offset - self.begin
        if 0 <= place <= len(self.data) - count:
            return self.data[place : place + count]
        return self._tar.read(offset, count)
