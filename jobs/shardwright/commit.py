"""Make an export visible: what is checked first, and in which order it is stored.

Rows of ``manifest``, then the row of ``snapshots``, which is the commit, then ``manifest.json``. Whoever fails or dies
between two of them leaves what the same command completes: each is stored once, however often it is tried.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from operator import itemgetter
from typing import Any

from pyspark.sql import Row, SparkSession

from shardwright.errors import ChangedError, CountsError, DataError
from shardwright.files import list_files
from shardwright.plan import Request, planned_shards
from shardwright.reporting import snapshot_row
from shardwright.store.claim import Claim
from shardwright.store.dataset import digest, list_dataset, shard_identities, sidecar_identities
from shardwright.store.output import SHARD_FIELDS, discard_output, finish_output
from shardwright.store.rows import append_rows, find_snapshot, read_rows
from shardwright.store.session import run_errors
from shardwright.store.tables import EXPORTS, MANIFEST, SAMPLES, SHARDS, SNAPSHOTS

_COUNTS = ("indexed", "kept", "dropped", "rejected", "drops", "rejects", "unpaired_rows", "joins")
_JSON = (*_COUNTS[4:], "settings", "inputs", "columns", "table_versions", "tool_versions")


def commit_export(
    spark: SparkSession, request: Request, plan: Mapping[str, Any], shards: list[Row], claim: Claim, started: float
) -> dict[str, Any]:
    """Check the counts and make the export visible: manifest rows, the snapshot's row, ``manifest.json``."""
    size = request.settings.samples_per_shard
    placed = [(shard_id, min(size, plan["kept"] - shard_id * size)) for shard_id in range(plan["shard_count"])]
    written = [(row["shard_id"], row["sample_count"]) for row in shards]
    if written != placed:
        shard_id = min(set(placed) ^ set(written) or {(0, 0)})[0]
        wanted, found = dict(placed).get(shard_id, 0), dict(written).get(shard_id, 0)
        raise CountsError(f"export: shard {shard_id}", "the layout places", wanted, "written were", found)
    _require_unchanged(request, plan, claim)
    claim.require()
    # What a run that has lost its claim may still have removed.
    require_files(request.output_root, [row.asDict() for row in shards])
    rows = [{**row.asDict(), "path": os.path.join(request.output_root, f"{row['shard_name']}.tar")} for row in shards]
    with run_errors("export: commit"):
        snapshot = _store(spark, request, plan, rows, claim, started)
    manifest = manifest_of(spark, request, snapshot, rows)
    claim.require()
    finish_output(request.output_root, manifest, claim.folder)
    return manifest


def require_files(output_root: str, shards: Iterable[Mapping[str, Any]]) -> None:
    """Refuse to report or commit shards whose files are not all there; `verify` looks into them too.

    Raises:
        DataError: It names the first file.
    """
    sizes = {file.path: file.size_bytes for file in list_files(output_root)}
    for shard in shards:
        for suffix, size in ((".tar", shard["shard_bytes"]), (".parquet", shard["sidecar_bytes"])):
            path = os.path.join(output_root, f"{shard['shard_name']}{suffix}")
            found = sizes.get(path)
            if found != size:
                state = "missing" if found is None else f"of {found:,} bytes, not {size:,}"
                remedy = "Remove the folder and run the same command again, or see what verify says"
                raise DataError(path, f"the shard was finished, and now the file is {state}", remedy)


def manifest_of(
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


def _require_unchanged(request: Request, plan: Mapping[str, Any], claim: Claim) -> None:
    """Refuse to commit what was read from files that changed meanwhile.

    Raises:
        ChangedError: Nothing that was written can be kept.
    """
    root = request.dataset.dataset_root
    now = list_dataset(root, recursive=request.settings.source.recursive)
    states = zip_longest(*([*shard_identities(each), *sidecar_identities(each)] for each in (request.dataset, now)))
    changed = next((before or found for before, found in states if before != found), None)
    if changed:
        claim.require()
        discard_output(request.output_root, claim.folder, planned_shards(request, plan))
        raise ChangedError(os.path.join(root, changed[0]))


def _store(
    spark: SparkSession,
    request: Request,
    plan: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    claim: Claim,
    started: float,
) -> Mapping[str, Any]:
    """Append to the tables what they do not have yet; give the snapshot's row as it stands there."""
    tables, snapshot_id = request.tables, request.snapshot_id
    provenance = {"operation": "export", "parent_snapshot_id": plan["parent_snapshot_id"]}
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
        exported=sum(row["sample_count"] for row in rows),
        **{name: plan[name] for name in _COUNTS},
    )
    # Meanwhile a later run may have found that the input changed, and removed the files.
    claim.require()
    append_rows(spark, tables, SNAPSHOTS, [snapshot], snapshot_id, provenance)
    # Where it was committed before, that row stands, and not this one.
    return find_snapshot(spark, tables, snapshot_id) or {"snapshot_id": snapshot_id, **snapshot}


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
