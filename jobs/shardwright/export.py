"""export: place the kept samples in shards, store that plan, write it, check the counts, commit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from shardwright.commit import commit_export, manifest_of, require_files
from shardwright.config import ExportSettings
from shardwright.errors import DataError, RunError
from shardwright.frames.columns import column
from shardwright.frames.spread import spread
from shardwright.index import indexed
from shardwright.locations import FileInfo, same_options
from shardwright.metadata import Metadata, sidecar_columns
from shardwright.plan import Request, make_plan, planned_shards, resolve_request
from shardwright.reporting import count_shards, log, progress
from shardwright.store.claim import Claim, claim_output
from shardwright.store.output import (
    OutputState,
    discard_output,
    finish_output,
    forget_attempts,
    read_output,
    require_same,
)
from shardwright.store.rows import find_snapshot
from shardwright.store.session import run_errors, task_count
from shardwright.store.tables import EXPORTS
from shardwright.store.types import in_tasks
from shardwright.tasks.packed import Packed
from shardwright.tasks.write import WRITTEN, WriteJob, write_shards

# Enough for a core that is done to find another, and each large enough for its start, some hundredths of a second, not
# to count.
_TASKS_PER_CORE, _TASK_BYTES = 16, 512 << 20
# A shuffle of more partitions costs more than uneven tasks do.
_MAX_TASKS = 10_000


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
    state = _look(spark, request)
    require_same(state, output_root, request.identity, request.inputs)
    if state.manifest:
        require_files(output_root, state.manifest["shards"])
        if state.plan and not settings.dry_run:
            forget_attempts(output_root)
        log(f"export: {output_root} holds this export already, no shard was written")
        return _result(request, state.manifest, started)
    # An unfinished export does not say what a dry run is asked for: the bytes of what is kept.
    plan = None if settings.dry_run else state.plan
    if plan is None:
        with indexed(spark, request.dataset, request.index_tables, store=not settings.dry_run) as index:
            plan = make_plan(spark, request, index)
    if settings.dry_run:
        return _result(request, plan, started)
    manifest = _carry_out(spark, request, plan, started)
    log(f"export: to check it, run: shardwright verify {output_root}{same_options()}")
    return _result(request, manifest, started)


def _look(spark: SparkSession, request: Request) -> OutputState:
    """Look at the output, and complete what a crash behind the commit left: a folder without its manifest."""
    output_root = request.output_root
    state = read_output(output_root)
    is_others = state.plan is not None and state.plan["snapshot_id"] != request.snapshot_id
    if state.manifest or state.is_empty or is_others:
        return state
    # The tables know whether it was finished.
    committed = find_snapshot(spark, request.tables, request.snapshot_id)
    if committed is None:
        return state
    manifest = manifest_of(spark, request, committed)
    require_files(output_root, manifest["shards"])
    if not request.settings.dry_run:
        finish_output(output_root, manifest)
    return state._replace(manifest=manifest, plan=None)


def _carry_out(spark: SparkSession, request: Request, plan: Mapping[str, Any], started: float) -> dict[str, Any]:
    """Claim the output, write the planned shards and commit; give the manifest.

    Raises:
        RunError: A later run of this export has taken over.
    """
    claim: Claim | None = None
    try:
        claim = claim_output(request.output_root, plan)
        found = read_output(request.output_root).manifest
        if found:  # since the first look
            return _finished_meanwhile(request, found)
        shards = _write(spark, request, plan, claim)
        manifest = commit_export(spark, request, plan, shards, claim, started)
    except (RunError, OSError):
        found = read_output(request.output_root).manifest
        if found:
            return _finished_meanwhile(request, found)
        # Whatever failed, failed because of that.
        if claim is not None:
            claim.require()
        raise
    log(f"export: committed {manifest['snapshot_id']} in {time.time() - started:.1f} s")
    return manifest


def _finished_meanwhile(request: Request, found: dict[str, Any]) -> dict[str, Any]:
    """Report what another run finished while this one was under way.

    Raises:
        RequestError: It was another export.
    """
    state = OutputState(found, None, is_empty=False)
    require_same(state, request.output_root, request.identity, request.inputs)
    forget_attempts(request.output_root)
    log(f"export: another run of this export has finished it in {request.output_root} meanwhile")
    return found


def _write(spark: SparkSession, request: Request, plan: Mapping[str, Any], claim: Claim) -> list[Row]:
    """Carry out the stored plan; give the manifest rows in order of ``shard_id``."""
    if not plan["kept"]:
        return []
    settings = request.settings
    job = WriteJob(
        dataset_root=request.dataset.dataset_root,
        output_root=request.output_root,
        staging=claim.folder,
        shard_digits=settings.shard_digits,
        json_id_field=request.identity["id_col"] if settings.rewrites_json else None,
        columns=sidecar_columns(settings, request.metadata, plan["columns"]),
        source_key_col=settings.source_key_col,
        source_shard_col=settings.source_shard_col,
        sources=Packed(FileInfo, (shard.file for shard in request.dataset.shards)),
    )
    needed = {column.source for column in job.columns}
    pointers = ["shard_id", "position", "key", "source_shard", "member_exts", "payload_offsets", "payload_bytes"]
    stored = request.tables.read(spark, EXPORTS).filter(F.col("snapshot_id") == request.snapshot_id)
    stored = stored.select(*pointers, *map(column, sorted(needed - set(pointers))))
    fewest, most = (task_count(spark, plan["shard_count"], per_core) for per_core in (1, _TASKS_PER_CORE))
    tasks = min(max(fewest, plan["planned_bytes"] // _TASK_BYTES), most, _MAX_TASKS)
    rows = spread(stored, "shard_id", plan["shard_count"], tasks).sortWithinPartitions("shard_id", "position")
    started = time.time()
    there = count_shards(request.output_root)
    if there:
        log(f"export: goes on, {there:,} of {plan['shard_count']:,} shards are there")
    try:
        with (
            run_errors("export: write"),
            progress("export", plan["shard_count"], lambda: count_shards(request.output_root)),
        ):
            shards = in_tasks(rows, partial(write_shards, job=job), WRITTEN).collect()
    except DataError:
        # The data will not change by itself: nothing of this export can be kept.
        claim.require()
        discard_output(request.output_root, claim.folder, planned_shards(request, plan))
        raise
    total_bytes = sum(row["shard_bytes"] + row["sidecar_bytes"] for row in shards)
    seconds = time.time() - started
    log(f"export: wrote {len(shards):,} shards, {plan['kept']:,} samples, {total_bytes:,} bytes in {seconds:.2f} s")
    return sorted(shards, key=lambda row: int(row["shard_id"]))


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
