"""Files by path: list, read ranges, publish under the final name."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shardwright.errors import RequestError

if TYPE_CHECKING:
    from typing_extensions import Self


# What systems say that have no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EMLINK)
_TABLE_NAME = re.compile(r"\w+\.\w+\.\w+")


class FileInfo(NamedTuple):
    """A file as a listing shows it; size and time together tell whether it changed."""

    path: str
    size_bytes: int
    modified_ns: int

    @property
    def is_file(self) -> bool:
        """Whether it can be read: a link that leads nowhere has no size."""
        return self.size_bytes >= 0


def absolute(path: str | os.PathLike[str]) -> str:
    """Give the absolute path without links resolved; object stores are refused until they are supported."""
    text = os.fspath(path)
    if "://" in text and not text.startswith("file://"):
        raise RequestError(
            text, "only local paths can be read and written by this version", "Mount or copy the dataset."
        )
    try:
        return os.path.abspath(Path(text.removeprefix("file://")).expanduser())
    except RuntimeError:
        raise RequestError(text, "there is no such user", "Write the path out") from None


def table_or_path(text: str) -> str:
    """Give ``catalog.schema.table`` as it is, and anything else as an absolute path."""
    return text if _TABLE_NAME.fullmatch(text) and not os.path.exists(text) else absolute(text)


def is_table_name(text: str) -> bool:
    """Tell a table's name from an absolute path."""
    return _TABLE_NAME.fullmatch(text) is not None


def list_files(root: str, *, recursive: bool = False) -> list[FileInfo]:
    """List the files under a folder, ordered by relative path as UTF-8 bytes; hidden names are left out.

    A link that leads nowhere is listed too: whoever needs the file has to say so.
    """
    found = list(_walk(root, recursive, frozenset()))
    return sorted(found, key=lambda file: os.fsencode(file.path))


def _walk(folder: str, recursive: bool, above: frozenset[tuple[int, int]]) -> Iterator[FileInfo]:
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link led back
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if recursive:
                    yield from _walk(entry.path, recursive, above | {here})
            elif entry.is_file():
                status = entry.stat()
                yield FileInfo(entry.path, status.st_size, status.st_mtime_ns)
            else:
                yield FileInfo(entry.path, -1, 0)


class OpenFile:
    """A file open for range reads; its size is what it was when it was opened."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        self.size_bytes = os.fstat(self.descriptor).st_size

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


@contextmanager
def published(path: str, staging: str) -> Iterator[str]:
    """Give a path to write to; on success the file appears under its final name at once, else not at all.

    Args:
        path: The final name.
        staging: An existing folder on the same file system.
    """
    with _temporary(path, staging) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextmanager
def _temporary(path: str, staging: str) -> Iterator[str]:
    # Twin attempts at one file must not share a temporary name.
    temporary = os.path.join(staging, f".{os.path.basename(path)}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def read_json(path: str) -> Any | None:
    """Read a JSON file; None when there is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def write_json(path: str, value: object, staging: str | None = None) -> None:
    """Write a JSON file that appears complete or not at all.

    Args:
        staging: As for `published`; by default the folder of the file.
    """
    with published(path, staging or os.path.dirname(path)) as temporary:
        Path(temporary).write_text(_json_text(value), encoding="utf-8")


def write_new_json(path: str, value: object) -> bool:
    """Write a JSON file unless one is there, and tell whether it was: of several who try at once, one succeeds."""
    with _temporary(path, os.path.dirname(path)) as temporary:
        Path(temporary).write_text(_json_text(value), encoding="utf-8")
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _write_exclusively(path, value)
    return True


def _write_exclusively(path: str, value: object) -> bool:
    """Do the same where there are no links, as on most mounted object stores; a crash may leave it cut short."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(_json_text(value))
    except FileExistsError:
        return False
    return True


def _json_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def remove_folder(path: str) -> None:
    """Remove a folder and what is in it; none is fine."""
    shutil.rmtree(path, ignore_errors=True)


def remove_empty_folders(path: str) -> None:
    """Remove a folder and those in it, as far as they hold no file; none is fine."""
    for folder, _, _ in os.walk(path, topdown=False):
        with suppress(OSError):
            os.rmdir(folder)


def remove(path: str) -> None:
    """Remove a file, or a folder and what is in it; none is fine."""
    remove_folder(path)
    # A folder that someone else removes at the same time may be there still.
    with suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(path)


def free_bytes(path: str) -> int:
    """Count the bytes that can still be written where a path will lie."""
    folder = Path(path)
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def is_writable(path: str) -> bool:
    """Tell whether a folder can be made or written at a path."""
    folder = Path(path)
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)
