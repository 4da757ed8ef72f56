"""Pairs that are proven by sums are the pairs that a join finds; what may not pair is never proven."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from shardwright.format.key_sums import KeySums, key_sums
from shardwright.frames import pairs
from shardwright.frames.key_sums import key_sums as frames_key_sums
from shardwright.frames.key_sums import text_key
from shardwright.frames.spread import spread
from shardwright.proof import Count, Proof, key_characters, prove_pairs

pytestmark = pytest.mark.spark

Row = dict[str, Any]
_KEYS = [[f"{shard}{position:03d}" for position in range(4)] for shard in range(2)]


def _samples() -> list[Row]:
    return [
        {"shard_index": shard, "key": key, "drop_reason": None, "problem": None}
        for shard, keys in enumerate(_KEYS)
        for key in keys
    ]


def _rows() -> list[Row]:
    return [
        {
            "sidecar_file": f"file:///data/a%20b%25{shard}.parquet",
            "match_key": key,
            "drop_reason": "low" if key.endswith("1") else None,
            "failed": False,
            "bad_flag": False,
        }
        for shard, keys in enumerate(_KEYS)
        for key in reversed(keys)
    ]


def _shards() -> list[Row]:
    return [
        {
            "shard_index": shard,
            "shard_path": f"/data/a b%{shard}.tar",
            "sample_count": len(keys),
            **key_sums(pa.chunked_array([keys]))._asdict(),
        }
        for shard, keys in enumerate(_KEYS)
    ]


def _prove(
    spark: SparkSession, samples: list[Row], rows: list[Row], shards: list[Row] | None = None, *, decided: bool = False
) -> Proof | None:
    return prove_pairs(
        _frame(spark, samples, "shard_index bigint, key string, drop_reason string, problem string"),
        _frame(
            spark, rows, "sidecar_file string, match_key string, drop_reason string, failed boolean, bad_flag boolean"
        ),
        shards or _shards(),
        decided=decided,
    )


def _frame(spark: SparkSession, rows: list[Row], schema: str) -> DataFrame:
    names = [column.split()[0] for column in schema.split(", ")]
    return spark.createDataFrame([tuple(row[name] for name in names) for row in rows], schema)


@pytest.mark.parametrize("count", [0, 1, 1_000])
def test_keys_are_hashed_as_spark_hashes_them(spark: SparkSession, count: int) -> None:
    keys = [f"{number}{'ö' * (number % 7)}" for number in range(count)]
    rows = [{**_rows()[0], "match_key": key, "drop_reason": None} for key in keys]
    schema = "sidecar_file string, match_key string, drop_reason string, failed boolean, bad_flag boolean"
    found = frames_key_sums(_frame(spark, rows, schema)).collect()
    low, high, characters = key_sums(pa.chunked_array([keys], pa.string()))
    assert [(row["key_low"], row["key_high"]) for row in found] == [(low, high)] * min(count, 1)
    assert characters == (1 if count == 1 else None)


def test_whole_numbers_are_written_as_keys_of_one_length(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(7,), (1234,), (12345,), (-1,), (None,)], "id int")
    kind = frame.schema["id"].dataType
    for characters, expected in (
        (4, ["0007", "1234", "12345", "00-1", None]),
        (None, ["7", "1234", "12345", "-1", None]),
    ):
        assert [row[0] for row in frame.select(text_key("id", kind, characters)).collect()] == expected
    assert key_characters(_shards()) == 4
    assert key_characters([*_shards(), {"sample_count": 1, "key_characters": 5}]) is None
    assert key_characters([*_shards(), {"sample_count": 0, "key_characters": None}]) == 4


def test_pairs_are_proven_and_counted_by_shard_and_reason(spark: SparkSession) -> None:
    proof = _prove(spark, _samples(), _rows())
    assert proof is not None
    kept = [Count(shard, pairs.KEPT, None, 3, 3) for shard in range(2)]
    dropped = [Count(shard, pairs.DROPPED, "low", 1, 1) for shard in range(2)]
    assert sorted(proof.counts, key=str) == sorted(kept + dropped, key=str)
    assert proof.files == {
        f"file:///data/a%20b%25{shard}.parquet": (shard, f"/data/a b%{shard}.tar") for shard in range(2)
    }


def test_the_reasons_of_an_earlier_filter_are_the_samples(spark: SparkSession) -> None:
    samples = [{**sample, "drop_reason": "old" if sample["key"] == "0000" else None} for sample in _samples()]
    proof = _prove(spark, samples, [{**row, "drop_reason": None} for row in _rows()], decided=True)
    assert proof is not None
    assert set(proof.counts) == {
        Count(0, pairs.DROPPED, "old", 1, 1),
        Count(0, pairs.KEPT, None, 3, 3),
        Count(1, pairs.KEPT, None, 4, 4),
    }


def test_rows_of_failed_downloads_are_counted_where_no_sample_has_their_key(spark: SparkSession) -> None:
    failed = {**_rows()[0], "failed": True}
    proof = _prove(spark, _samples(), [*_rows(), {**failed, "match_key": "new"}])
    assert proof is not None
    assert (proof.failed_count, Count(None, pairs.FAILED_DOWNLOAD, None, 0, 1) in proof.counts) == (1, True)
    assert _prove(spark, _samples(), [*_rows(), failed]) is None
    # What a row says of its download matters only where it has no sample.
    assert _prove(spark, _samples(), [{**row, "failed": True} for row in _rows()]) is not None


_SWAPPED = {"0002": "1002", "1002": "0002"}
_TAMPERED: dict[str, Callable[[list[Row]], list[Row]]] = {
    "a row is missing": lambda rows: rows[1:],
    "a row is one too many": lambda rows: [*rows, {**rows[0], "match_key": "new"}],
    "a row has another key": lambda rows: [{**rows[0], "match_key": "new"}, *rows[1:]],
    "a row stands twice and another is missing": lambda rows: [rows[1], *rows[1:]],
    "rows lie beside another tar": lambda rows: [
        {**row, "match_key": _SWAPPED.get(row["match_key"], row["match_key"])} for row in rows
    ],
    "a row has no key": lambda rows: [{**rows[0], "match_key": None}, *rows[1:]],
    "a flag is bad": lambda rows: [{**rows[0], "bad_flag": True}, *rows[1:]],
    "a sidecar is nobody's": lambda rows: [
        {**row, "sidecar_file": row["sidecar_file"].replace("%250", "%259")} for row in rows
    ],
}


@pytest.mark.parametrize("tampered", _TAMPERED.values(), ids=list(_TAMPERED))
def test_what_may_not_pair_is_not_proven(spark: SparkSession, tampered: Callable[[list[Row]], list[Row]]) -> None:
    assert _prove(spark, _samples(), tampered(_rows())) is None


def test_where_a_sample_has_a_problem_nothing_is_proven(spark: SparkSession) -> None:
    first, *others = _shards()
    assert _prove(spark, _samples(), _rows(), [{**first, **KeySums()._asdict()}, *others]) is None
    undecided = [{**_samples()[0], "problem": "undecided"}, *_samples()[1:]]
    assert _prove(spark, undecided, _rows(), decided=True) is None


@pytest.mark.parametrize(("count", "tasks"), [(1, 1), (16, 16), (101, 16), (5_000, 333)])
def test_numbered_groups_are_spread_evenly_in_runs(spark: SparkSession, count: int, tasks: int) -> None:
    rows = spread(spark.range(0, count * 3).selectExpr(f"id % {count} AS shard_id"), "shard_id", count, tasks)
    found = rows.selectExpr("shard_id", "spark_partition_id() AS task").distinct().collect()
    assert len(found) == count
    numbers = [sorted(row["shard_id"] for row in found if row["task"] == task) for task in range(tasks)]
    assert [number for run in numbers for number in run] == list(range(count))
    assert {len(run) for run in numbers} <= {count // tasks, -(-count // tasks)}
