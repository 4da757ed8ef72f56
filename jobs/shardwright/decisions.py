"""Find and read what an earlier filter decided."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright.errors import RequestError
from shardwright.index import index_id
from shardwright.store.dataset import Dataset, digest, sidecar_identities
from shardwright.store.rows import read_rows
from shardwright.store.tables import DECISIONS, SNAPSHOTS, Tables


def find_decisions(spark: SparkSession, tables: Tables, wanted: str, dataset: Dataset) -> str:
    """Find the filter of a dataset as it is now whose decisions are wanted: ``latest``, or a snapshot's id.

    Raises:
        RequestError: There is none.
    """
    found = newest_filter(spark, tables, dataset, None if wanted == "latest" else wanted)
    if found is None:
        missing = f"no filter '{wanted}' of this dataset as it is now in {tables.root}"
        raise RequestError("--decisions", missing, "Run shardwright filter first")
    return str(found["snapshot_id"])


def newest_filter(
    spark: SparkSession, tables: Tables, dataset: Dataset, snapshot_id: str | None = None
) -> dict[str, Any] | None:
    """Find the snapshot of the last filter, or of a given one, that ran on a dataset as it is now."""
    if not tables.exists(spark, DECISIONS):
        return None
    wanted = {"operation": "filter", "parent_snapshot_id": index_id(dataset)}
    wanted |= {"inputs": json.dumps(filter_inputs(dataset))} | ({"snapshot_id": snapshot_id} if snapshot_id else {})
    found = read_rows(spark, tables, SNAPSHOTS, **wanted)
    return max(found, key=itemgetter("committed_at"), default=None)


def filter_inputs(dataset: Dataset) -> dict[str, str]:
    """Give what decisions depend on beside the index."""
    return {"sidecars": digest(sidecar_identities(dataset))}


def read_decisions(spark: SparkSession, tables: Tables, snapshot_id: str) -> DataFrame:
    """Read what a filter decided: a row a sample."""
    return tables.read(spark, DECISIONS).filter(F.col("snapshot_id") == snapshot_id)
