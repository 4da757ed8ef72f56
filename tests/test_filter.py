"""filter: rules in order, what may be a rule, what a decision says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shardwright import ImageTextPairDataset
from shardwright.errors import RequestError
from tests.builders import read_rows, sample_members, write_shard
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
    dataset.metadata["keep"] = F.pmod(F.xxhash64("key"), F.lit(2)) == 0
    result = dataset.to_webdataset(scored.parent / "out", filter_column="keep", dry_run=True)
    assert 0 < result["kept"] < 6


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
