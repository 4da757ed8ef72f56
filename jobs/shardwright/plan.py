"""Plan an export: resolve the request, decide, place every kept sample, store that in ``exports``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import accumulate
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright.config import DEFAULT_ID_COL, ExportSettings
from shardwright.decide import decide, sidecars_named
from shardwright.decisions import find_decisions, read_decisions
from shardwright.errors import CountsError, DataError, RequestError, RunError
from shardwright.files import free_bytes
from shardwright.format.headers import RECORD_BYTES
from shardwright.format.names import position_digits, shard_name
from shardwright.frames import pairs
from shardwright.frames.columns import column
from shardwright.frames.layout import with_layout, with_new_key
from shardwright.index import Index, choose_index_tables
from shardwright.inspection import Kept, keep_sound, require_checks
from shardwright.joins import Joins, open_joins, run_joins
from shardwright.locations import is_inside
from shardwright.metadata import (
    Metadata,
    find_metadata,
    load_metadata,
    require_selection,
    rows_needed_for,
    sidecar_columns,
)
from shardwright.rejects import QUARANTINE
from shardwright.reporting import log
from shardwright.store.dataset import Dataset, digest, list_dataset, shard_identities, sidecar_identities
from shardwright.store.output import require_apart
from shardwright.store.session import run_errors
from shardwright.store.tables import EXPORTS, Tables, append, require_fitting, tables_at


class Request(NamedTuple):
    """One export, resolved: which dataset, which tables, and what makes it the same export again."""

    settings: ExportSettings
    dataset: Dataset
    metadata: Metadata | None
    joins: Joins
    output_root: str
    tables: Tables
    index_tables: Tables
    identity: dict[str, Any]
    inputs: dict[str, Any]
    snapshot_id: str


def resolve_request(spark: SparkSession, settings: ExportSettings, metadata: Metadata | None) -> Request:
    """Check a request against the dataset before any sample is read."""
    source = settings.source
    dataset = list_dataset(source.dataset, recursive=source.recursive)
    require_apart(source.dataset, settings.output)
    if metadata is None:
        needed_for = rows_needed_for(settings.selection, source)
        metadata = (
            load_metadata(spark, dataset, source, needed_for) if needed_for else find_metadata(spark, dataset, source)
        )
    metadata, joins = open_joins(spark, metadata, settings.selection, source)
    require_selection(metadata, settings.selection)
    require_checks(settings, dataset, metadata)
    sidecar_columns(settings, metadata, {})  # it refuses names that the output can't have
    tables = tables_at(source.tables, settings.output)
    index_tables = choose_index_tables(spark, dataset, tables_at(source.tables, source.dataset), tables)
    for place in (tables, index_tables):
        if (
            not place.in_catalog
            and is_inside(place.root, dataset.dataset_root)
            and is_inside(dataset.dataset_root, place.root)
        ):
            raise RequestError(place.root, "the tables would lie among the shards", "Pass --tables with another folder")
    identity = settings.identity() | {"id_col": metadata.id_col if metadata else DEFAULT_ID_COL}
    inputs = {
        "dataset_root": dataset.dataset_root,
        "shards": digest(shard_identities(dataset)),
        "sidecars": digest(sidecar_identities(dataset)),
        "assigned": metadata.expressions if metadata else [],
        **joins.inputs,
    }
    if settings.selection.decisions:
        inputs["decisions"] = find_decisions(spark, index_tables, settings.selection.decisions, dataset)
    snapshot_id = digest("export", identity, inputs, settings.output)
    return Request(
        settings, dataset, metadata, joins, settings.output, tables, index_tables, identity, inputs, snapshot_id
    )


def make_plan(spark: SparkSession, request: Request, index: Index) -> dict[str, Any]:
    """Decide, place every kept sample and store its place in ``exports``; in a dry run, only count."""
    settings = request.settings
    source = settings.source
    decisions = None
    if settings.selection.decisions:
        decisions = read_decisions(spark, request.index_tables, request.inputs["decisions"])
    rewrites_json = settings.rewrites_json
    with sidecars_named(index), ExitStack() as held:
        joined = run_joins(spark, request.metadata, request.joins, held)
        decision = decide(
            index, joined.metadata, settings.selection, source, rewrites_json=rewrites_json, decisions=decisions
        )
        kept = keep_sound(settings, request.dataset, index, decision, held)
        rejects = decision.rejects
        rejects.require_none("export", QUARANTINE, source.sets_aside)
        kept_count = sum(kept.by_shard)
        shard_count = -(-kept_count // settings.samples_per_shard)
        plan = {
            "snapshot_id": request.snapshot_id,
            "parent_snapshot_id": index.snapshot_id,
            "settings": request.identity,
            "inputs": request.inputs,
            "indexed": index.sample_count,
            "kept": kept_count,
            "dropped": decision.total(pairs.DROPPED),
            "rejected": rejects.sample_count,
            "unpaired_rows": decision.unpaired_rows,
            "drops": decision.drops,
            "rejects": dict(sorted(rejects.counts.items())),
            "joins": joined.counts(kept.rows, decision.columns),
            "shard_count": shard_count,
            "planned_bytes": _planned_bytes(request, index, kept, shard_count),
            "columns": dict(decision.columns),
        }
        _require_possible(request, plan)
        placed = kept.rows.withColumnsRenamed({"position": "source_position", "key": "source_key"})
        placed = with_layout(placed, [0, *accumulate(kept.by_shard)][:-1], settings.samples_per_shard)
        rows = _export_rows(request, placed, decision.columns)
        require_fitting(spark, request.tables, EXPORTS, rows)
        if not settings.dry_run:
            provenance = {"operation": "export"}
            with run_errors("export: store the plan"):
                if rejects.counts:
                    index.wait_stored()  # it may write to the same table
                rejects.store(spark, request.tables, request.snapshot_id, provenance)
                if kept_count:
                    append(request.tables, EXPORTS, rows, request.snapshot_id, provenance)
            log(f"export: planned {kept_count:,} samples in {shard_count:,} shards")
    return plan


def planned_shards(request: Request, plan: Mapping[str, Any]) -> Iterator[str]:
    """Give the names of the shards that a plan writes."""
    return (shard_name(shard_id, request.settings.shard_digits) for shard_id in range(plan["shard_count"]))


def _planned_bytes(request: Request, index: Index, kept: Kept, shard_count: int) -> int:
    """Say what the tars will take; where the source itself would fit, it stands for them, and nobody adds up."""
    free = free_bytes(request.output_root)
    kept_share = sum(kept.by_shard) / max(index.sample_count, 1)
    fits = free is None or index.shard_bytes + _bytes_besides(request, kept_share, shard_count) <= free
    return index.shard_bytes if fits and not request.settings.dry_run else kept.count_bytes()


def _bytes_besides(request: Request, kept_share: float, shard_count: int) -> int:
    """Say what else is written: of the rows as many as samples are kept, and each tar filled up to a whole record."""
    rows_bytes = sum(shard.sidecar.size_bytes for shard in request.dataset.shards if shard.sidecar)
    return int(rows_bytes * kept_share) + shard_count * RECORD_BYTES


def _require_possible(request: Request, plan: Mapping[str, Any]) -> None:
    """Refuse a plan that can't be carried out or breaks a law, before anything is written."""
    settings, kept, shard_count = request.settings, plan["kept"], plan["shard_count"]
    settled = kept + plan["dropped"] + plan["rejected"]
    if settled != plan["indexed"]:
        raise CountsError("export", "the index holds", plan["indexed"], "kept, dropped and rejected are", settled)
    if not kept and not settings.allow_empty:
        drops = ", ".join(f"{reason}: {count:,}" for reason, count in {**plan["drops"], **plan["rejects"]}.items())
        found = f"no sample would be kept of {plan['indexed']:,}{drops and f' ({drops})'}"
        raise DataError("export", found, "Loosen the rules, or pass --allow-empty. Nothing was written.")
    if shard_count > 10**settings.shard_digits:
        most = 10**settings.shard_digits
        found = f"{kept:,} samples make {shard_count:,} shards, {settings.shard_digits} digits number {most:,}"
        raise RequestError(
            "--shard-digits", found, f"Pass --shard-digits {len(str(shard_count - 1))} or a larger --samples-per-shard"
        )
    free = free_bytes(request.output_root)
    needed = plan["planned_bytes"] + _bytes_besides(request, kept / max(plan["indexed"], 1), shard_count)
    if free is not None and needed > free and not settings.dry_run:
        raise RunError(
            request.output_root,
            f"the export needs {needed:,} bytes, {free:,} are free",
            "Make room or pass another output",
        )


def _export_rows(request: Request, placed: DataFrame, columns: Mapping[str, str]) -> DataFrame:
    """Give the rows of ``exports``, ordered within partitions: the layout ranks them in the order that it gives."""
    settings = request.settings
    if settings.keys == "renumber":
        placed = with_new_key(placed, settings.shard_digits, position_digits(settings.samples_per_shard))
    else:
        placed = placed.withColumnRenamed("new_key", "key")
    relative = F.expr(f"substring(shard_path, {len(request.dataset.dataset_root) + 2})")
    return placed.select(
        F.lit(request.snapshot_id).alias("snapshot_id"),
        "shard_id",
        "position",
        "key",
        "source_key",
        relative.alias("source_shard"),
        "member_exts",
        "payload_offsets",
        "payload_bytes",
        *map(column, columns.values()),
    )
