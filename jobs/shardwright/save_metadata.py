"""save-metadata: write a dataset's metadata, with computed columns, to another folder or back in place."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from shardwright.config import SourceSettings
from shardwright.errors import CountsError, ProblemsError, RequestError, did_you_mean
from shardwright.files import is_folder, list_files, make_folder, remove_folder
from shardwright.frames.columns import column, table_columns
from shardwright.frames.pairs import FILE, STEM, with_stem
from shardwright.index import choose_index_tables
from shardwright.locations import is_inside, require_writable
from shardwright.metadata import Metadata, load_metadata
from shardwright.reporting import log, snapshot_row
from shardwright.store.dataset import (
    Dataset,
    digest,
    list_dataset,
    replace_sidecars,
    replacements_folder,
    shard_stem,
    sidecar_identities,
)
from shardwright.store.rows import append_rows
from shardwright.store.session import run_errors, task_count
from shardwright.store.sidecars import count_rows, row_place, sidecar_stems
from shardwright.store.tables import SNAPSHOTS, tables_at
from shardwright.store.types import in_tasks
from shardwright.tasks.packed import Packed
from shardwright.tasks.save import SAVED, SaveJob, Sidecar, copy_sidecars, save_sidecars


def save_metadata(
    spark: SparkSession,
    source: SourceSettings,
    path: str | None,
    columns: Sequence[str] | None = None,
    metadata: Metadata | None = None,
) -> dict[str, Any]:
    """Write one Parquet file for each sidecar: same name, same rows, same order.

    Args:
        path: A folder to write to; None replaces the sidecars, each at once, when all are written.
        columns: With ``path``: exactly these and the id column. Without: only these are added or
            updated, all others stay. None: all.
        metadata: The metadata with the caller's own columns; read from the sidecars by default.

    Raises:
        RequestError: A column is unknown, or ``path`` is the dataset or holds other files.
    """
    started = time.time()
    if isinstance(columns, str):
        raise RequestError("columns", f"it is the text '{columns}'", f"Pass a list, [{columns!r}]")
    dataset = list_dataset(source.dataset, recursive=source.recursive)
    metadata = metadata or load_metadata(spark, dataset, source, "save-metadata", placed=True)
    broken = [problem for shard_index, problem in metadata.problems if shard_index is not None]
    if broken:
        raise ProblemsError("save-metadata", broken, "Each sidecar is written anew, so each must be there.")
    unknown = [name for name in columns or () if name not in metadata.names]
    if unknown:
        raise RequestError("columns", f"no column '{unknown[0]}'", did_you_mean(unknown[0], metadata.names))
    _require_target(dataset, path)
    tables = choose_index_tables(
        spark, dataset, tables_at(source.tables, source.dataset), tables_at(None, path) if path else None
    )
    saved = _write(spark, dataset, metadata, _save_job(dataset, metadata, path, columns), in_place=path is None)
    row_count = sum(row["row_count"] for row in saved)
    settings = {"columns": columns and list(columns), "assigned": metadata.expressions, "path": path}
    snapshot_id = digest("save-metadata", dataset.dataset_root, sidecar_identities(dataset), settings, started)
    root = path or dataset.dataset_root
    row = snapshot_row(
        operation="save-metadata",
        started=started,
        settings=settings,
        dataset_root=dataset.dataset_root,
        output_root=root,
    )
    append_rows(spark, tables, SNAPSHOTS, [row], snapshot_id, {"operation": "save-metadata"})
    seconds = round(time.time() - started, 1)
    log(f"save-metadata: wrote {row_count:,} rows in {len(saved):,} files to {root} in {seconds} s")
    return {
        "snapshot_id": snapshot_id,
        "output": root,
        "tables": tables.root,
        "shards": len(saved),
        "rows": row_count,
        "bytes": sum(row["size_bytes"] for row in saved),
        "seconds": seconds,
    }


def _write(spark: SparkSession, dataset: Dataset, metadata: Metadata, job: SaveJob, *, in_place: bool) -> list[Row]:
    """Write the files and check their counts, then put them in place."""
    row_counts = count_rows(dataset)
    expected = sum(row_counts.values())
    empty = [sidecar.stem for sidecar in job.sidecars if not row_counts[sidecar.source_path]]
    try:
        with run_errors("save-metadata"):
            saved = _saved(spark, metadata, job, empty).collect()
        row_count = sum(row["row_count"] for row in saved)
        if row_count != expected or len(saved) != len(job.sidecars):
            raise CountsError("save-metadata", "the sidecars had", expected, "the files written hold", row_count)
    except BaseException:
        if in_place:
            remove_folder(replacements_folder(dataset.dataset_root))
        raise
    if in_place:
        replace_sidecars(dataset.dataset_root)
    return saved


def _save_job(dataset: Dataset, metadata: Metadata, path: str | None, columns: Sequence[str] | None) -> SaveJob:
    """Say which file goes where, which columns are computed and which are written; make the target's folders."""
    names = metadata.names
    written = [name for name in names if name in metadata.computed and (columns is None or name in columns)]
    chosen = None
    if path is not None:
        asked = list(columns) if columns is not None else names
        chosen = tuple(dict.fromkeys(asked if metadata.id_col in asked else [metadata.id_col, *asked]))
    sidecars = []
    if path is None:
        remove_folder(replacements_folder(dataset.dataset_root))
    for shard in dataset.shards:
        if shard.sidecar:
            relative = os.path.relpath(shard.sidecar.path, dataset.dataset_root)
            target = os.path.join(path or replacements_folder(dataset.dataset_root), relative)
            make_folder(os.path.dirname(target))
            sidecars.append(Sidecar(shard_stem(shard.file.path), shard.sidecar.path, target))
    return SaveJob(Packed(Sidecar, sidecars), table_columns(written, (STEM, "row_index")), chosen)


def _require_target(dataset: Dataset, path: str | None) -> None:
    if path is None:
        return
    require_writable(path)
    if is_inside(path, dataset.dataset_root) and is_inside(dataset.dataset_root, path):
        raise RequestError(path, "it is the dataset itself", "Leave the path out to write back in place")
    ours = {os.path.relpath(shard.sidecar.path, dataset.dataset_root) for shard in dataset.shards if shard.sidecar}
    found = list_files(path, recursive=True) if is_folder(path) else []
    others = sorted({os.path.relpath(file.path, path) for file in found} - ours)
    if others:
        raise RequestError(
            path, f"the folder holds other files ({others[0]}{', …' if len(others) > 1 else ''})", "Pass a new folder"
        )


def _saved(spark: SparkSession, metadata: Metadata, job: SaveJob, empty: Sequence[str]) -> DataFrame:
    if not job.computed:
        count = len(job.sidecars)
        places = spark.range(0, count, 1, task_count(spark, count))
        return in_tasks(places, partial(copy_sidecars, job=job), SAVED)
    file, row_index = row_place(metadata.frame)
    rows = metadata.frame.select(
        file.alias(FILE),
        row_index.alias("row_index"),
        *(column(name).alias(arriving) for name, arriving in job.computed.items()),
    )
    rows = with_stem(rows, sidecar_stems(metadata.frame))
    rows = rows.select(STEM, *(name for name in rows.columns if name != STEM))
    for stem in empty:
        # A sidecar without rows is written too: a row without a number stands for it.
        nothing = [F.lit(None).cast(field.dataType).alias(field.name) for field in rows.schema.fields[1:]]
        rows = rows.unionByName(spark.range(1).select(F.lit(stem).alias(STEM), *nothing))
    placed = rows.repartition(task_count(spark, len(job.sidecars)), STEM).sortWithinPartitions(STEM, "row_index")
    return in_tasks(placed, partial(save_sidecars, job=job), SAVED)
