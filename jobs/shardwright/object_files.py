"""Objects as files: ranges many at a time, reads that go forwards, streams, uploads."""

from __future__ import annotations

import errno
import io
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

from shardwright.errors import DataError, RequestError
from shardwright.locations import FileInfo, is_url, is_web, root_of
from shardwright.object_store import describe, get_range, list_objects

if TYPE_CHECKING:
    from typing_extensions import Self

# Of a process: where 50 KB are asked for at once, enough to hide the time to their first byte.
REQUESTS_IN_FLIGHT = 32
# Read ahead of whoever reads forwards.
_CHUNK_BYTES, _CHUNKS_AHEAD = 4 << 20, 3
_STREAM_BYTES = 1 << 20
_AHEAD_BYTES = 16 << 20


class Pace:
    """How fast a store answers: seconds to the first byte, and bytes a second from then on, as seen lately."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # What S3 is like, until more is known.
        self._latency_seconds, self._bytes_per_second = 0.03, 80e6

    def note(self, count: int, first_seconds: float, all_seconds: float) -> None:
        """Take in what a request took."""
        with self._lock:
            self._latency_seconds += 0.1 * (first_seconds - self._latency_seconds)
            # What comes with the first packet says nothing.
            if count >= _STREAM_BYTES // 2 and all_seconds > first_seconds:
                self._bytes_per_second += 0.1 * (count / (all_seconds - first_seconds) - self._bytes_per_second)

    @property
    def request_bytes(self) -> int:
        """The bytes that a request costs: what would come in while its first byte is waited for."""
        return int(self._latency_seconds * self._bytes_per_second)


@cache
def _pace_of(root: str) -> Pace:  # noqa: ARG001 - what tells one pace from another
    return Pace()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(REQUESTS_IN_FLIGHT, "shardwright-ranges")


class StoreFile:
    """An object open for range reads; where it became another one, a read raises `ChangedError`.

    Args:
        known: What a listing showed; without it, the object is looked at now.

    Raises:
        FileNotFoundError: There is no such object.
    """

    def __init__(self, path: str, known: FileInfo | None = None) -> None:
        found = known or describe(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", path)
        self.path, self.size_bytes = path, found.size_bytes
        self.pace = _pace_of(root_of(path))
        self._known = found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, offset: int, count: int) -> bytes:
        """Read a range; fewer bytes only where the object ends."""
        return bytes(self.fetch(offset, count))

    def fetch(self, offset: int, count: int) -> Any:
        """Read a range as a buffer that is not copied."""
        count = min(count, self.size_bytes - offset)
        if count <= 0:
            return b""
        answer = get_range(self._known, offset, count)
        self.pace.note(count, answer.first_seconds, answer.all_seconds)
        return answer.data

    def submit(self, offset: int, count: int) -> Future[Any]:
        """Ask for a range; of those that were asked for, `REQUESTS_IN_FLIGHT` are on their way."""
        return _pool().submit(self.fetch, offset, count)


class Ahead:
    """A file of which some ranges are expected to be read, in their order: they are asked for before.

    Others may be read as well, and ranges may be left out.
    """

    def __init__(self, file: StoreFile, ranges: Iterable[tuple[int, int]]) -> None:
        self.path, self.size_bytes = file.path, file.size_bytes
        self._file = file
        self._ranges = iter(ranges)
        self._asked: deque[tuple[int, int, Future[Any]]] = deque()
        self._asked_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, offset: int, count: int) -> bytes:
        """Read a range; fewer bytes only where the file ends."""
        while self._asked and sum(self._asked[0][:2]) <= offset:
            self._asked_bytes -= self._asked.popleft()[1]
        self._ask(offset)
        if self._asked:
            begin, size, answer = self._asked[0]
            if begin <= offset and offset + count <= begin + size:
                return bytes(memoryview(answer.result())[offset - begin : offset - begin + count])
        return self._file.read(offset, count)

    def _ask(self, offset: int) -> None:
        """Ask for the next ranges behind an offset, as many as may be on their way."""
        while self._asked_bytes < _AHEAD_BYTES and len(self._asked) < REQUESTS_IN_FLIGHT:
            expected = next((expected for expected in self._ranges if sum(expected) > offset), None)
            if expected is None:
                return
            self._asked.append((*expected, self._file.submit(*expected)))
            self._asked_bytes += expected[1]


class Forwards:
    """A file that is read from front to back in pieces, such as headers, with gaps between them.

    Where the pieces stand so close that reading through takes less time than another request for each, whole
    chunks are read, some of them ahead; else the pieces alone.

    Args:
        pieces: Gives where pieces are said to stand, offset and size of each; they are asked for ahead.
    """

    def __init__(self, file: StoreFile, pieces: Callable[[], Iterable[tuple[int, int]]] = tuple) -> None:
        self.size_bytes = file.size_bytes
        self._file = file
        self._pieces = pieces
        self._ahead: Ahead | None = None
        self._chunks: dict[int, Future[Any]] = {}
        self._last = 0
        self._step_bytes = 0.0  # from one piece to the next, lately

    def read(self, offset: int, count: int) -> bytes:
        """Read a range; fewer bytes only where the file ends."""
        self._step_bytes += 0.25 * (max(offset - self._last, 0) - self._step_bytes)
        self._last = offset
        first, last = offset // _CHUNK_BYTES, max(offset, offset + count - 1) // _CHUNK_BYTES
        hops = self._step_bytes > self._file.pace.request_bytes * _CHUNKS_AHEAD
        if hops and first not in self._chunks:
            self._ahead = self._ahead or Ahead(self._file, self._pieces())
            return self._ahead.read(offset, count)
        for number in [number for number in self._chunks if number < first]:
            self._chunks.pop(number).cancel()
        # Nothing is known yet when the first piece is asked for.
        ahead = 0 if hops or not offset else _CHUNKS_AHEAD
        for number in range(first, last + 1 + ahead):
            if number not in self._chunks and number * _CHUNK_BYTES < self.size_bytes:
                self._chunks[number] = self._file.submit(number * _CHUNK_BYTES, _CHUNK_BYTES)
        begin = first * _CHUNK_BYTES
        parts = [
            memoryview(self._chunks[number].result()) for number in range(first, last + 1) if number in self._chunks
        ]
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return bytes(data[offset - begin : offset - begin + count]) if parts else b""


class Stream(io.RawIOBase):
    """An object as Python's file: for those that read files by themselves."""

    def __init__(self, file: StoreFile) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size_bytes}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, into: Any) -> int:
        data = self._file.fetch(self._at, len(into))
        into[: len(data)] = data
        self._at += len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Read at once what was asked for: a Parquet page is one request."""
        data = self._file.read(self._at, self._file.size_bytes if size < 0 else size)
        self._at += len(data)
        return data


def read_through(file: StoreFile) -> Iterator[memoryview]:
    """Give all bytes of an object, chunk by chunk, some of them ahead."""
    chunks: list[Future[Any]] = []
    for offset in range(0, file.size_bytes, _CHUNK_BYTES):
        chunks.append(file.submit(offset, _CHUNK_BYTES))
        if len(chunks) > _CHUNKS_AHEAD:
            yield memoryview(chunks.pop(0).result())
    for chunk in chunks:
        yield memoryview(chunk.result())


def list_folder(folder: str) -> Iterator[FileInfo]:
    """List all files below a folder, in no order; a web server's are the tars that ``wids.json`` names, and sidecars.

    Raises:
        RequestError: A web server's folder has no such list, or one of files elsewhere.
        DataError: A tar of the list is not there.
    """
    if not is_web(folder):
        yield from list_objects(folder)
        return
    try:
        with StoreFile(f"{folder}/wids.json") as file:
            tars = [shard["url"] for shard in json.loads(file.read(0, file.size_bytes))["shardlist"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        found = "web servers list no files, and there is no wids.json that does"
        raise RequestError(folder, found, "Fetch the dataset, or put it into a store") from None
    strange = next((tar for tar in tars if is_url(tar) or tar.startswith("/")), None)
    if strange is not None:
        found = f"wids.json names '{strange}', which lies in no place below it"
        raise RequestError(folder, found, "Fetch the dataset, or put it into a store")
    for tar, found_tar in zip(tars, _pool().map(describe, (f"{folder}/{tar}" for tar in tars)), strict=True):
        if found_tar is None:
            raise DataError(f"{folder}/{tar}", "wids.json names it, and the server has no such file", "Fetch it again")
        yield found_tar
    sidecars = (f"{folder}/{tar.rpartition('.')[0]}.parquet" for tar in tars)
    yield from filter(None, _pool().map(describe, sidecars))
