"""Rows that the driver makes and reads, by Spark and without it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from shardwright.store import rows as store
from shardwright.store.rows import append_rows, read_rows
from shardwright.store.tables import MANIFEST, REJECTS, SCHEMAS, SHARDS, SNAPSHOTS, Tables, table_schema

pytestmark = pytest.mark.spark

_NOW = datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=timezone.utc)
_PROVENANCE = {"operation": "export", "parent_snapshot_id": None}


def _row(table: str, number: int) -> dict[str, Any]:
    """Give a row with a value for every other column."""
    values = {"string": f"ö{number}", "bigint": 2**40 + number, "timestamp": _NOW}
    kinds = [column.split()[1] for column in SCHEMAS[table].split(",")]
    names = table_schema(table)
    return {name: values[kind] for place, (name, kind) in enumerate(zip(names, kinds, strict=True)) if place % 2}


@pytest.mark.parametrize("table", [SHARDS, MANIFEST, REJECTS, SNAPSHOTS])
def test_rows_are_the_same_committed_by_spark_and_without_it(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    rows = [_row(table, number) for number in range(3)]
    found = []
    for spark_first in (True, False):
        tables = Tables(str(tmp_path / f"spark first={spark_first}, ü"))
        for snapshot, by_spark in (("first", spark_first), ("second", not spark_first)):
            for again in (False, True):  # a commit that was made is not made again, whoever made it
                monkeypatch.setattr(store, "is_ours", lambda _, ours=again == by_spark: ours)
                append_rows(spark, tables, table, rows, snapshot, _PROVENANCE)
        delta = DeltaTable(f"{tables.root}/{table}")
        frame = tables.read(spark, table)
        assert delta.to_pyarrow_table().column_names == frame.columns == table_schema(table)
        assert [commit["userMetadata"] for commit in delta.history() if commit["operation"] == "WRITE"] == [
            f'{{"operation": "export", "parent_snapshot_id": null, "snapshot_id": "{snapshot}"}}'
            for snapshot in ("second", "first")
        ]
        stored = [{**dict.fromkeys(table_schema(table)), **row, "snapshot_id": "first"} for row in rows]
        for by_spark in (True, False):
            monkeypatch.setattr(store, "is_ours", lambda _, ours=not by_spark: ours)
            assert sorted(read_rows(spark, tables, table, snapshot_id="first"), key=str) == sorted(stored, key=str)
        found.append((frame.schema, sorted(map(str, frame.collect())), delta.protocol()))
    assert found[0] == found[1]
    assert len(found[0][1]) == 6


@pytest.mark.parametrize("name", ["a%20b", "[a]", "a|b", "a^b", "a#b?", "it's", "a`b"])
def test_rows_are_committed_where_asked_whatever_the_folder_is_called(
    spark: SparkSession, tmp_path: Path, name: str
) -> None:
    tables = Tables(str(tmp_path / name))
    append_rows(spark, tables, REJECTS, [_row(REJECTS, 1)], "first", _PROVENANCE)
    assert tables.read(spark, REJECTS).count() == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("by_spark", [True, False])
def test_many_who_commit_at_once_commit_each_snapshot_once(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_spark: bool
) -> None:
    """To a table that is not there yet, and to one that is."""
    if by_spark:
        monkeypatch.setattr(store, "is_ours", lambda _: False)
    tables = Tables(str(tmp_path / "tables"))

    def commit(snapshot: str) -> None:
        append_rows(spark, tables, MANIFEST, [_row(MANIFEST, 1)], snapshot, _PROVENANCE)

    for turn in range(2 if by_spark else 10):
        tables = Tables(str(tmp_path / f"tables{turn}"))
        for snapshots in (["a", "a", "a", "b"], ["c", "d", "d", "c"]):
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(commit, snapshots))
        found = [row["snapshot_id"] for row in read_rows(spark, tables, MANIFEST)]
        assert sorted(found) == ["a", "b", "c", "d"]
