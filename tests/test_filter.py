"""filter: rules in order, what may be a rule, what a decision says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shardwright import ImageTextPairDataset
from shardwright.errors import RequestError
from tests.builders import AB, ROWS, read_rows, sample_members, tree_bytes, write_shard
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """Six samples of two groups; `b` fails two rules at once."""
    keys = "abcdef"
    rows = [{"key": key, "group": "xy"[place % 2], "score": place / 10} for place, key in enumerate(keys)]
    write_shard(tmp_path / "data", "s", [member for key in keys for member in sample_members(key)], rows)
    return tmp_path / "data"


def test_a_drop_reason_is_the_first_unmet_rule(run: Run, scored: Path) -> None:
    low, odd = "low =score >= 0.2", "it's = group = 'x'"
    for rules in ((low, odd), (odd, low)):
        done = run("filter", scored, "--rule", rules[0], "--rule", rules[1], "--tables", scored.parent / rules[0][:2])
        assert (done.code, done.result["kept"], sum(done.result["drops"].values())) == (0, 2, 4)
        table = DeltaTable(scored.parent / rules[0][:2] / "decisions").to_pyarrow_table()
        decided = sorted(table.to_pylist(), key=lambda row: row["key"])
        assert [row["key"] for row in decided] == list("abcdef")
        assert [row["keep"] for row in decided] == [row["drop_reason"] is None for row in decided]
        by_key = {row["key"]: row["drop_reason"] for row in decided}
        first = rules[0].split("=")[0].strip()
        assert by_key == {"a": "low", "b": first, "c": None, "d": "it's", "e": None, "f": "it's"}
        assert done.result["drops"] == {name: list(by_key.values()).count(name) for name in ("it's", "low")}


def test_a_flag_column_gives_its_name_as_the_reason(run: Run, tmp_path: Path) -> None:
    rows = [{"key": "a", "keep": True}, {"key": "b", "keep": False}, {"key": "c", "keep": None}]
    write_shard(tmp_path / "data", "s", [member for key in "abc" for member in sample_members(key)], rows)
    done = run("filter", tmp_path / "data", "--filter-column", "keep")
    assert (done.code, done.result["kept"], done.result["drops"]) == (0, 1, {"keep": 2})
    assert run("export", tmp_path / "data", tmp_path / "out", "--decisions", "latest").code == 0
    assert [(row["source_key"], row["keep"]) for row in read_rows(tmp_path / "out")] == [("a", True)]


def test_a_rule_may_rank_rows(run: Run, scored: Path, tmp_path: Path) -> None:
    best = "row_number() OVER (PARTITION BY group ORDER BY score DESC) <= 1"
    assert run("export", scored, tmp_path / "out", "--rule", f"best={best}").code == 0
    assert [row["source_key"] for row in read_rows(tmp_path / "out")] == ["e", "f"]


@pytest.mark.parametrize("rule", ["rand() < 0.5", "rand(7) < 0.5", "score > 0 AND monotonically_increasing_id() > 1"])
def test_a_rule_that_draws_anew_each_time_is_refused(run: Run, scored: Path, tmp_path: Path, rule: str) -> None:
    for words in (["filter", scored], ["export", scored, tmp_path / "out"]):
        done = run(*words, "--rule", f"draw={rule}")
        assert (done.code, "rule 'draw':" in done.result["error"]) == (2, True), done.result
        assert "gives other values each time it is computed" in done.result["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_assigned_column_that_draws_anew_each_time_is_refused(spark: SparkSession, scored: Path) -> None:
    dataset = ImageTextPairDataset.from_webdataset(scored, spark=spark)
    dataset.metadata["keep"] = F.rand(1) < 0.5
    with pytest.raises(RequestError, match=r"metadata\['keep'\]: it gives other values each time"):
        dataset.to_webdataset(scored.parent / "out", filter_column="keep")


@pytest.mark.classic("a column that draws anew is refused even where it was assigned anew since")
def test_a_column_that_drew_anew_may_be_assigned_again(spark: SparkSession, scored: Path) -> None:
    dataset = ImageTextPairDataset.from_webdataset(scored, spark=spark)
    dataset.metadata["keep"] = F.rand(1) < 0.5
    dataset.metadata["keep"] = F.pmod(F.xxhash64("key"), F.lit(2)) == 0
    result = dataset.to_webdataset(scored.parent / "out", filter_column="keep", dry_run=True)
    assert 0 < result["kept"] < 6


@pytest.mark.classic("plans are text, in which the clock is no other than its name")
def test_a_rule_may_speak_of_the_clock_without_reading_it(run: Run, scored: Path) -> None:
    done = run("filter", scored, "--where", "group <> 'now()' AND group <> 'current_date'")
    assert (done.code, done.result["kept"]) == (0, 6)


def test_assignments_from_columns_that_differ_in_a_number_are_other_exports(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = [{"key": key, "score_1": place, "score_2": -place} for place, key in enumerate("ab")]
    write_shard(tmp_path / "data", "s", [member for key in "ab" for member in sample_members(key)], rows)
    dataset = ImageTextPairDataset.from_webdataset(tmp_path / "data", spark=spark)
    dataset.metadata["keep"] = dataset.metadata["score_1"] > 0
    assert dataset.to_webdataset(tmp_path / "out", filter_column="keep")["kept"] == 1
    dataset.metadata["keep"] = dataset.metadata["score_2"] > 0
    with pytest.raises(RequestError, match="with other inputs: assigned was"):
        dataset.to_webdataset(tmp_path / "out", filter_column="keep")


def test_filter_stores_decisions_that_export_takes(run: Run, dataset: Path, tmp_path: Path) -> None:
    rules = ["--rule", "high=aesthetic_score >= 0.5", "--rule", "safe=nsfw_score < 0.5"]
    first = run("filter", dataset, *rules).result
    assert (first["indexed"], first["kept"], first["dropped"]) == (30, 6, 24)
    assert first["drops"] == {"high": 15, "safe": 9}
    assert run("filter", dataset, *rules).result["snapshot_id"] == first["snapshot_id"]
    second = run("filter", dataset, "--where", "aesthetic_score < 0.1").result
    latest = run("export", dataset, tmp_path / "latest", "--decisions", "latest").result
    by_id = run("export", dataset, tmp_path / "by_id", "--decisions", first["snapshot_id"]).result
    direct = run("export", dataset, tmp_path / "direct", *rules).result
    assert (latest["kept"], by_id["kept"]) == (second["kept"], first["kept"]) == (3, 6)
    assert by_id["drops"] == direct["drops"]
    assert tree_bytes(tmp_path / "by_id") == tree_bytes(tmp_path / "direct")
    os.utime(dataset / "00000.tar")
    stale = run("export", dataset, tmp_path / "stale", "--decisions", first["snapshot_id"])
    assert (stale.code, "of this dataset as it is now" in stale.result["error"]) == (2, True)
    operations = [row["operation"] for row in run("history", dataset).result["snapshots"]]
    assert operations == ["filter", "filter", "index"]
    assert run("filter", dataset, *rules).result["snapshot_id"] not in (first["snapshot_id"], second["snapshot_id"])


def test_nan_and_null_do_not_meet_a_condition_and_are_written_as_they_are(run: Run, tmp_path: Path) -> None:
    keys = ["nan", "null", "low", "high"]
    table = pa.table({"key": keys, "score": [float("nan"), None, 0.1, 0.9], "flag": [1, None, 0, 1]})
    write_shard(tmp_path / "data", "s", [member for key in keys for member in sample_members(key)], table)
    kept = {}
    for name, words in {
        "above": ["--where", "score > 0.5"],
        "not_below": ["--where", "NOT (score < 0.5)"],
        "isnan": ["--where", "isnan(score) OR score > 0.5"],
        "nanvl": ["--where", "nanvl(score, 1) > 0.5"],
        "text": ["--where", "'isnan(score)' = 'isnan(score)'"],
        "flag": ["--filter-column", "flag"],
    }.items():
        assert run("export", tmp_path / "data", tmp_path / name, *words).code == 0
        kept[name] = [row["source_key"] for row in read_rows(tmp_path / name)]
    assert kept == {
        "above": ["high"],
        "not_below": ["high"],
        "isnan": ["nan", "high"],
        "nanvl": ["nan", "high"],
        "text": keys,
        "flag": ["nan", "high"],
    }
    assert str(read_rows(tmp_path / "text")[0]["score"]) == "nan"


def test_decisions_made_on_other_sidecars_or_by_another_filter_are_not_taken(run: Run, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    write_shard(data, "00000", AB, ROWS)
    latest = ["export", data, out, "--decisions", "latest"]
    for condition, kept in (("score = 1", "a"), ("score = 2", "b")):
        assert run("filter", data, "--where", condition).code == 0
        done = run(*latest)
        if kept == "b":  # the folder holds what the first filter kept
            assert (done.code, "with other inputs: decisions was" in done.result["error"]) == (2, True)
            shutil.rmtree(out)
            done = run(*latest)
        assert (done.code, [row["source_key"] for row in read_rows(out)]) == (0, [kept])
    write_shard(data, "00000", AB, [{**row, "score": 3.0} for row in ROWS])
    done = run("export", data, tmp_path / "stale", "--decisions", "latest")
    assert (done.code, "of this dataset as it is now" in done.result["error"]) == (2, True)
