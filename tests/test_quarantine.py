"""--on-bad quarantine: the smallest unit that is wrong goes to `rejects`, the counts hold, the rest is exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from tests.builders import AB, ROWS, read_samples, sample_members, tree_bytes, write_dataset, write_shard
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]


def rejects(tables: Path, snapshot_id: str) -> list[dict[str, Any]]:
    rows = DeltaTable(f"{tables}/rejects").to_pyarrow_table().to_pylist()
    return [row for row in rows if row["snapshot_id"] == snapshot_id]


def test_a_damaged_shard_is_set_aside_whole_and_its_rows_with_it(run: Run, dataset: Path, tmp_path: Path) -> None:
    tar = dataset / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:9_000])
    assert run("export", dataset, tmp_path / "out", "--where", "true").code == 1
    done = run("export", dataset, tmp_path / "out", "--where", "aesthetic_score > 0.4", "--on-bad", "quarantine")
    result = done.result
    found = rejects(tmp_path / "out_tables", result["snapshot_id"])
    assert [(row["unit"], row["shard_path"], row["reason"]) for row in found] == [("shard", str(tar), "truncated")]
    assert (done.code, result["kept"], result["dropped"], result["rejects"]) == (0, 10, 10, {"truncated": 1})
    assert result["rejected"] == found[0]["sample_count"] == result["indexed"] - 20
    assert result["unpaired_rows"] == {"rejected_shard": 10}
    assert sorted(read_samples(tmp_path / "out")) == [f"{number:09d}" for number in range(10)]
    assert run("verify", tmp_path / "out", "--deep").code == 0
    assert (
        run("export", dataset, tmp_path / "out", "--where", "aesthetic_score > 0.4", "--on-bad", "quarantine").code == 0
    )


def test_each_unsound_sample_is_set_aside_with_its_reason(run: Run, tmp_path: Path) -> None:
    keys = ["ok", "json", "twin", "norow", "tworows", "split", "flag"]
    members = [member for key in keys for member in sample_members(key)]
    members = [(name, b"[1]" if name == "json.json" else payload) for name, payload in members]
    members += [("twin.JPG", b"1"), ("split.txt2", b"2"), ("../up.jpg", b"3")]
    rows = [{"key": key, "keep": 1.0 if key != "flag" else 0.5} for key in keys if key != "norow"]
    rows += [
        {"key": "tworows", "keep": 1.0},
        {"key": "gone", "keep": 1.0},
        {"key": None, "keep": 1.0},
        {"key": "../up", "keep": 1.0},
    ]
    write_shard(tmp_path / "data", "s", members, rows)
    words = ["export", tmp_path / "data", tmp_path / "out", "--filter-column", "keep"]
    failed = run(*words)
    assert failed.code == 1
    done = run(*words, "--on-bad", "quarantine")
    found = rejects(tmp_path / "out_tables", done.result["snapshot_id"])
    expected = {
        ("json", "bad_json"): 1,
        ("twin", "duplicate_key"): 2,
        ("norow", "missing_row"): 1,
        ("tworows", "duplicate_row"): 1,
        ("split", "duplicate_key"): 2,
        ("flag", "bad_flag"): 1,
        ("gone", "unmatched_row"): 0,
        (None, "null_id"): 0,
        ("../up", "bad_name"): 1,
    }
    assert sum((Counter({(row["key"], row["reason"]): row["sample_count"]}) for row in found), Counter()) == +Counter(
        expected
    )
    assert {(problem["key"], problem["reason"]) for problem in failed.result["problems"]} == expected.keys()
    assert {(row["key"], row["reason"]) for row in found} == expected.keys()
    result = done.result
    assert (done.code, result["indexed"], result["kept"], result["dropped"], result["rejected"]) == (0, 10, 1, 0, 9)
    assert [row["source_key"] for row in pq.read_table(tmp_path / "out/00000.parquet").to_pylist()] == ["ok"]


def test_without_anything_wrong_quarantine_writes_the_same_bytes(run: Run, dataset: Path, tmp_path: Path) -> None:
    for name, words in (("a", []), ("b", ["--on-bad", "quarantine"])):
        assert run("export", dataset, tmp_path / name, "--where", "aesthetic_score > 0.4", *words).code == 0
    assert tree_bytes(tmp_path / "a") == tree_bytes(tmp_path / "b")


def test_samples_without_a_row_can_be_set_aside_alone(run: Run, tmp_path: Path) -> None:
    write_shard(tmp_path / "data", "s", AB, ROWS[:1])
    words = ["export", tmp_path / "data", tmp_path / "out", "--where", "true", "--unmatched-samples", "reject"]
    done = run(*words)
    assert (done.code, done.result["kept"], done.result["rejects"]) == (0, 1, {"missing_row": 1})
    write_shard(tmp_path / "more", "s", AB, [ROWS[0], ROWS[0]])
    words[1:3] = [tmp_path / "more", tmp_path / "out2"]
    done = run(*words)
    assert (done.code, {problem["reason"] for problem in done.result["problems"]}) == (1, {"duplicate_row"})


def test_sidecars_that_are_missing_or_broken_set_their_shard_aside(run: Run, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", 5, 4)
    (dataset / "00000.parquet").write_bytes(b"no parquet")
    (dataset / "00001.parquet").unlink()
    (dataset / "00002.tar").unlink()
    words = ["export", dataset, tmp_path / "out", "--where", "true"]
    done = run(*words)
    expected = {("00000.parquet", "unreadable"), ("00001.tar", "missing_sidecar"), ("00002.parquet", "missing_tar")}
    assert done.code == 1
    assert {(Path(problem["shard"]).name, problem["reason"]) for problem in done.result["problems"]} == expected
    done = run(*words, "--on-bad", "quarantine")
    assert (done.code, done.result["kept"], done.result["rejected"], done.result["indexed"]) == (0, 8, 8, 16)
    assert done.result["rejects"] == {"unreadable": 1, "missing_sidecar": 1, "missing_tar": 1}


def test_filter_sets_aside_and_its_decisions_are_exported(run: Run, dataset: Path, tmp_path: Path) -> None:
    rows = pq.read_table(dataset / "00001.parquet").slice(2)
    pq.write_table(rows, dataset / "00001.parquet")
    done = run("filter", dataset, "--where", "aesthetic_score > 0.4", "--on-bad", "quarantine")
    assert (done.code, done.result["rejected"], done.result["rejects"]) == (0, 2, {"missing_row": 2})
    assert len(rejects(Path(f"{dataset}_tables"), done.result["snapshot_id"])) == 2
    words = ["export", dataset, tmp_path / "out", "--decisions", "latest", "--on-bad"]
    failed = run(*words, "fail")
    assert (failed.code, {found["reason"] for found in failed.result["problems"]}) == (1, {"undecided"})
    again = run(*words, "quarantine")
    assert (again.code, again.result["kept"], again.result["rejected"]) == (0, done.result["kept"], 2)


def test_what_is_set_aside_is_stored_even_when_nothing_is_left(run: Run, tmp_path: Path) -> None:
    write_shard(tmp_path / "data", "s", AB, ROWS)
    tar = tmp_path / "data" / "s.tar"
    tar.write_bytes(tar.read_bytes().rstrip(b"\0")[:-1])
    # One place for all tables: the index stores its rejects there while the export makes its plan.
    words = ["export", tmp_path / "data", tmp_path / "out", "--where", "true", "--tables", tmp_path / "tables"]
    words += ["--on-bad", "quarantine"]
    assert run(*words, "--dry-run", "--allow-empty").code == 0
    assert not (tmp_path / "tables").exists()
    done = run(*words, "--allow-empty")
    assert (done.code, done.result["kept"], done.result["rejected"], done.result["rejects"]) == (
        0,
        0,
        2,
        {"truncated": 1},
    )
    assert [row["reason"] for row in rejects(tmp_path / "tables", done.result["snapshot_id"])] == ["truncated"]
    again = run(*words, "--allow-empty")
    assert (again.code, again.result["snapshot_id"]) == (0, done.result["snapshot_id"])
    assert len(rejects(tmp_path / "tables", done.result["snapshot_id"])) == 1


def test_an_index_that_goes_on_stores_the_problems_of_old_shards_too(run: Run, tmp_path: Path) -> None:
    twins = [*sample_members("a"), ("b.jpg", b"1"), ("b.JPG", b"2")]
    write_shard(tmp_path / "data", "00000", twins, None)
    assert run("index", tmp_path / "data").code == 1
    write_shard(tmp_path / "data", "00001", sample_members("c"), None)
    again = run("index", tmp_path / "data")
    assert (again.code, [found["key"] for found in again.result["problems"]]) == (1, ["b"])
    table = DeltaTable(f"{tmp_path}/data_tables/snapshots").to_pyarrow_table().sort_by("committed_at")
    assert table["rejected"].to_pylist() == [1, 1]


def test_rows_of_a_rejected_shard_meet_no_sample_of_another(run: Run, tmp_path: Path) -> None:
    write_shard(tmp_path / "data", "00000", AB, ROWS)
    write_shard(
        tmp_path / "data",
        "00001",
        sample_members("a", seed=1),
        pa.table({"key": pa.array([], pa.string()), "score": pa.array([], pa.float64())}),
    )
    tar = tmp_path / "data" / "00000.tar"
    tar.write_bytes(tar.read_bytes().rstrip(b"\0")[:-1])
    words = [
        "export",
        tmp_path / "data",
        tmp_path / "out",
        "--where",
        "true",
        "--on-bad",
        "quarantine",
        "--allow-empty",
    ]
    done = run(*words, "--unmatched-rows", "ignore")
    assert (done.code, done.result["kept"], done.result["rejects"]) == (0, 0, {"missing_row": 1, "truncated": 1})
    assert done.result["unpaired_rows"] == {"rejected_shard": 2}


def test_rejects_name_samples_by_tar_and_key_and_every_sidecar_without_ids(run: Run, tmp_path: Path) -> None:
    for shard in range(2):
        keys = [f"{shard}00{number}" for number in range(2)]
        members = [member for key in keys for member in sample_members(key)]
        write_shard(tmp_path / "data", f"{shard}", members, pa.table({"id": [int(keys[0]), None]}))
    done = run("reshard", tmp_path / "data", tmp_path / "out", "--samples-per-shard", 9, "--on-bad", "quarantine")
    found = rejects(tmp_path / "out_tables", done.result["snapshot_id"])
    assert done.result["rejects"] == {"missing_row": 2, "null_id": 2}
    assert sorted((Path(row["shard_path"]).name, row["key"] or "") for row in found) == [
        ("0.parquet", ""), ("0.tar", "0001"), ("1.parquet", ""), ("1.tar", "1001"),
    ]  # fmt: skip


def test_the_query_of_the_readme_says_what_was_set_aside(run: Run, spark: SparkSession, tmp_path: Path) -> None:
    write_shard(tmp_path / "data", "s", AB, ROWS[:1])
    done = run("reshard", tmp_path / "data", tmp_path / "out", "--samples-per-shard", 9, "--on-bad", "quarantine")
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    query = readme.split("```sql\n")[1].split("```")[0]
    query = query.replace("OUTPUT", f"{tmp_path}/out").replace("SNAPSHOT", done.result["snapshot_id"])
    assert [tuple(row) for row in spark.sql(query).collect()] == [("missing_row", "sample", 1, 1)]
