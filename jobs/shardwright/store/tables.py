"""The Delta tables: what a row of each is, where they lie, how they are read and appended to."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession

from shardwright.errors import RequestError
from shardwright.files import absolute, list_names
from shardwright.locations import beside as beside_it
from shardwright.locations import is_inside, is_url, to_spark
from shardwright.store.conflicts import retry_conflicts

SHARDS, SAMPLES, DECISIONS = "shards", "samples", "decisions"
EXPORTS, MANIFEST, REJECTS, SNAPSHOTS = "exports", "manifest", "rejects", "snapshots"

_PROBLEM = "problem string, problem_offset bigint, problem_detail string"
_POINTERS = "member_exts array<string>, payload_offsets array<bigint>, payload_bytes array<bigint>"

# The columns of each table, in order. `exports` has the metadata columns behind these.
SCHEMAS: Mapping[str, str] = {
    SHARDS: f"""snapshot_id string, dataset_root string, shard_index bigint, shard_path string, shard_bytes bigint,
        modified_ns bigint, etag string, sample_count bigint, unsound_count bigint, longest_name_bytes bigint,
        longest_ext_bytes bigint, key_low bigint, key_high bigint, key_characters bigint, member_count bigint,
        skipped_count bigint, dialect string, {_PROBLEM}, scan_id string""",
    SAMPLES: f"""scan_id string, shard_path string, position bigint, key string, sample_offset bigint,
        sample_bytes bigint, written_bytes bigint, {_POINTERS}, {_PROBLEM}""",
    DECISIONS: """snapshot_id string, shard_path string, position bigint, key string, keep boolean,
        drop_reason string""",
    EXPORTS: f"""snapshot_id string, shard_id bigint, position bigint, key string, source_key string,
        source_shard string, {_POINTERS}""",
    MANIFEST: """snapshot_id string, shard_id bigint, shard_name string, path string, sample_count bigint,
        shard_bytes bigint, sidecar_bytes bigint, checksum string, sidecar_checksum string""",
    REJECTS: """snapshot_id string, unit string, shard_path string, key string, offset bigint, reason string,
        detail string, sample_count bigint""",
    SNAPSHOTS: """snapshot_id string, parent_snapshot_id string, operation string, dataset_root string,
        output_root string, settings string, settings_hash string, inputs string, indexed bigint, kept bigint,
        dropped bigint, rejected bigint, exported bigint, drops string, rejects string, unpaired_rows string,
        joins string, columns string, table_versions string, tool_versions string,
        started_at timestamp, committed_at timestamp""",
}

_PARTITIONS: Mapping[str, str] = {EXPORTS: "snapshot_id", DECISIONS: "snapshot_id"}
# File statistics on what queries filter by, never on an embedding.
_STATISTICS: Mapping[str, str] = {SAMPLES: "scan_id,shard_path,position,key", EXPORTS: "shard_id,position,key"}


class Tables(NamedTuple):
    """Where a set of tables lies: a folder, or ``catalog.schema``."""

    root: str

    def name(self, table: str) -> str:
        """Give the table's name in SQL."""
        path = to_spark(os.path.join(self.root, table)).replace("`", "``")
        return f"{self.root}.{table}" if self.in_catalog else f"delta.`{path}`"

    @property
    def in_catalog(self) -> bool:
        return re.fullmatch(r"\w+\.\w+", self.root) is not None

    def exists(self, spark: SparkSession, table: str) -> bool:
        if self.in_catalog:
            return spark.catalog.tableExists(self.name(table))
        # A crash may leave the folder before the first commit.
        return any(
            name.endswith((".json", ".parquet")) for name in list_names(os.path.join(self.root, table, "_delta_log"))
        )

    def read(self, spark: SparkSession, table: str) -> DataFrame:
        """Read a table as it is now; rows of snapshots that were never committed are among them."""
        return spark.read.table(self.name(table))

    def version(self, spark: SparkSession, table: str) -> int:
        """Give Delta's version of a table."""
        if not self.in_catalog:
            # A commit is a numbered file; asking Spark for the same number costs a third of a second.
            log = list_names(os.path.join(self.root, table, "_delta_log"))
            return max(int(name[:20]) for name in log if re.fullmatch(r"\d{20}\.json", name))
        row = spark.sql(f"DESCRIBE HISTORY {self.name(table)} LIMIT 1").head()
        return int(row["version"]) if row else -1


def tables_at(where: str | None, beside: str) -> Tables:
    """Resolve ``--tables`` for a dataset or an output: by default ``BESIDE_tables``.

    Raises:
        RequestError: Tables and shards would share a folder.
    """
    if where is None:
        return Tables(beside_it(beside, "_tables"))
    tables = named_tables(where)
    if not tables.in_catalog:
        _require_folder(where, tables.root)
        folders = [os.path.join(tables.root, table) for table in SCHEMAS]
        # VACUUM deletes what it does not know under a table, and readers of shards stumble over a table among them.
        if any(is_inside(beside, folder) or is_inside(folder, beside) for folder in folders):
            found = f"the tables would share a folder with the shards in {beside}"
            raise RequestError(f"--tables {where}", found, f"Pass a folder beside them, like {beside}_tables")
    return tables


def tables_of(spark: SparkSession, manifest: Mapping[str, Any], where: str | None, output_root: str) -> Tables:
    """Give the tables of a finished output: those that were asked for, else those that its manifest names.

    Raises:
        RequestError: There are none where they were asked for.
    """
    tables = tables_at(where or manifest["tables"], output_root)
    if where and not tables.exists(spark, SNAPSHOTS):
        raise RequestError(f"--tables {where}", "there are no tables", "Leave it out, or pass their folder")
    return tables


def _require_folder(where: str, root: str) -> None:
    if is_url(root):
        return
    standing = next(place for place in (Path(root), *Path(root).parents) if place.exists())
    if not standing.is_dir():
        raise RequestError(f"--tables {where}", f"{standing} is no folder", "Pass a folder")


def named_tables(where: str) -> Tables:
    """Resolve the name of tables that are there: a folder or ``catalog.schema``."""
    tables = Tables(where)
    return tables if tables.in_catalog and not os.path.isdir(where) else Tables(absolute(where))


def require_fitting(spark: SparkSession, tables: Tables, table: str, rows: DataFrame) -> None:
    """Refuse rows with a column that the table holds in another type.

    Raises:
        RequestError: It names the column.
    """
    if not tables.exists(spark, table):
        return
    stored = {field.name.lower(): field for field in tables.read(spark, table).schema}
    for field in rows.schema:
        other = stored.get(field.name.lower())
        if other is not None and other.dataType.simpleString() != field.dataType.simpleString():
            types = f"{other.dataType.simpleString()}, here it is {field.dataType.simpleString()}"
            found = f"other exports have column '{other.name}' as {types}"
            raise RequestError(tables.name(table), found, "Pass other --tables, or give the column that type")


def append(tables: Tables, table: str, rows: DataFrame, snapshot_id: str, provenance: Mapping[str, Any]) -> None:
    """Append rows once: the same snapshot's rows for the same table are skipped the second time.

    Args:
        rows: The columns of `SCHEMAS`, in any order; ``exports`` may bring more.
        provenance: Recorded with the commit; never holds a secret.
    """
    retry_conflicts(lambda: _append(tables, table, rows, snapshot_id, provenance))


def _append(tables: Tables, table: str, rows: DataFrame, snapshot_id: str, provenance: Mapping[str, Any]) -> None:
    spark = rows.sparkSession
    ours = table_schema(table)
    ordered = [*ours, *(name for name in rows.columns if name not in ours)]
    writer = (
        rows.select(*ordered)
        .write.format("delta")
        .mode("append")
        .option("mergeSchema", str(table == EXPORTS).lower())
        .option("userMetadata", user_metadata(snapshot_id, provenance))
        .option("txnAppId", transaction_of(snapshot_id, table))
        .option("txnVersion", 1)
    )
    if not tables.exists(spark, table):
        writer = writer.options(**table_properties(table))
    if table in _PARTITIONS:
        writer = writer.partitionBy(_PARTITIONS[table])
    if tables.in_catalog:
        writer.saveAsTable(tables.name(table))
    else:
        writer.save(to_spark(os.path.join(tables.root, table)))


def table_properties(table: str) -> dict[str, str]:
    """Give a new table's properties: protocol 1/2, which deltalake, DuckDB, Athena and Trino read."""
    properties = {"delta.enableDeletionVectors": "false", "delta.columnMapping.mode": "none"}
    if table in _STATISTICS:
        properties["delta.dataSkippingStatsColumns"] = _STATISTICS[table]
    return properties


def transaction_of(snapshot_id: str, table: str) -> str:
    """Name the transaction that appends a snapshot's rows to a table."""
    return f"shardwright/{snapshot_id}/{table}"


def user_metadata(snapshot_id: str, provenance: Mapping[str, Any]) -> str:
    """Give what Delta records with a commit."""
    return json.dumps({"snapshot_id": snapshot_id, **provenance}, sort_keys=True)


def table_schema(table: str) -> list[str]:
    """List a table's own columns."""
    return [field.split()[0] for field in SCHEMAS[table].split(",")]
