"""An output folder: whose it is, what is finished in it, how it is published.

While an export is under way its folder holds ``.shardwright/plan.json``; when it is committed the
folder holds ``manifest.json`` instead. `claim` says who writes to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, cast

from shardwright.config import MOST_SHARD_DIGITS
from shardwright.errors import RequestError
from shardwright.files import (
    exists,
    is_folder,
    list_files,
    list_names,
    list_paths,
    make_folder,
    read_json,
    remove_files,
    remove_folder,
)
from shardwright.locations import is_inside, is_url
from shardwright.publishing import write_json
from shardwright.store.tables import MANIFEST, table_schema

MANIFEST_NAME = "manifest.json"
_STAGING_NAME = ".shardwright"
PLAN_NAME, ATTEMPT_NAME = "plan.json", "attempt.json"
_COUNTS = ("indexed", "kept", "dropped", "rejected")
_PLAN_KINDS: Mapping[str, type] = {
    "snapshot_id": str,
    **dict.fromkeys(("settings", "inputs", "columns", "drops", "rejects", "unpaired_rows", "joins"), dict),
    **dict.fromkeys((*_COUNTS, "shard_count", "planned_bytes"), int),
}
_MANIFEST_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("snapshot_id", "tables", "output_root"), str),
    **dict.fromkeys(("settings", "inputs", "drops", "columns"), dict),
    **dict.fromkeys((*_COUNTS, "exported"), int),
    "shards": list,
}
_SETTINGS_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("id_col", "source_key_col", "source_shard_col", "keys"), str),
    **dict.fromkeys(("shard_digits", "samples_per_shard"), int),
    "json_id": bool,
}
# What `manifest.json` says of a shard.
SHARD_FIELDS = tuple(name for name in table_schema(MANIFEST) if name not in ("snapshot_id", "shard_id", "path"))
_SHARD_TEXTS = ("shard_name", "checksum", "sidecar_checksum")
_SHARD_KINDS: Mapping[str, type] = {name: str if name in _SHARD_TEXTS else int for name in SHARD_FIELDS}
# Names that a loader would take for a shard, and those that copying tools give to files they have not finished.
_STRAY = re.compile(
    r"\.(tar|tgz|tar\.gz|parquet|tmp|temp|part|partial)\Z|\A\..+\.(tar|parquet)\.\w{6}\Z", re.IGNORECASE
)
_INDEX = re.compile(r"(?P<stem>.+?)(\.tar)?\.idx")


class OutputState(NamedTuple):
    """What stands in an output folder: a finished export's manifest, an unfinished one's plan, or neither."""

    manifest: dict[str, Any] | None
    plan: dict[str, Any] | None
    is_empty: bool

    @property
    def is_foreign(self) -> bool:
        """Whether the folder holds files that neither a manifest nor a plan explains."""
        return not (self.manifest or self.plan or self.is_empty)


def staging_folder(output_root: str) -> str:
    """Give the folder in which an export's files wait for their final names."""
    return os.path.join(output_root, _STAGING_NAME)


def read_output(output_root: str) -> OutputState:
    """Look at an output folder; one that does not exist is empty.

    Raises:
        RequestError: It is no folder, or its manifest is not one of ours.
    """
    if not is_folder(output_root):
        if exists(output_root):
            raise RequestError(output_root, "it is no folder", "Pass an empty or a new folder")
        return OutputState(None, None, is_empty=True)
    is_empty = not set(list_names(output_root)) - {_STAGING_NAME}
    return OutputState(_read_manifest(output_root), read_plan(output_root), is_empty)


def read_plan(output_root: str) -> dict[str, Any] | None:
    """Give the plan of the export that is under way; None where there is none."""
    # A plan that a crash of the machine cut short explains nothing.
    with suppress(ValueError, RecursionError):
        found = read_json(os.path.join(staging_folder(output_root), PLAN_NAME))
        return found if _has_kinds(found, _PLAN_KINDS) else None
    return None


def read_finished(output_root: str) -> dict[str, Any]:
    """Give the manifest of a finished export.

    Raises:
        RequestError: There is none at this path.
    """
    if not is_folder(output_root):
        raise RequestError(output_root, "no such folder", "Pass the output of an export")
    state = read_output(output_root)
    if state.manifest:
        return state.manifest
    if state.plan:
        raise RequestError(
            output_root, "the export in it is not finished", "Run the same export again: it goes on where it stopped"
        )
    remedy = "Pass the output of an export; where only this file is lost, the same export again writes it anew"
    raise RequestError(output_root, f"there is no {MANIFEST_NAME}", remedy)


def is_output(folder: str) -> bool:
    """Tell a folder that an export has finished or claimed."""
    return exists(os.path.join(folder, MANIFEST_NAME)) or exists(staging_folder(folder))


def _read_manifest(output_root: str) -> dict[str, Any] | None:
    path = os.path.join(output_root, MANIFEST_NAME)
    found: Any = ()
    with suppress(ValueError, RecursionError):
        found = read_json(path)
    if found is None or _is_manifest(found):
        return cast("dict[str, Any] | None", found)
    remedy = "Pass another folder; where the file was damaged, remove it, and the same export again writes it anew"
    raise RequestError(path, "it is no manifest of an export", remedy)


def _is_manifest(found: Any) -> bool:
    """Tell whether what was read has the shape of a manifest."""
    return (
        _has_kinds(found, _MANIFEST_KINDS)
        and _has_kinds(found["settings"], _SETTINGS_KINDS)
        and found["settings"]["shard_digits"] <= MOST_SHARD_DIGITS
        and all(_has_kind(count, int) for count in found["drops"].values())
        and all(_has_kind(source, str) for source in found["columns"].values())
        and all(_is_shard(shard) for shard in found["shards"])
    )


def _has_kinds(found: Any, kinds: Mapping[str, type]) -> bool:
    return isinstance(found, dict) and all(_has_kind(found.get(name), kind) for name, kind in kinds.items())


def _is_shard(found: Any) -> bool:
    """Tell whether what was read has the shape of a manifest's shard."""
    return _has_kinds(found, _SHARD_KINDS) and all(found[name].isascii() for name in _SHARD_TEXTS)


def _has_kind(found: Any, kind: type) -> bool:
    if kind is int:  # True is one too, and tables hold none that is larger
        return isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**63
    return isinstance(found, kind)


def list_strays(output_root: str, shard_names: Collection[str]) -> list[str]:
    """List, by their paths in an output, files that a loader would take for its shards or that a crash left.

    What people and loaders put beside shards is none: cards, notes, checksums, indexes of shards that are there.

    Args:
        shard_names: The stems of the shards that belong there.
    """
    hidden = [name for name in list_names(output_root) if name.startswith(".")]
    paths = [*hidden, *(os.path.relpath(file.path, output_root) for file in list_files(output_root, recursive=True))]
    ours = {f"{name}{suffix}" for name in shard_names for suffix in (".tar", ".parquet")}
    # A crash behind the commit leaves the plan and who carried it out, which do no harm.
    harmless = {os.path.join(_STAGING_NAME, name) for name in (PLAN_NAME, ATTEMPT_NAME)}
    staged = list_paths(staging_folder(output_root))
    strays = [path for file in staged if (path := os.path.relpath(file, output_root)) not in harmless]
    for path in paths:
        index = _INDEX.fullmatch(path)
        of_no_shard = index is not None and os.sep not in path and index["stem"] not in shard_names
        if of_no_shard or (_STRAY.search(os.path.basename(path)) and path not in ours):
            strays.append(path)
    return sorted(strays)


def require_apart(dataset_root: str, output_root: str) -> None:
    """Refuse an output that is the input or lies inside it."""
    if is_inside(output_root, dataset_root):
        raise RequestError(output_root, "the output is the input or lies inside it", "Pass a folder elsewhere")


def require_same(state: OutputState, output_root: str, settings: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    """Refuse a folder that holds anything but this same export.

    Raises:
        RequestError: It names the first setting or input that differs.
    """
    found = state.manifest or state.plan
    if found is None:
        if state.is_foreign:
            raise RequestError(output_root, "the output folder is not empty", "Pass an empty or a new folder")
        return
    what = "a finished export" if state.manifest else "an unfinished export"
    for part, wanted in (("settings", settings), ("inputs", inputs)):
        for name, value in wanted.items():
            if found[part].get(name) != value:
                difference = f"{name} was {found[part].get(name)!r} and now is {value!r}"
                raise RequestError(
                    output_root,
                    f"the folder holds {what} with other {part}: {difference}",
                    "Pass another output folder, or remove this one",
                )


def finish_output(output_root: str, manifest: Mapping[str, Any], folder: str | None = None) -> None:
    """Publish the manifest; the export is visible to those who have no tables.

    Args:
        folder: The attempt's own: where another run has removed it, nothing is published. Without one the manifest is
            of an export that was committed before.
    """
    if folder is None:
        folder = os.path.join(staging_folder(output_root), os.urandom(8).hex())
        make_folder(folder)
    write_json(os.path.join(output_root, MANIFEST_NAME), manifest, folder)
    forget_attempts(output_root)


def forget_attempts(output_root: str) -> None:
    """Remove the plan of an export and what its attempts left."""
    remove_folder(staging_folder(output_root))


def discard_output(output_root: str, folder: str, shard_names: Iterable[str]) -> None:
    """Remove what an export wrote that can never be finished; files of others stay.

    Args:
        folder: The attempt's own.
        shard_names: The stems of the shards that it was to write.
    """
    # First what tasks that still run write to: after this none of them can publish on a file system. The plan goes
    # last, so that whoever finds the folder half removed knows what it is.
    remove_folder(folder)
    ours = {f"{name}{suffix}" for name in shard_names for suffix in (".tar", ".parquet")}
    remove_files(file.path for file in list_files(output_root) if os.path.basename(file.path) in ours)
    forget_attempts(output_root)
    if not (is_url(output_root) or os.listdir(output_root)):
        os.rmdir(output_root)
