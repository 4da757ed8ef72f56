"""Write files so that they appear complete under their final name, or not at all; on file systems and in stores."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shardwright import object_store
from shardwright.local_files import NewFile
from shardwright.locations import is_url
from shardwright.uploads import Upload

# What systems say that have no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EMLINK)
# What is being written: a path that gets its final name later, or an upload.
Target = str | Upload


def open_target(target: Target) -> NewFile | Upload:
    """Begin to write what `published` gave."""
    return target if isinstance(target, Upload) else NewFile(target)


@contextmanager
def published(path: str, staging: str) -> Iterator[Target]:
    """Give what to write to; on success the file appears under its final name at once, else not at all.

    Args:
        path: The final name.
        staging: An existing folder on the same file system; stores need none.
    """
    if is_url(path):
        upload = Upload(path)
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.abort()
            raise
        return
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


def write_json(path: str, value: object, staging: str | None = None) -> None:
    """Write a JSON file that appears complete or not at all.

    Args:
        staging: As for `published`; by default the folder of the file.
    """
    write_bytes(path, _json_bytes(value), staging)


def write_bytes(path: str, data: bytes, staging: str | None = None) -> None:
    """Write a small file that appears complete or not at all."""
    with published(path, staging or os.path.dirname(path)) as target:
        if isinstance(target, Upload):
            target.write(data)
        else:
            Path(target).write_bytes(data)


def write_new_json(path: str, value: object) -> bool:
    """Write a JSON file unless one is there, and tell whether it was: of several who try at once, one succeeds."""
    if is_url(path):
        return object_store.put_new(path, _json_bytes(value))
    with _temporary(path, os.path.dirname(path)) as temporary:
        Path(temporary).write_bytes(_json_bytes(value))
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
        with open(path, "xb") as file:
            file.write(_json_bytes(value))
    except FileExistsError:
        return False
    return True


def _json_bytes(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
