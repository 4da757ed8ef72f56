"""--metadata: columns of another table, joined to the sidecars' rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from tests.builders import read_rows, sample_members, write_shard
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]

UIDS = [f"{number:032x}" for number in (0xABC, 2**127 + 1, 2**64)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three samples of two shards, with uids; one uid is not known."""
    for shard, keys in enumerate(["ab", "c"]):
        uids = pa.array([UIDS["abc".index(key)] if key < "c" else None for key in keys], pa.string())
        table = pa.table({"key": list(keys), "uid": uids, "sha256": [f"{key}0" for key in keys]})
        write_shard(tmp_path / "data", f"{shard:05d}", [m for key in keys for m in sample_members(key)], table)
    return tmp_path / "data"


def scores(**columns: Any) -> pa.Table:
    """Give scores of two samples and of a stranger, by uid."""
    required = pa.field("votes", pa.uint8(), nullable=False)
    schema = pa.schema([("uid", pa.string()), ("score", pa.float32()), required])
    rows = {"uid": [UIDS[1].upper(), "f" * 32, UIDS[0]], "score": [0.75, 0.1, float("nan")], "votes": [1, 2, 3]}
    table = pa.table({name: columns.pop(name, values) for name, values in rows.items()}, schema)
    for name, values in columns.items():
        table = table.append_column(name, values if isinstance(values, pa.Array) else pa.array(values))
    return table


def test_columns_of_parquet_serve_in_rules_and_arrive_in_the_output(
    run: Run, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = scores()
    (tmp_path / "scores").mkdir()
    for part in range(2):
        pq.write_table(table.slice(part * 2, 2), tmp_path / "scores" / f"part-{part}.parquet")
    words = ["export", data, tmp_path / "out", "--metadata", tmp_path / "scores"]
    done = run(*words, "--where", "score > 0.5 OR isnan(score) OR score IS NULL")
    assert (done.code, done.result["kept"], done.result["unjoined_rows"]) == (0, 3, 1), done.result
    assert f"join: 2 of 3 rows have a partner in {tmp_path / 'scores'}" in caplog.messages
    schema = pq.read_schema(tmp_path / "out" / "00000.parquet")
    assert schema.names == ["key", "uid", "sha256", "score", "votes", "source_key", "source_shard"]
    assert [schema.field(name).type for name in ("score", "votes")] == [pa.float32(), pa.uint8()]
    rows = [(row["source_key"], str(row["score"]), row["votes"]) for row in read_rows(tmp_path / "out")]
    assert rows == [("a", "nan", 3), ("b", "0.75", 1), ("c", "None", None)]
    assert run("verify", tmp_path / "out").code == 0
    again = run(*words, "--where", "score > 0.5 OR isnan(score) OR score IS NULL")
    assert (again.code, again.result["unjoined_rows"]) == (0, 1)
    pq.write_table(table.slice(2, 1), tmp_path / "scores" / "part-1.parquet")
    other = run(*words, "--where", "score > 0.5 OR isnan(score) OR score IS NULL")
    assert (other.code, "with other inputs: metadata was {" in other.result["error"]) == (2, True)


def test_a_delta_table_is_joined_by_name_or_folder(run: Run, spark: SparkSession, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    write_deltalake(folder, scores().drop_columns("votes"))
    words = ["--metadata", folder, "--join-on", "uid", "--where", "score > 0.5"]
    done = run("filter", data, *words)
    assert (done.code, done.result["kept"], done.result["unjoined_rows"]) == (0, 1, 1), done.result
    spark.sql("CREATE SCHEMA IF NOT EXISTS joined_metadata")
    spark.sql(f"CREATE TABLE joined_metadata.scores USING delta LOCATION '{folder}'")
    try:
        words[1] = "spark_catalog.joined_metadata.scores"
        done = run("export", data, tmp_path / "out", *words, "--dry-run")
    finally:
        spark.sql("DROP SCHEMA joined_metadata CASCADE")
    assert (done.code, done.result["kept"], done.result["unjoined_rows"]) == (0, 1, 1), done.result
    # A filter's decisions, and the columns that it had.
    words = ["export", data, tmp_path / "out", "--decisions", "latest", "--metadata", folder]
    assert run(*words).code == 0
    assert [(row["source_key"], row["score"]) for row in read_rows(tmp_path / "out")] == [("b", 0.75)]
    write_deltalake(folder, scores().drop_columns("votes").slice(0, 0), mode="append")
    other = run(*words)
    assert (other.code, "with other inputs: metadata was {" in other.result["error"]) == (2, True)


def test_a_joined_table_and_a_keep_list_go_together(run: Run, tmp_path: Path) -> None:
    for shard in ("00000", "00001"):  # keys that repeat between shards are paired within each
        table = pa.table({"key": ["a", "b"], "number": [1 + int(shard) * 2, 2 + int(shard) * 2]})
        write_shard(tmp_path / "data", shard, [m for key in "ab" for m in sample_members(key, seed=int(shard))], table)
    pq.write_table(pa.table({"number": ["01", "2", "3", "4"], "score": [1, 2, 3, 4]}), tmp_path / "scores.parquet")
    (tmp_path / "list.txt").write_text("004\n1\n")
    done = run(
        "export", tmp_path / "data", tmp_path / "out", "--metadata", tmp_path / "scores.parquet",
        "--keep-list", tmp_path / "list.txt", "--join-on", "number",
    )  # fmt: skip
    assert (done.code, done.result["unjoined_rows"], done.result["unmatched_keep_entries"]) == (0, 0, 0), done.result
    rows = [(row["source_shard"], row["source_key"], row["score"]) for row in read_rows(tmp_path / "out")]
    assert rows == [("00000.tar", "a", 1), ("00001.tar", "b", 4)]


@pytest.mark.input(26, "scores of another crawl, joined by a key that both have")
def test_tables_that_cannot_be_joined_exit_2(run: Run, data: Path, tmp_path: Path) -> None:
    by_key = {"key": ["a", "b", "x"]}
    parted = tmp_path / "parted" / "day=1"
    parted.mkdir(parents=True)
    pq.write_table(scores(), parted / "0.parquet")
    (tmp_path / "bare").mkdir()
    (tmp_path / "text.parquet").write_text("x")
    tables: dict[str, tuple[pa.Table | None, list[str], str]] = {
        "missing": (None, [], "no such file, folder or table"),
        "bare": (None, [], "no .parquet files and no Delta table"),
        "parted": (None, [], "values stand in names of folders"),
        "text.parquet": (None, [], "text.parquet: it can't be read"),
        "no.such.table": (None, [], "no.such.table: no such Delta table"),
        "twins.parquet": (
            scores(uid=[UIDS[0], UIDS[0].upper(), "x"]),
            [],
            f"1 values of 'uid' stand in several rows ('{UIDS[0]}' 2 times). Leave one row for each value",
        ),
        "clash.parquet": (scores(KEY=["a", "b", "c"]), [], "already, case aside ('KEY'). Rename them"),
        "column.parquet": (scores(), ["--join-on", "key"], "the table has no column 'key'. Pass --join-on"),
        "unknown.parquet": (scores(), ["--join-on", "ui"], "no column 'ui' in the metadata. Did you mean 'uid'?"),
        "types.parquet": (pa.table({"uid": [1.5]}), [], "its values are double, the dataset's column 'uid' is string"),
        "strangers.parquet": (
            scores(uid=["x", "y", "z"]),
            [],
            f"no value of 'uid' meets one of the dataset. Pass another --join-on: the dataset has '{UIDS[0]}'",
        ),
        "crawl.parquet": (
            scores(**by_key),
            ["--join-on", "key"],
            "of 2 rows joined by 'key', 2 have another 'uid'. The keys match, the samples do not: pass --join-on uid",
        ),
        "hash.parquet": (
            pa.table({**by_key, "sha256": ["A0", "c0", "d0"]}),
            ["--join-on", "key"],
            "of 2 rows joined by 'key', 1 have another 'sha256'",
        ),
        "time.parquet": (scores(at=pa.array([1, 2, 3], pa.timestamp("ns"))), [], "column 'at' has the type timestamp"),
    }
    for name, (table, words, message) in tables.items():
        if table is not None:
            pq.write_table(table, tmp_path / name)
        where = name if name == "no.such.table" else tmp_path / name
        done = run("export", data, tmp_path / "out", "--where", "true", "--metadata", where, *words)
        assert (done.code, message in done.result["error"]) == (2, True), (name, done.result)
        assert not (tmp_path / "out").exists()
