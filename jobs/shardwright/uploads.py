"""Objects that are being written: part by part, under their final name, whole or not at all."""

from __future__ import annotations

import io
import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from shardwright.object_store import PART_BYTES, put, put_parts


class _AbortedError(Exception):
    """Ends an upload that is not to be finished."""


class Upload(io.RawIOBase):
    """An object that is being written: it appears whole when it is finished, or not at all when it is aborted."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._part = bytearray()
        self._parts: queue.Queue[bytes | None] = queue.Queue(1)
        self._aborted = False
        self._sending: Future[None] | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Append; whoever is faster than the store waits."""
        count = len(data)
        self._part += data
        while len(self._part) >= PART_BYTES:
            with memoryview(self._part) as whole:
                part = bytes(whole[:PART_BYTES])
            self._send(part)
            del self._part[:PART_BYTES]
        return count

    def finish(self) -> None:
        """Let the object appear under its name."""
        if self._sending is None:
            put(self.path, bytes(self._part))
            return
        self._send(bytes(self._part))
        self._send(None)
        self._sending.result()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._aborted = True
        if self._sending is not None:
            with suppress(Exception):
                self._send(None)
                self._sending.result()

    def _send(self, part: bytes | None) -> None:
        if self._sending is None:
            pool = ThreadPoolExecutor(1, "shardwright-upload")
            self._sending = pool.submit(put_parts, self.path, self._take())
            pool.shutdown(wait=False)
        while True:
            with suppress(queue.Full):
                self._parts.put(part, timeout=0.1)
                return
            # Nobody takes parts any more once the upload failed.
            if self._sending.done():
                self._sending.result()

    def _take(self) -> Iterator[bytes]:
        while (part := self._parts.get()) is not None:
            if part:
                yield part
        if self._aborted:
            raise _AbortedError
