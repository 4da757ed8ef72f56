"""A dataset as it lies in storage: its shards in order, the sidecars beside them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from shardwright.errors import RequestError, ShardwrightError
from shardwright.files import is_file, is_folder, list_files, move_file, remove_folder
from shardwright.format.names import SHARD_SUFFIXES
from shardwright.locations import FileInfo, is_url
from shardwright.publishing import write_bytes

_DIGITS = re.compile(r"\d+")
_COMPLETE = ".complete"


class Shard(NamedTuple):
    """A source tar; ``shard_index`` is its rank in the dataset."""

    shard_index: int
    file: FileInfo
    sidecar: FileInfo | None


class Dataset(NamedTuple):
    """The shards under a root, ordered by relative path as UTF-8 bytes.

    ``lone_sidecars`` are named as shards are, and have no tar. ``indexes`` are the paths of those that loaders keep
    beside tars, by the tar's path.
    """

    dataset_root: str
    shards: tuple[Shard, ...]
    lone_sidecars: tuple[FileInfo, ...] = ()
    indexes: Mapping[str, str] = {}


def list_dataset(dataset_root: str, *, recursive: bool = False) -> Dataset:
    """List a dataset's shards.

    Raises:
        RequestError: No such folder, no tars in it, or tars in sub-folders without ``recursive``.
    """
    if not is_folder(dataset_root):
        raise RequestError(dataset_root, "no such folder", "Pass the folder that holds the dataset's .tar files")
    if is_file(os.path.join(replacements_folder(dataset_root), _COMPLETE)):
        replace_sidecars(dataset_root)  # as a run decided that did not come to the end of it
    files = {file.path: file for file in list_files(dataset_root, recursive=True)}
    tars = [file for file in files.values() if _is_shard_name(file.path)]
    unreadable = [file.path for file in tars if not file.is_file]
    if unreadable:
        raise RequestError(unreadable[0], "it is a link that leads nowhere", "Mend or remove the link")
    for path in (dataset_root, *(file.path for file in tars)):
        if not _is_utf8(path):
            raise RequestError(
                os.fsencode(path).decode(errors="backslashreplace"), "its name is not UTF-8", "Rename it"
            )
    nested = [file.path for file in tars if os.path.dirname(file.path) != dataset_root]
    if nested and not recursive:
        named = ", ".join(os.path.relpath(path, dataset_root) for path in nested[:3])
        found = f"{len(nested):,} tars lie in sub-folders ({named}{', …' if len(nested) > 3 else ''})"
        raise RequestError(dataset_root, found, "Pass --recursive to take them in, or the sub-folder as the dataset")
    if not tars:
        raise RequestError(dataset_root, "no .tar files", "Pass the folder that holds the dataset's shards")
    folders = [path for file in tars if os.path.isdir(path := f"{shard_stem(file.path)}.parquet")]
    if folders:
        raise RequestError(folders[0], "it is a folder, a sidecar is one file", "Write one Parquet file a tar")
    sidecars = {shard_stem(file.path): file for file in files.values() if file.path.lower().endswith(".parquet")}
    shards = tuple(Shard(index, file, sidecars.get(shard_stem(file.path))) for index, file in enumerate(tars))
    stems = [shard_stem(file.path) for file in tars]
    if len(set(stems)) < len(stems):
        twin = next(stem for stem in stems if stems.count(stem) > 1)
        raise RequestError(dataset_root, f"two tars share the sidecar '{twin}.parquet'", "Remove or rename one of them")
    lone = _lone_sidecars(dataset_root, files, set(stems), recursive=recursive)
    return Dataset(dataset_root, shards, lone, _loader_indexes(files, tars))


def _loader_indexes(files: Collection[str], tars: Iterable[FileInfo]) -> dict[str, str]:
    """Find the indexes that loaders keep beside tars, by the tar's path; DALI's, which says more, before Energon's."""
    names = {tar.path: (f"{tar.path}.idx", f"{shard_stem(tar.path)}.idx") for tar in tars}
    return {tar: name for tar, each in names.items() for name in each if name in files}


def sidecar_bytes(dataset_root: str) -> int:
    """Say how large the sidecars are, before anything else is known; 0 where nothing can be listed."""
    with suppress(OSError, ShardwrightError):
        files = list_files(dataset_root, recursive=True)
        return sum(file.size_bytes for file in files if file.path.lower().endswith(".parquet"))
    return 0


def _lone_sidecars(
    dataset_root: str, files: Mapping[str, FileInfo], stems: Collection[str], *, recursive: bool
) -> tuple[FileInfo, ...]:
    """Find Parquet files whose tar may be lost: their names differ from a shard's in digits alone."""
    shapes = {_DIGITS.sub("0", stem) for stem in stems}
    lone = [file for file in files.values() if file.path.endswith(".parquet") and shard_stem(file.path) not in stems]
    return tuple(
        file
        for file in lone
        if _DIGITS.sub("0", file.path.removesuffix(".parquet")) in shapes
        and (recursive or os.path.dirname(file.path) == dataset_root)
    )


def replacements_folder(dataset_root: str) -> str:
    """Give the folder in which new sidecars wait, under their relative paths, until all are there.

    A column may be computed from what it replaces: half replaced, it could not be computed again.
    """
    return os.path.join(dataset_root, ".shardwright-sidecars")


def replace_sidecars(dataset_root: str) -> None:
    """Put new sidecars in the place of the old; once begun, whoever lists the dataset next completes it."""
    folder = replacements_folder(dataset_root)
    write_bytes(os.path.join(folder, _COMPLETE), b"")
    for file in list_files(folder, recursive=True):
        move_file(file.path, os.path.join(dataset_root, os.path.relpath(file.path, folder)))
    remove_folder(folder)


def shard_stem(path: str) -> str:
    """Give a shard's path without what says that it is a tar; a sidecar's, without what says that it is Parquet."""
    suffix = next((suffix for suffix in (*SHARD_SUFFIXES, ".parquet") if path.lower().endswith(suffix)), "")
    return path[: len(path) - len(suffix)]


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_shard_name(path: str) -> bool:
    return path.lower().endswith(SHARD_SUFFIXES)


def shard_identities(dataset: Dataset) -> list[list[Any]]:
    """Give what tells one state of the tars from another: relative path, size and time of each, or its etag.

    It stays the same where a dataset was moved or restored with its times.
    """
    return [_identity(dataset.dataset_root, shard.file) for shard in dataset.shards]


def scan_identities(dataset: Dataset) -> list[list[Any]]:
    """Give what tells whether tars may have to be scanned again, which costs less than to be wrong."""
    return [
        [*identity, shard.file.etag] for identity, shard in zip(shard_identities(dataset), dataset.shards, strict=True)
    ]


def sidecar_identities(dataset: Dataset) -> list[list[Any]]:
    """Give what tells one state of the sidecars from another."""
    paired = [shard.sidecar for shard in dataset.shards if shard.sidecar]
    return [_identity(dataset.dataset_root, sidecar) for sidecar in (*paired, *dataset.lone_sidecars)]


def _identity(root: str, file: FileInfo) -> list[Any]:
    state = file.etag if is_url(file.path) and file.etag else file.modified_ns
    return [os.path.relpath(file.path, root), file.size_bytes, state]


def digest(*parts: object) -> str:
    """Give 16 hex digits that stand for some settings and inputs."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
