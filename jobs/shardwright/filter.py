"""filter: store which samples stay, and why the others do not; nothing is copied."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright.config import Selection, SourceSettings
from shardwright.decide import Decision, decide, sidecars_named
from shardwright.decisions import filter_inputs, newest_filter
from shardwright.errors import RequestError
from shardwright.frames import pairs
from shardwright.index import Index, choose_index_tables, indexed
from shardwright.joins import Joined, Joins, open_joins, run_joins
from shardwright.metadata import load_metadata, require_selection, rows_needed_for
from shardwright.rejects import QUARANTINE
from shardwright.reporting import log, snapshot_row
from shardwright.store.dataset import digest, list_dataset
from shardwright.store.rows import append_rows
from shardwright.store.session import run_errors
from shardwright.store.tables import DECISIONS, SNAPSHOTS, append, tables_at


def filter_dataset(spark: SparkSession, source: SourceSettings, selection: Selection) -> dict[str, Any]:
    """Store a decision for every sample of a dataset; the same filter again stores nothing new."""
    started = time.time()
    if selection.is_empty:
        raise RequestError("filter", "no rule was given", "Pass --where, --rule, --filter-column or --keep-list")
    dataset = list_dataset(source.dataset, recursive=source.recursive)
    metadata, joins = open_joins(
        spark, load_metadata(spark, dataset, source, rows_needed_for(selection, source)), selection, source
    )
    require_selection(metadata, selection)
    tables = choose_index_tables(spark, dataset, tables_at(source.tables, source.dataset), None)
    with ExitStack() as held, indexed(spark, dataset, tables) as index, sidecars_named(index):
        settings = _settings(source, selection, joins)
        settings_hash = digest(settings)
        joined = run_joins(spark, metadata, joins, held)
        decision = decide(index, joined.metadata, selection, source)
        decision.rejects.require_none("filter", QUARANTINE, source.sets_aside)
        counts = _counts(index, decision, joined)
        index.wait_stored()
        newest = newest_filter(spark, tables, dataset)
        if newest is not None and newest["settings_hash"] == settings_hash:
            snapshot_id = newest["snapshot_id"]
        else:
            # Where others came between, the same filter is stored again: `latest` is what ran last.
            snapshot_id = digest(
                "filter", index.snapshot_id, filter_inputs(dataset), settings, newest and newest["snapshot_id"]
            )
            provenance = {"operation": "filter", "parent_snapshot_id": index.snapshot_id}
            with run_errors("filter"):
                decision.rejects.store(spark, tables, snapshot_id, provenance)
                append(tables, DECISIONS, _decision_rows(decision, snapshot_id), snapshot_id, provenance)
            row = snapshot_row(
                operation="filter",
                started=started,
                settings=settings,
                settings_hash=settings_hash,
                inputs=filter_inputs(dataset),
                dataset_root=dataset.dataset_root,
                parent_snapshot_id=index.snapshot_id,
                **counts,
            )
            append_rows(spark, tables, SNAPSHOTS, [row], snapshot_id, provenance)
    join_counts = counts.pop("joins")
    seconds = round(time.time() - started, 1)
    log(f"filter: kept {counts['kept']:,} of {counts['indexed']:,} samples in {seconds} s")
    return {
        "snapshot_id": snapshot_id,
        "tables": tables.root,
        "shards": len(dataset.shards),
        **counts,
        **join_counts,
        "seconds": seconds,
    }


def _settings(source: SourceSettings, selection: Selection, joins: Joins) -> dict[str, Any]:
    """Give what decisions depend on beside the dataset."""
    return {
        "id_col": source.id_col,
        "rules": list(selection.rules.items()),
        "filter_column": selection.filter_column,
        "keep_list": selection.keep_list,
        "metadata": source.metadata,
        "joined": joins.inputs,
    }


def _counts(index: Index, decision: Decision, joined: Joined) -> dict[str, Any]:
    return {
        "indexed": index.sample_count,
        "kept": decision.total(pairs.KEPT),
        "dropped": decision.total(pairs.DROPPED),
        "rejected": decision.rejects.sample_count,
        "drops": decision.drops,
        "rejects": dict(sorted(decision.rejects.counts.items())),
        "joins": joined.counts(decision.paired.filter(F.col("drop_reason").isNull()), decision.columns),
    }


def _decision_rows(decision: Decision, snapshot_id: str) -> DataFrame:
    return decision.paired.select(
        F.lit(snapshot_id).alias("snapshot_id"),
        "shard_path",
        "position",
        "key",
        F.col("drop_reason").isNull().alias("keep"),
        "drop_reason",
    )
