"""Files of a file system: walk folders, read ranges, write from front to back."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from shardwright.errors import ChangedError
from shardwright.locations import FileInfo

if TYPE_CHECKING:
    from typing_extensions import Self


# What a path says behind which there is nothing: a link may lead into the void, or back to itself.
LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def file_info(path: str, status: os.stat_result) -> FileInfo:
    """Give what is known of a file."""
    return FileInfo(path, status.st_size, status.st_mtime_ns, str(status.st_ctime_ns))


def walk(folder: str, recursive: bool, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[FileInfo]:
    """Give the files under a folder, in no order, and links that lead nowhere; hidden names are left out."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link led back
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                status = entry.stat()
            except OSError as error:
                if error.errno not in LEADS_NOWHERE:
                    raise
                yield FileInfo(entry.path, -1, 0)
                continue
            if stat.S_ISDIR(status.st_mode):
                if recursive:
                    yield from walk(entry.path, recursive, above | {here})
            elif stat.S_ISREG(status.st_mode):
                yield file_info(entry.path, status)
            else:
                yield FileInfo(entry.path, -1, 0)


class OpenFile:
    """A file open for range reads; its size is what it was when it was opened.

    Raises:
        ChangedError: It has another size or time than when it was listed.
    """

    def __init__(self, path: str, known: FileInfo | None = None) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        status = os.fstat(self.descriptor)
        self.size_bytes = status.st_size
        if known and (known.size_bytes, known.modified_ns) != (status.st_size, status.st_mtime_ns):
            os.close(self.descriptor)
            raise ChangedError(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def read(self, offset: int, count: int) -> bytes:
        """Read a range; fewer bytes only where the file ends."""
        data = os.pread(self.descriptor, count, offset)
        while 0 < len(data) < count and (more := os.pread(self.descriptor, count - len(data), offset + len(data))):
            data += more
        return data


def read_range(descriptor: int, offset: int, into: memoryview) -> int:
    """Fill a buffer from an open file; give the bytes read, fewer only where the file ends."""
    done = 0
    while done < len(into):
        count = os.preadv(descriptor, [into[done:]], offset + done)
        if not count:
            break
        done += count
    return done


def ask_for(descriptor: int, offset: int, count: int) -> None:
    """Say that a range of an open file will be read soon: where it is not in memory, the disk begins with it."""
    os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_WILLNEED)


def write_all(descriptor: int, data: memoryview) -> None:
    """Append a whole buffer to an open file."""
    while len(data):
        data = data[os.write(descriptor, data) :]


class NewFile:
    """A file that is written once, from front to back."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)

    def write(self, data: memoryview) -> None:
        """Append a whole buffer."""
        write_all(self._descriptor, data)

    def close(self) -> None:
        os.close(self._descriptor)
