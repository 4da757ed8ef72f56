"""Files by path: list, look at, read, remove, on file systems and in stores; `publishing` writes them.

Files of file systems are read and written directly: a path leads to a store only where it holds ``://``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from shardwright import object_store
from shardwright.errors import AccessError
from shardwright.local_files import LEADS_NOWHERE, OpenFile, file_info, walk
from shardwright.locations import FileInfo, canonical, is_url, is_web
from shardwright.object_files import Ahead, Forwards, StoreFile, Stream, list_folder, read_through

if TYPE_CHECKING:
    from typing_extensions import Self


_TABLE_NAME = re.compile(r"\w+\.\w+\.\w+")
_READ_BYTES = 1 << 20
# Offset and size of each.
Pieces = Iterable[tuple[int, int]]


class Ranges(Protocol):
    """A file open for reads at any place."""

    path: str
    size_bytes: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def read(self, offset: int, count: int) -> bytes:
        """Read a range; fewer bytes only where the file ends."""


def absolute(path: str | os.PathLike[str]) -> str:
    """Give the one spelling of a path, see `locations`."""
    return canonical(path)


def table_or_path(text: str) -> str:
    """Give ``catalog.schema.table`` as it is, and anything else as an absolute path."""
    return text if _TABLE_NAME.fullmatch(text) and not os.path.exists(text) else absolute(text)


def is_table_name(text: str) -> bool:
    """Tell a table's name from an absolute path."""
    return _TABLE_NAME.fullmatch(text) is not None


def is_folder(path: str) -> bool:
    """Tell whether there is a folder; in a store one is there as long as something is in it."""
    return next(list_folder(path), None) is not None if is_url(path) else os.path.isdir(path)


def is_file(path: str) -> bool:
    """Tell whether there is a regular file, or a link to one."""
    return object_store.describe(path) is not None if is_url(path) else os.path.isfile(path)


def exists(path: str) -> bool:
    """Tell whether there is anything at a path."""
    return is_file(path) or is_folder(path) if is_url(path) else os.path.lexists(path)


def describe(path: str) -> FileInfo | None:
    """Look at a file; None where there is none."""
    if is_url(path):
        return object_store.describe(path)
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in LEADS_NOWHERE:
            return None
        raise
    return file_info(path, status) if stat.S_ISREG(status.st_mode) else None


def size_of(path: str) -> int:
    """Give a file's size.

    Raises:
        FileNotFoundError: There is none.
    """
    return StoreFile(path).size_bytes if is_url(path) else os.path.getsize(path)


def list_names(folder: str) -> list[str]:
    """List the names of files and folders in a folder, hidden ones too; none where there is no folder."""
    if is_url(folder):
        return object_store.list_names(folder)
    with suppress(FileNotFoundError):
        return os.listdir(folder)
    return []


def list_paths(folder: str) -> list[str]:
    """List the paths of all files below a folder, hidden ones too; none where there is no folder."""
    if is_url(folder):
        return [file.path for file in object_store.list_objects(folder)]
    return [os.path.join(inner, name) for inner, _, names in os.walk(folder) for name in names]


def list_files(root: str, *, recursive: bool = False) -> list[FileInfo]:
    """List the files under a folder, ordered by relative path as UTF-8 bytes; hidden names are left out.

    A link that leads nowhere is listed too: whoever needs the file has to say so.
    """
    found = _list_store(root, recursive) if is_url(root) else walk(root, recursive)
    return sorted(found, key=lambda file: os.fsencode(file.path))


def _list_store(root: str, recursive: bool) -> Iterator[FileInfo]:
    for file in list_folder(root):
        parts = file.path[len(root) + 1 :].split("/")
        if (recursive or len(parts) == 1) and not any(part.startswith(".") for part in parts):
            yield file


def open_file(path: str, known: FileInfo | None = None) -> Ranges:
    """Open a file for reads at any place.

    Args:
        known: What a listing showed: only that one is read, and a store is not asked for it again.
    """
    return StoreFile(path, known) if is_url(path) else OpenFile(path, known)


@contextmanager
def open_forwards(
    path: str, known: FileInfo | None = None, pieces: Callable[[], Pieces] = tuple
) -> Iterator[Ranges | Forwards]:
    """Open a file for reads that go forwards, as a look at its headers does.

    Args:
        pieces: Gives where an index says that headers stand; a store that answers slowly is asked for them ahead.
    """
    with open_file(path, known) as file:
        yield Forwards(file, pieces) if isinstance(file, StoreFile) else file


@contextmanager
def open_ahead(path: str, pieces: Callable[[], Pieces]) -> Iterator[Ranges]:
    """Open a file of which some pieces will be read, in their order: a store is asked for them ahead."""
    with open_file(path) as file:
        yield Ahead(file, pieces()) if isinstance(file, StoreFile) else file


def open_stream(path: str) -> IO[bytes]:
    """Open a file as Python does."""
    return Stream(StoreFile(path)) if is_url(path) else open(path, "rb")  # type: ignore[return-value]


def readable(path: str) -> str | Stream:
    """Give a file as pyarrow takes it: by its path where it has its own way to it."""
    return Stream(StoreFile(path)) if is_url(path) else path


@contextmanager
def at_hand(path: str) -> Iterator[str]:
    """Give a file that will be read several times: one in a store is fetched once, for as long as the block lasts."""
    if not is_url(path) or object_store.describe(path) is None:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="shardwright-", suffix=os.path.splitext(path)[1]) as copy:
        for chunk in read_chunks(path):
            copy.write(chunk)
        copy.flush()
        yield copy.name


def read_chunks(path: str) -> Iterator[memoryview]:
    """Read a file from front to back."""
    if is_url(path):
        yield from read_through(StoreFile(path))
        return
    with open(path, "rb", buffering=0) as file:
        buffer = memoryview(bytearray(_READ_BYTES))
        while count := file.readinto(buffer):
            yield buffer[:count]


def read_bytes(path: str) -> bytes:
    """Read a small file.

    Raises:
        FileNotFoundError: There is none.
    """
    if is_url(path):
        file = StoreFile(path)
        return file.read(0, file.size_bytes)
    return Path(path).read_bytes()


def read_json(path: str) -> Any | None:
    """Read a JSON file; None when there is none."""
    try:
        return json.loads(read_bytes(path))
    except FileNotFoundError:
        return None


def make_folder(path: str) -> None:
    """Make a folder and those above it; stores have none."""
    if not is_url(path):
        os.makedirs(path, exist_ok=True)


def remove_files(paths: Iterable[str]) -> None:
    """Remove files."""
    named = list(paths)
    object_store.delete([path for path in named if is_url(path)])
    for path in named:
        if not is_url(path):
            os.unlink(path)


def move_file(path: str, to: str) -> None:
    """Put a file in the place of another one, at once."""
    if is_url(path):
        object_store.move(path, to)
    else:
        os.replace(path, to)


def remove_folder(path: str) -> None:
    """Remove a folder and what is in it; none is fine."""
    if is_url(path):
        object_store.delete([file.path for file in list_folder(path)])
    else:
        shutil.rmtree(path, ignore_errors=True)


def remove_empty_folders(path: str) -> None:
    """Remove a folder and those in it, as far as they hold no file; none is fine, and stores have none."""
    for folder, _, _ in os.walk(path, topdown=False):
        with suppress(OSError):
            os.rmdir(folder)


def remove(path: str) -> None:
    """Remove a file, or a folder and what is in it; none is fine."""
    remove_folder(path)
    if is_url(path):
        object_store.delete([path])
        return
    # A folder that someone else removes at the same time may be there still.
    with suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(path)


def free_bytes(path: str) -> int | None:
    """Count the bytes that can still be written where a path will lie; None where nothing limits them."""
    if is_url(path):
        return None
    folder = Path(path)
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def is_writable(path: str) -> bool:
    """Tell whether a folder can be made or written at a path; in a store a write tells, which leaves nothing."""
    if is_url(path):
        return not is_web(path) and _takes_objects(path)
    folder = Path(path)
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _takes_objects(folder: str) -> bool:
    probe = f"{folder}/.shardwright-{os.urandom(4).hex()}"
    try:
        object_store.put(probe, b"")
        object_store.delete([probe])
    except AccessError:
        return False
    return True
