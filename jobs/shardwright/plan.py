"""Plan an export: resolve the request, decide, place every kept sample, store that in ``exports``."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright.config import DEFAULT_ID_COL, ExportSettings
from shardwright.decide import Decision, decide, find_decisions, read_decisions
from shardwright.errors import DataError, Problem, ProblemsError, RequestError, RunError
from shardwright.files import free_bytes
from shardwright.format.headers import NAME_BYTES, ustar_split
from shardwright.format.names import join_name, position_digits
from shardwright.format.sidecar import SidecarColumn
from shardwright.frames import pairs
from shardwright.frames.columns import column
from shardwright.frames.layout import with_layout, with_new_key
from shardwright.index import Index, choose_index_tables
from shardwright.metadata import Metadata, find_metadata, load_metadata, require_selection
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
    output_root: str
    tables: Tables
    index_tables: Tables
    identity: dict[str, Any]
    inputs: dict[str, Any]
    snapshot_id: str


def resolve_request(spark: SparkSession, settings: ExportSettings, metadata: Metadata | None) -> Request:
    """Check a request against the dataset before any job runs."""
    source = settings.source
    dataset = list_dataset(source.dataset, recursive=source.recursive)
    require_apart(source.dataset, settings.output)
    if metadata is None:
        needs_rows = bool(settings.selection.rules or settings.selection.filter_column)
        metadata = (
            load_metadata(spark, dataset, source, "a rule") if needs_rows else find_metadata(spark, dataset, source)
        )
    require_selection(metadata, settings.selection)
    sidecar_columns(settings, metadata, {})
    tables = tables_at(source.tables, settings.output)
    index_tables = choose_index_tables(spark, dataset, tables_at(source.tables, source.dataset), tables)
    identity = settings.identity() | {"id_col": metadata.id_col if metadata else DEFAULT_ID_COL}
    inputs = {
        "dataset_root": dataset.dataset_root,
        "shards": digest(shard_identities(dataset)),
        "sidecars": digest(sidecar_identities(dataset)),
        "assigned": metadata.expressions if metadata else [],
    }
    if settings.selection.decisions:
        inputs["decisions"] = find_decisions(spark, index_tables, settings.selection.decisions, dataset)
    snapshot_id = digest("export", identity, inputs, settings.output)
    return Request(settings, dataset, metadata, settings.output, tables, index_tables, identity, inputs, snapshot_id)


def make_plan(spark: SparkSession, request: Request, index: Index) -> dict[str, Any]:
    """Decide, place every kept sample and store its place in ``exports``; in a dry run, only count."""
    settings = request.settings
    decisions = None
    if settings.selection.decisions:
        decisions = read_decisions(spark, request.index_tables, request.inputs["decisions"])
    decision = decide(index, request.metadata, settings.selection, settings.source.unmatched_rows, decisions)
    kept_by_shard = decision.kept_by_shard(len(request.dataset.shards))
    kept = sum(kept_by_shard)
    shard_count = -(-kept // settings.samples_per_shard)
    _require_possible(request, decision, kept, shard_count)
    first_ranks = [0, *accumulate(kept_by_shard)][:-1]
    kept_rows = decision.paired.filter(F.col("drop_reason").isNull()).withColumnRenamed("position", "source_position")
    _require_names(request, index, kept_rows)
    placed = with_layout(kept_rows.withColumnRenamed("key", "source_key"), first_ranks, settings.samples_per_shard)
    rows = _export_rows(request, placed, decision.columns)
    require_fitting(spark, request.tables, EXPORTS, rows)
    if not settings.dry_run and kept:
        with run_errors("export: store the plan"):
            append(request.tables, EXPORTS, rows, request.snapshot_id, {"operation": "export"})
        log(f"export: planned {kept:,} samples in {shard_count:,} shards")
    return {
        "snapshot_id": request.snapshot_id,
        "parent_snapshot_id": index.snapshot_id,
        "settings": request.identity,
        "inputs": request.inputs,
        "indexed": index.sample_count,
        "kept": kept,
        "dropped": decision.total(pairs.DROPPED),
        "rejected": 0,
        "unpaired_rows": {
            outcome: count
            for outcome in (pairs.FAILED_DOWNLOAD, pairs.UNMATCHED_ROW)
            if (count := decision.total(outcome))
        },
        "drops": decision.drops,
        "shard_count": shard_count,
        "planned_bytes": decision.kept_bytes,
        "columns": dict(decision.columns),
    }


def _require_possible(request: Request, decision: Decision, kept: int, shard_count: int) -> None:
    """Refuse a plan that can't be carried out, before anything is written."""
    settings = request.settings
    if not kept and not settings.allow_empty:
        drops = ", ".join(f"{reason}: {count:,}" for reason, count in decision.drops.items())
        found = f"no sample would be kept of {decision.total(pairs.DROPPED):,}{drops and f' (dropped by {drops})'}"
        raise DataError("export", found, "Loosen the rules, or pass --allow-empty. Nothing was written.")
    if shard_count > 10**settings.shard_digits:
        most = 10**settings.shard_digits
        found = f"{kept:,} samples make {shard_count:,} shards, {settings.shard_digits} digits number {most:,}"
        raise RequestError(
            "--shard-digits", found, f"Pass --shard-digits {len(str(shard_count - 1))} or a larger --samples-per-shard"
        )
    free = free_bytes(request.output_root)
    if decision.kept_bytes > free and not settings.dry_run:
        raise RunError(
            request.output_root,
            f"the export needs {decision.kept_bytes:,} bytes, {free:,} are free",
            "Make room or pass another output",
        )


def _require_names(request: Request, index: Index, kept: DataFrame) -> None:
    """Refuse member names that can't be written, and with ``--keys source`` keys that repeat."""
    settings = request.settings
    keeps_keys = settings.keys == "source"
    new_key_bytes = settings.shard_digits + position_digits(settings.samples_per_shard)
    longest = max(
        shard["longest_name_bytes"] if keeps_keys else new_key_bytes + 1 + shard["longest_ext_bytes"]
        for shard in index.shards
    )
    if longest > NAME_BYTES:
        key = F.col("key") if keeps_keys else F.repeat(F.lit("0"), new_key_bytes)
        bytes_bound = F.octet_length(key) + F.octet_length(F.array_join("member_exts", ".")) + 1
        long = kept.filter(bytes_bound > NAME_BYTES).select("shard_path", "key", key.alias("new_key"), "member_exts")
        problems = [
            Problem(row["shard_path"], row["key"], None, "long_name", f"ustar can't hold the name '{name[:60]}…'")
            for row in long.collect()
            for name in (join_name(row["new_key"], ext) for ext in row["member_exts"])
            if ustar_split(name.encode()) is None
        ]
        if problems:
            raise ProblemsError("export", problems, "Pass --keys renumber, or rename them. Nothing was written.")
    if keeps_keys:
        repeated = kept.groupBy("key").agg(F.count(F.lit(1)).alias("count"), F.min("shard_path").alias("shard_path"))
        rows = repeated.filter("count > 1").orderBy("key").limit(10_000).collect()
        if rows:
            problems = [
                Problem(row["shard_path"], row["key"], None, "duplicate_key", f"{row['count']:,} shards have the key")
                for row in rows
            ]
            raise ProblemsError("export", problems, "Pass --keys renumber. Nothing was written.")


def _export_rows(request: Request, placed: DataFrame, columns: Mapping[str, str]) -> DataFrame:
    """Give the rows of ``exports``."""
    settings = request.settings
    if settings.keys == "renumber":
        placed = with_new_key(placed, settings.shard_digits, position_digits(settings.samples_per_shard))
    else:
        placed = placed.withColumn("key", F.col("source_key"))
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
    ).sortWithinPartitions("shard_id", "position")


def sidecar_columns(
    settings: ExportSettings, metadata: Metadata | None, columns: Mapping[str, str]
) -> tuple[SidecarColumn, ...]:
    """Give the columns of the output's sidecars.

    Raises:
        RequestError: A column of the user's has the name of one that is to be added.
    """
    key_field = pa.field(metadata.id_col if metadata else DEFAULT_ID_COL, pa.string(), nullable=False)
    added = {settings.source_key_col: "--source-key-col", settings.source_shard_col: "--source-shard-col"}
    if metadata is None:
        chosen = [SidecarColumn("key", key_field.name, key_field)]
    else:
        ours = () if metadata.receipt is None else (metadata.receipt.source_key_col, metadata.receipt.source_shard_col)
        chosen = []
        for name in metadata.frame.columns:
            stored = metadata.field(name)
            if name in added and name in ours:
                continue  # the immediate source is what a row names; the chain of snapshots keeps the rest
            if name in added:
                raise RequestError(
                    added[name], f"the metadata has a column '{name}' of its own", f"Pass another {added[name]}"
                )
            if name == metadata.id_col:
                chosen.append(SidecarColumn("key", name, key_field if settings.keys == "renumber" else stored))
            else:
                chosen.append(SidecarColumn(columns.get(name, name), name, stored))
        if settings.old_id_col is not None:
            if settings.old_id_col in metadata.frame.columns:
                raise RequestError(
                    "old_id_col", f"the metadata has a column '{settings.old_id_col}'", "Pass another name"
                )
            id_field = metadata.field(metadata.id_col) or key_field
            chosen.append(SidecarColumn("source_key", settings.old_id_col, id_field.with_name(settings.old_id_col)))
    chosen += [
        SidecarColumn("source_key", settings.source_key_col, pa.field(settings.source_key_col, pa.string())),
        SidecarColumn("source_shard", settings.source_shard_col, pa.field(settings.source_shard_col, pa.string())),
    ]
    names = [column.name.lower() for column in chosen]
    for name, option in added.items():
        if not name or names.count(name.lower()) > 1:
            raise RequestError(option, f"the name '{name}' is empty or taken", f"Pass another {option}")
    return tuple(chosen)
