"""Source tars as the shard writer reads them: many ranges at once, from a file system or a store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from shardwright.errors import ChangedError, DataError
from shardwright.format.blocks import Members, Reads, starts_range, starts_request
from shardwright.format.headers import BLOCK_BYTES, Bytes, Flags
from shardwright.local_files import OpenFile, ask_for, read_range
from shardwright.locations import FileInfo, is_url
from shardwright.object_files import StoreFile

if TYPE_CHECKING:
    from typing_extensions import Self

# Read and written at a time; with its gather a task holds about three of these, and all of them lie in a core's share
# of the cache: four times as much takes half as long again.
BUFFER_BYTES = 2 << 20
# Reading through a gap of this size costs a file system about as much as another call.
MAX_GAP_BYTES = 16 << 10
# Asked for ahead of what is written: as much as some requests bring in while another one waits for its first byte.
_AHEAD_BYTES = 8 << 20


class Source(Protocol):
    """A source tar; of what is to be read, ``ahead_bytes`` may be asked for before it is needed."""

    path: str
    ahead_bytes: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def starts(self, members: Members) -> Flags:
        """Tell for each member whether a new range begins with it."""

    def ask(self, reads: Reads) -> Callable[[Bytes], None]:
        """Ask for ranges; what is returned fills blocks with them."""

    def stream(self, offset: int, count: int, buffer: Bytes) -> Iterator[Bytes]:
        """Give a large range piece by piece; the buffer may be used for them."""


def open_source(path: str, known: FileInfo | None) -> Source:
    """Open a tar as it was listed.

    Raises:
        ChangedError: It is another one by now, or gone from a store.
        FileNotFoundError: It is on no file system here; a mount may be missing, and what was written is kept.
    """
    return _StoreSource(path, known) if is_url(path) else _FileSource(path, known)


class _FileSource(OpenFile):
    ahead_bytes = 0

    def starts(self, members: Members) -> Flags:
        return starts_range(members, MAX_GAP_BYTES)

    def ask(self, reads: Reads) -> Callable[[Bytes], None]:
        # A disk serves many ranges at once about twice as fast as one behind the other.
        for offset, size, _ in _ranges(reads):
            ask_for(self.descriptor, offset, size)

        def fill(blocks: Bytes) -> None:
            flat = blocks.reshape(-1)
            for offset, size, first in _ranges(reads):
                self._fill(offset, flat[first * BLOCK_BYTES : first * BLOCK_BYTES + size])

        return fill

    def stream(self, offset: int, count: int, buffer: Bytes) -> Iterator[Bytes]:
        for begin in range(0, count, BUFFER_BYTES):
            piece = buffer.reshape(-1)[: min(count - begin, BUFFER_BYTES)]
            self._fill(offset + begin, piece)
            yield piece

    def _fill(self, offset: int, into: Bytes) -> None:
        _require_all(self.path, offset, len(into), read_range(self.descriptor, offset, into.data))


class _StoreSource(StoreFile):
    ahead_bytes = _AHEAD_BYTES

    def fetch(self, offset: int, count: int) -> Any:
        try:
            return super().fetch(offset, count)
        except FileNotFoundError:
            raise ChangedError(self.path) from None

    def starts(self, members: Members) -> Flags:
        return starts_request(members, self.pace.request_bytes)

    def ask(self, reads: Reads) -> Callable[[Bytes], None]:
        asked = [(self.submit(offset, size), offset, size, first) for offset, size, first in _ranges(reads)]

        def fill(blocks: Bytes) -> None:
            flat = blocks.reshape(-1).data
            for answer, offset, size, first in asked:
                data = answer.result()
                _require_all(self.path, offset, size, len(data))
                flat[first * BLOCK_BYTES : first * BLOCK_BYTES + size] = memoryview(data)

        return fill

    def stream(self, offset: int, count: int, buffer: Bytes) -> Iterator[Bytes]:
        del buffer  # what comes from a store has its own
        asked: deque[tuple[Future[Any], int, int]] = deque()
        for begin in range(0, count, BUFFER_BYTES):
            size = min(count - begin, BUFFER_BYTES)
            asked.append((self.submit(offset + begin, size), offset + begin, size))
            if len(asked) * BUFFER_BYTES >= _AHEAD_BYTES:
                yield self._taken(*asked.popleft())
        for answer in asked:
            yield self._taken(*answer)

    def _taken(self, answer: Future[Any], offset: int, size: int) -> Bytes:
        data = answer.result()
        _require_all(self.path, offset, size, len(data))
        return np.frombuffer(data, np.uint8)


def _ranges(reads: Reads) -> list[tuple[int, int, int]]:
    return list(zip(*(part.tolist() for part in reads[:3]), strict=True))


def _require_all(path: str, offset: int, wanted: int, found: int) -> None:
    if found < wanted:
        raise DataError(
            f"{path} at byte {offset:,}",
            f"{wanted:,} bytes were expected, {found:,} are there; the shard changed since it was indexed",
            "Run the command again: it indexes the shard anew. Nothing was committed.",
        )
