"""The rows that a driver makes and reads: one for each shard, problem or snapshot.

On this machine they go to the tables and come back without Spark, which takes half a second for a row.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shardwright.errors import RunError
from shardwright.locations import without_secrets
from shardwright.object_store import delta_options
from shardwright.store.conflicts import CONFLICT_TRIES
from shardwright.store.session import is_ours
from shardwright.store.tables import (
    SCHEMAS,
    SNAPSHOTS,
    Tables,
    append,
    table_properties,
    table_schema,
    transaction_of,
    user_metadata,
)

# deltalake takes a path for a part of a URL, and fails on others or writes elsewhere.
_PLAIN_PATH = re.compile(r"(\w+://)?[\w /.,=+~@-]+")
_DRAWN = re.compile(r"\x1b\[\d*m|↳")
# The types of the tables whose rows the driver makes.
_ARROW_TYPES = {"string": pa.string(), "bigint": pa.int64(), "timestamp": pa.timestamp("us", "UTC")}


def read_rows(spark: SparkSession, tables: Tables, table: str, **values: str) -> list[dict[str, Any]]:
    """Read the rows that have these values; times are in UTC. Empty where there is no such table."""
    if not tables.exists(spark, table):
        return []
    if _is_at_hand(spark, tables):
        from deltalake import DeltaTable  # clusters need not have it
        from deltalake.exceptions import DeltaError

        filters = [(name, "=", value) for name, value in values.items()]
        # Spark reads what later protocols bring, and says what is wrong with a file.
        with suppress(DeltaError, pa.ArrowException, OSError):
            found = DeltaTable(os.path.join(tables.root, table), storage_options=delta_options(tables.root))
            return list(found.to_pyarrow_table(filters=filters or None).to_pylist())
    frame = tables.read(spark, table)
    for name, value in values.items():
        frame = frame.filter(F.col(name) == value)
    return [
        {
            name: value.astimezone(timezone.utc) if isinstance(value, datetime) else value
            for name, value in row.asDict().items()
        }
        for row in frame.collect()
    ]


def find_snapshot(spark: SparkSession, tables: Tables, snapshot_id: str) -> dict[str, Any] | None:
    """Find a committed snapshot."""
    return next(iter(read_rows(spark, tables, SNAPSHOTS, snapshot_id=snapshot_id)), None)


def append_rows(
    spark: SparkSession,
    tables: Tables,
    table: str,
    rows: Iterable[Mapping[str, Any]],
    snapshot_id: str,
    provenance: Mapping[str, Any],
) -> None:
    """Append rows that the driver made, once: one for each shard, problem or snapshot."""
    names = table_schema(table)
    values = [tuple({**row, "snapshot_id": snapshot_id}.get(name) for name in names) for row in rows]
    if _is_at_hand(spark, tables):
        _append_values(tables, table, values, snapshot_id, provenance)
    else:
        frame = spark.createDataFrame(values, SCHEMAS[table]).coalesce(1)
        append(tables, table, frame, snapshot_id, provenance)


def _is_at_hand(spark: SparkSession, tables: Tables) -> bool:
    return is_ours(spark) and not tables.in_catalog and _PLAIN_PATH.fullmatch(tables.root) is not None


def _append_values(
    tables: Tables, table: str, values: Sequence[tuple[Any, ...]], snapshot_id: str, provenance: Mapping[str, Any]
) -> None:
    """Append to a table on this machine without Spark, which takes half a second to commit a row."""
    from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake  # clusters need not have it
    from deltalake.exceptions import DeltaError

    declared = (column.split() for column in SCHEMAS[table].split(","))
    schema = pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in declared])
    columns = zip(*values, strict=True)
    rows = pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)
    path, transaction = os.path.join(tables.root, table), transaction_of(snapshot_id, table)
    options = delta_options(path)
    properties = CommitProperties(
        custom_metadata={"userMetadata": user_metadata(snapshot_id, provenance)},
        app_transactions=[Transaction(transaction, 1)],
    )
    for tries_left in reversed(range(CONFLICT_TRIES)):
        try:
            if not DeltaTable.is_deltatable(path, storage_options=options):
                # Empty, so that the rows are appended to a state that is known: two who made it with rows could both.
                DeltaTable.create(
                    path, schema, mode="ignore", configuration=table_properties(table), storage_options=options
                )
            # The state that is looked into is the one that is appended to: a commit in between is a conflict.
            current = DeltaTable(path, storage_options=options)
            if current.transaction_version(transaction) is None:
                write_deltalake(current, rows, mode="append", commit_properties=properties)
            return
        except (DeltaError, OSError) as error:
            # Another commit may have come first, or the answer to this one was lost.
            if not tries_left:
                raise RunError(path, _in_a_line(error), "Run the same command again to go on") from None


def _in_a_line(error: Exception) -> str:
    """Give what deltalake says, which it draws as a coloured tree of causes."""
    causes = (line.strip() for line in _DRAWN.sub("", str(error)).splitlines())
    return without_secrets(": ".join(filter(None, causes)))[:300]
