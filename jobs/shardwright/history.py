"""history: list the committed snapshots."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from pyspark.sql import SparkSession

from shardwright.errors import RequestError
from shardwright.files import absolute, is_folder
from shardwright.store.output import read_output
from shardwright.store.rows import read_rows
from shardwright.store.tables import SNAPSHOTS, Tables, named_tables, tables_at

_COLUMNS = (
    "snapshot_id",
    "operation",
    "committed_at",
    "indexed",
    "kept",
    "dropped",
    "rejected",
    "exported",
    "output_root",
)


def list_history(spark: SparkSession, output_or_tables: str) -> dict[str, Any]:
    """List the snapshots of an output, a dataset or a set of tables, newest first.

    Raises:
        RequestError: No snapshots are recorded there.
    """
    tables = _find_tables(spark, output_or_tables)
    rows = sorted(read_rows(spark, tables, SNAPSHOTS), key=itemgetter("committed_at"), reverse=True)
    return {"tables": tables.root, "snapshots": [{name: _plain(row[name]) for name in _COLUMNS} for row in rows]}


def _find_tables(spark: SparkSession, where: str) -> Tables:
    candidates = [named_tables(where)]
    if not candidates[0].in_catalog:
        root = absolute(where)
        manifest = read_output(root).manifest if is_folder(root) else None
        candidates += [tables_at((manifest or {}).get("tables"), root)]
    for tables in candidates:
        if tables.exists(spark, SNAPSHOTS):
            return tables
    looked = " and ".join(tables.root for tables in candidates)
    raise RequestError(
        where, f"no snapshots in {looked}", "Pass an output, a dataset that was indexed, or the folder of its tables"
    )


def _plain(value: Any) -> Any:
    return value.isoformat(sep=" ", timespec="seconds") if hasattr(value, "isoformat") else value
