"""clean: remove from a finished output what `verify` calls orphans."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from pyspark.sql import SparkSession

from shardwright.errors import DataError
from shardwright.files import describe, remove_empty_folders, remove_files
from shardwright.locations import is_url
from shardwright.reporting import log
from shardwright.store.output import is_output, list_strays, read_finished, staging_folder
from shardwright.store.rows import find_snapshot, read_rows
from shardwright.store.tables import MANIFEST, SNAPSHOTS, tables_of


def clean_output(
    spark: SparkSession, output_root: str, tables_option: str | None, *, delete: bool = False
) -> dict[str, Any]:
    """List an output's orphans; remove them only when asked to.

    What a shard of the snapshot may be named by, the manifest or the tables, is never an orphan here; nor is what
    lies in another output or, through a link, elsewhere.

    Raises:
        DataError: The manifest and the tables contradict each other: nobody knows what an orphan is.
        RequestError: There is no finished output of ours at this path.
    """
    started = time.time()
    manifest = read_finished(output_root)
    tables = tables_of(spark, manifest, tables_option, output_root)
    snapshot_id = manifest["snapshot_id"]
    listed = sum(shard["sample_count"] for shard in manifest["shards"])
    if listed != manifest["exported"]:
        found = f"the manifest lists shards of {listed:,} samples, and says that {manifest['exported']:,} were exported"
        raise DataError(output_root, found, "See what verify says. Nothing was removed.")
    if tables.exists(spark, SNAPSHOTS) and find_snapshot(spark, tables, snapshot_id) is None:
        found = f"the tables in {tables.root} know no snapshot '{snapshot_id}', which the manifest names"
        raise DataError(output_root, found, "See what verify says. Nothing was removed.")
    names = {shard["shard_name"] for shard in manifest["shards"]}
    names |= {row["shard_name"] for row in read_rows(spark, tables, MANIFEST, snapshot_id=snapshot_id)}
    orphans = list(_only_own(output_root, list_strays(output_root, names)))
    files = [describe(os.path.join(output_root, path)) for path in orphans]
    sizes = [file.size_bytes if file else 0 for file in files]  # a link that leads nowhere has none
    if delete:
        remove_files(os.path.join(output_root, path) for path in orphans)
        remove_empty_folders(staging_folder(output_root))
        log(f"clean: removed {len(orphans):,} files, {sum(sizes):,} bytes")
    elif orphans:
        log("clean: nothing was removed; pass --delete to remove these files")
    return {
        "snapshot_id": snapshot_id,
        "output": output_root,
        "tables": tables.root,
        "deleted": len(orphans) if delete else 0,
        "bytes": sum(sizes),
        "orphans": [{"path": path, "bytes": size} for path, size in zip(orphans, sizes, strict=True)],
        "seconds": round(time.time() - started, 1),
    }


def _only_own(output_root: str, paths: Iterable[str]) -> Iterable[str]:
    """Leave out what lies in another output, or elsewhere through a link to a folder."""
    root = output_root if is_url(output_root) else os.path.realpath(output_root)
    for path in paths:
        folder = os.path.dirname(path)
        above = [folder]
        while above[-1]:
            above.append(os.path.dirname(above[-1]))
        place = os.path.join(output_root, folder)
        is_linked = not is_url(root) and os.path.realpath(place) != os.path.join(root, folder).rstrip(os.sep)
        if is_linked or any(is_output(os.path.join(output_root, inner)) for inner in above[:-1]):
            log(f"clean: {path} is left: it lies in another output, or behind a link")
        else:
            yield path
