"""export: place the kept samples in shards, store that plan, write it, check the counts, commit."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import zip_longest
from operator import itemgetter
from typing import Any

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from shardwright.config import ExportSettings
from shardwright.errors import CountsError, DataError
from shardwright.frames.columns import column
from shardwright.frames.spread import spread
from shardwright.index import indexed
from shardwright.metadata import Metadata, sidecar_columns
from shardwright.plan import Request, make_plan, resolve_request
from shardwright.reporting import count_shards, log, progress, snapshot_row
from shardwright.store.dataset import digest, list_dataset
from shardwright.store.output import (
    SHARD_FIELDS,
    begin_output,
    discard_output,
    finish_output,
    read_output,
    require_same,
    staging_folder,
)
from shardwright.store.rows import append_rows, find_snapshot, read_rows
from shardwright.store.session import run_errors, task_count
from shardwright.store.tables import EXPORTS, MANIFEST, SAMPLES, SHARDS, SNAPSHOTS
from shardwright.store.types import spark_schema
from shardwright.tasks.write import WRITTEN, WriteJob, write_shards

# Enough for a core that is done to find another, and each large enough for its start, some hundredths of a second, not
# to count.
_TASKS_PER_CORE, _TASK_BYTES = 16, 512 << 20
# A shuffle of more partitions costs more than uneven tasks do.
_MAX_TASKS = 10_000
_COUNTS = ("indexed", "kept", "dropped", "rejected", "drops", "rejects", "unpaired_rows", "joins")
_JSON = (*_COUNTS[4:], "settings", "inputs", "columns", "table_versions", "tool_versions")


def export_dataset(spark: SparkSession, settings: ExportSettings, metadata: Metadata | None = None) -> dict[str, Any]:
    """Write the selected samples of a dataset as a new one; the same export again completes or reports it.

    Args:
        metadata: The dataset's metadata with the caller's own columns; read from the sidecars by default.

    Returns:
        What ``--json`` prints.
    """
    started = time.time()
    request = resolve_request(spark, settings, metadata)
    output_root = request.output_root
    state = read_output(output_root)
    # A crash after the commit leaves a folder without its manifest: the tables know that it is finished.
    unsure = not (state.manifest or state.is_empty)
    committed = find_snapshot(spark, request.tables, request.snapshot_id) if unsure else None
    if committed:
        manifest = _manifest_of(spark, request, committed)
        state = state._replace(manifest=manifest)
        if not settings.dry_run:
            finish_output(output_root, manifest)
    require_same(state, output_root, request.identity, request.inputs)
    if state.manifest:
        _require_files(output_root, state.manifest)
        log(f"export: {output_root} holds this export already, no shard was written")
        return _result(request, state.manifest, started)
    # An unfinished export does not say what a dry run is asked for: the bytes of what is kept.
    plan = None if settings.dry_run else state.plan
    if plan is None:
        with indexed(spark, request.dataset, request.index_tables, store=not settings.dry_run) as index:
            plan = make_plan(spark, request, index)
    if settings.dry_run:
        return _result(request, plan, started)
    begin_output(output_root, plan)
    shards = _write(spark, request, plan)
    manifest = _commit(spark, request, plan, shards, started)
    log(f"export: committed {manifest['snapshot_id']} in {time.time() - started:.1f} s")
    log(f"export: to check it, run: shardwright verify {output_root}")
    return _result(request, manifest, started)


def _require_files(output_root: str, manifest: Mapping[str, Any]) -> None:
    """Refuse to report a finished export whose files are not all there; `verify` looks into them too.

    Raises:
        DataError: It names the first file.
    """
    for shard in manifest["shards"]:
        for suffix, size in ((".tar", shard["shard_bytes"]), (".parquet", shard["sidecar_bytes"])):
            path = os.path.join(output_root, f"{shard['shard_name']}{suffix}")
            found = os.path.getsize(path) if os.path.exists(path) else None
            if found != size:
                state = "missing" if found is None else f"of {found:,} bytes, not {size:,}"
                remedy = "Remove the folder and run the same command again, or see what verify says"
                raise DataError(path, f"the export was finished, and now the file is {state}", remedy)


def _write(spark: SparkSession, request: Request, plan: Mapping[str, Any]) -> list[Row]:
    """Carry out the stored plan; give the manifest rows in order of ``shard_id``."""
    if not plan["kept"]:
        return []
    settings = request.settings
    job = WriteJob(
        dataset_root=request.dataset.dataset_root,
        output_root=request.output_root,
        staging=staging_folder(request.output_root),
        shard_digits=settings.shard_digits,
        json_id_field=request.identity["id_col"] if settings.rewrites_json else None,
        columns=sidecar_columns(settings, request.metadata, plan["columns"]),
        source_key_col=settings.source_key_col,
        source_shard_col=settings.source_shard_col,
    )
    needed = {column.source for column in job.columns}
    pointers = ["shard_id", "position", "key", "source_shard", "member_exts", "payload_offsets", "payload_bytes"]
    stored = request.tables.read(spark, EXPORTS).filter(F.col("snapshot_id") == request.snapshot_id)
    stored = stored.select(*pointers, *map(column, sorted(needed - set(pointers))))
    fewest, most = (task_count(spark, plan["shard_count"], per_core) for per_core in (1, _TASKS_PER_CORE))
    tasks = min(max(fewest, plan["planned_bytes"] // _TASK_BYTES), most, _MAX_TASKS)
    rows = spread(stored, "shard_id", plan["shard_count"], tasks).sortWithinPartitions("shard_id", "position")
    started = time.time()
    try:
        with (
            run_errors("export: write"),
            progress("export", plan["shard_count"], lambda: count_shards(request.output_root)),
        ):
            shards = rows.mapInArrow(partial(write_shards, job=job), spark_schema(WRITTEN)).collect()
    except DataError:
        # The data will not change by itself: nothing of this export can be kept.
        discard_output(request.output_root)
        raise
    total_bytes = sum(row["shard_bytes"] + row["sidecar_bytes"] for row in shards)
    seconds = time.time() - started
    log(f"export: wrote {len(shards):,} shards, {plan['kept']:,} samples, {total_bytes:,} bytes in {seconds:.2f} s")
    return sorted(shards, key=lambda row: int(row["shard_id"]))


def _commit(
    spark: SparkSession, request: Request, plan: Mapping[str, Any], shards: list[Row], started: float
) -> dict[str, Any]:
    """Check the counts and make the export visible: manifest rows, the snapshot's row, ``manifest.json``."""
    exported = sum(row["sample_count"] for row in shards)
    size = request.settings.samples_per_shard
    placed = [(shard_id, min(size, plan["kept"] - shard_id * size)) for shard_id in range(plan["shard_count"])]
    written = [(row["shard_id"], row["sample_count"]) for row in shards]
    if written != placed:
        shard_id = min(set(placed) ^ set(written) or {(0, 0)})[0]
        wanted, found = dict(placed).get(shard_id, 0), dict(written).get(shard_id, 0)
        raise CountsError(f"export: shard {shard_id}", "the layout places", wanted, "written were", found)
    _require_unchanged(request)
    tables, snapshot_id = request.tables, request.snapshot_id
    provenance = {"operation": "export", "parent_snapshot_id": plan["parent_snapshot_id"]}
    rows = [{**row.asDict(), "path": os.path.join(request.output_root, f"{row['shard_name']}.tar")} for row in shards]
    if rows:
        append_rows(spark, tables, MANIFEST, rows, snapshot_id, provenance)
    snapshot = snapshot_row(
        operation="export",
        started=started,
        settings=request.identity,
        settings_hash=digest(request.identity),
        dataset_root=request.dataset.dataset_root,
        output_root=request.output_root,
        parent_snapshot_id=plan["parent_snapshot_id"],
        inputs=request.inputs,
        columns=plan["columns"],
        table_versions=_table_versions(spark, request),
        exported=exported,
        **{name: plan[name] for name in _COUNTS},
    )
    append_rows(spark, tables, SNAPSHOTS, [snapshot], snapshot_id, provenance)
    manifest = _manifest_of(spark, request, {"snapshot_id": snapshot_id, **snapshot}, rows)
    finish_output(request.output_root, manifest)
    return manifest


def _require_unchanged(request: Request) -> None:
    """Refuse to commit what was read from files that changed meanwhile.

    Raises:
        DataError: Nothing that was written can be kept.
    """
    now = list_dataset(request.dataset.dataset_root, recursive=request.settings.source.recursive)
    if now.shards != request.dataset.shards:
        pairs = zip_longest(request.dataset.shards, now.shards)
        place = next((before or found).file.path for before, found in pairs if before != found)
        discard_output(request.output_root)
        remedy = "Run the command again when nothing writes there. Nothing was committed."
        raise DataError(place, "the shard changed while it was exported", remedy)


def _manifest_of(
    spark: SparkSession, request: Request, snapshot: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Give ``manifest.json`` from the row of ``snapshots`` and the rows of ``manifest``."""
    if rows is None:
        stored = read_rows(spark, request.tables, MANIFEST, snapshot_id=snapshot["snapshot_id"])
        rows = sorted(stored, key=itemgetter("shard_id"))
    return {
        **{name: json.loads(value or "{}") if name in _JSON else value for name, value in snapshot.items()},
        **{name: snapshot[name].isoformat() for name in ("started_at", "committed_at")},
        "tables": request.tables.root,
        "shards": [{name: row[name] for name in SHARD_FIELDS} for row in rows],
    }


def _table_versions(spark: SparkSession, request: Request) -> dict[str, int]:
    """Give the versions of the tables that the export read; a resumed one may not have read the index."""
    return {
        table: tables.version(spark, table)
        for tables, table in (
            (request.index_tables, SHARDS),
            (request.index_tables, SAMPLES),
            (request.tables, EXPORTS),
        )
        if tables.exists(spark, table)
    }


def _result(request: Request, found: Mapping[str, Any], started: float) -> dict[str, Any]:
    """Give what ``--json`` prints, from a manifest or from a plan."""
    shards: list[Mapping[str, Any]] | None = found.get("shards")
    written = [shard["shard_bytes"] + shard["sidecar_bytes"] for shard in shards or ()]
    return {
        "snapshot_id": found["snapshot_id"],
        "output": request.output_root,
        "tables": found.get("tables", request.tables.root),
        "shards": found["shard_count"] if shards is None else len(shards),
        **{name: found[name] for name in ("indexed", "kept", "dropped", "rejected")},
        "exported": found.get("exported", 0),
        "drops": found["drops"],
        "rejects": found["rejects"],
        "unpaired_rows": found["unpaired_rows"],
        **found.get("joins", {}),
        "bytes": found["planned_bytes"] if shards is None else sum(written),
        "seconds": round(time.time() - started, 1),
    }
