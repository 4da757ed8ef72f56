"""The tables, read by others than Spark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable

from shardwright.store.tables import table_schema
from tests.builders import read_rows
from tests.conftest import Outcome

pytestmark = pytest.mark.spark


def test_tables_are_read_by_deltalake_and_agree_with_the_files(
    run: Callable[..., Outcome], dataset: Path, tmp_path: Path
) -> None:
    tables, out = tmp_path / "tables", tmp_path / "out"
    rules = ["--where", "aesthetic_score >= 0.5", "--tables", tables]
    assert run("filter", dataset, *rules).code == 0
    done = run("export", dataset, out, *rules, "--samples-per-shard", 4)
    assert done.code == 0
    (dataset / "00001.tar").write_bytes(b"")
    assert run("index", dataset, "--tables", tables).code == 1
    found = {}
    for table in ("shards", "samples", "decisions", "exports", "manifest", "rejects", "snapshots"):
        delta = DeltaTable(tables / table)
        protocol = delta.protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) <= (1, 2), table
        found[table] = delta.to_pyarrow_table()
        assert found[table].column_names[: len(table_schema(table))] == table_schema(table)
    assert {table: len(rows) for table, rows in found.items()} == {
        "shards": 6,
        "samples": 30,
        "decisions": 30,
        "exports": 15,
        "manifest": 4,
        "rejects": 1,
        "snapshots": 4,
    }
    manifest = json.loads((out / "manifest.json").read_text())
    exports = found["exports"].sort_by([("shard_id", "ascending"), ("position", "ascending")]).to_pylist()
    rows = read_rows(out)
    shared = ("key", "source_key", "source_shard", "caption", "aesthetic_score", "embedding")
    assert [{name: row[name] for name in shared} for row in exports] == [
        {name: row[name] for name in shared} for row in rows
    ]
    assert {row["snapshot_id"] for row in exports} == {manifest["snapshot_id"]}
    shards = sorted(found["manifest"].to_pylist(), key=lambda row: row["shard_id"])
    assert [
        {name: row[name] for name in shard} for row, shard in zip(shards, manifest["shards"], strict=True)
    ] == manifest["shards"]
    (snapshot,) = [row for row in found["snapshots"].to_pylist() if row["operation"] == "export"]
    counts = ("indexed", "kept", "dropped", "rejected", "exported")
    assert [snapshot[name] for name in counts] == [manifest[name] for name in counts] == [30, 15, 15, 0, 15]
    assert json.loads(snapshot["drops"]) == {"where": 15}
    index_ids = [row["snapshot_id"] for row in found["snapshots"].to_pylist() if row["operation"] == "index"]
    assert {row["snapshot_id"] for row in found["shards"].to_pylist()} == set(index_ids)
    assert snapshot["parent_snapshot_id"] in index_ids
    assert found["rejects"].to_pylist()[0]["reason"] == "truncated"
    dropped = duckdb.execute(
        f"SELECT keep, drop_reason, count(*) FROM '{tables}/decisions/*/*.parquet' GROUP BY ALL ORDER BY keep"
    ).fetchall()
    assert dropped == [(False, "where", 15), (True, None, 15)]
