"""The laws that need Spark: layouts, rules, and what an export costs."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright.config import ExportSettings, Selection, SourceSettings
from shardwright.export import export_dataset
from shardwright.format.names import combine_key, position_digits
from shardwright.frames.key_sums import key_sums
from shardwright.frames.layout import with_layout, with_new_key
from shardwright.frames.pairs import FILE, count_outcomes, outcomes, with_shard
from shardwright.frames.rules import with_drop_reason
from shardwright.frames.spread import spread
from shardwright.store.tables import Tables, append
from tests.builders import sample_members, tree_bytes, write_dataset, write_shard

pytestmark = pytest.mark.spark

# Of an export whose dataset is indexed; more than half of them are Delta's, which looks for files to read.
_MOST_JOBS = 25


def job_count(spark: SparkSession, group: str) -> int:
    return len(spark.sparkContext.statusTracker().getJobIdsForGroup(group))


@pytest.mark.parametrize("seed", range(4))
def test_a_layout_is_a_dense_permutation_the_same_for_any_partitioning(spark: SparkSession, seed: int) -> None:
    dice = random.Random(seed)
    kept = [sorted(dice.sample(range(60), dice.choice([0, 1, 17, 60]))) for _ in range(dice.randint(1, 6))]
    samples_per_shard = dice.choice([1, 3, 10, 1000])
    rows = [(shard, position) for shard, positions in enumerate(kept) for position in positions]
    first_ranks = [0, *accumulate(map(len, kept))][:-1]
    dice.shuffle(rows)
    frame = spark.createDataFrame(rows or [(0, 0)], "shard_index bigint, source_position bigint").limit(len(rows))
    digits = position_digits(samples_per_shard)
    expected = {row: (rank // samples_per_shard, rank % samples_per_shard) for rank, row in enumerate(sorted(rows))}
    for partitions in (1, 5):
        placed = with_new_key(with_layout(frame.repartition(partitions), first_ranks, samples_per_shard), 5, digits)
        found = {(row[0], row[1]): (row["shard_id"], row["position"], row["key"]) for row in placed.collect()}
        assert found == {row: (*place, combine_key(*place, 5, digits)) for row, place in expected.items()}


def test_keep_is_where_no_rule_is_unmet_and_one_more_rule_never_keeps_more(spark: SparkSession) -> None:
    values = [None, float("nan"), -1.0, 0.0, 0.5, 1.0]
    frame = spark.createDataFrame([(a, b) for a in values for b in values], "a double, b double")
    rules = {"first": "a > 0", "second": "b >= 0.5 OR isnan(b)", "third": "a <> b"}
    kept: list[set[tuple[str, str]]] = []
    for count in range(4):
        chosen = dict(list(rules.items())[:count])
        rows = with_drop_reason(frame, chosen, "why").collect()
        assert {row["why"] for row in rows} <= {None, *chosen}
        kept.append({(str(row["a"]), str(row["b"])) for row in rows if row["why"] is None})
    assert len(kept[0]) == 36
    assert kept[0] >= kept[1] >= kept[2] >= kept[3]
    assert kept[2] == {(a, b) for a in ("0.5", "1.0") for b in ("nan", "0.5", "1.0")}


def test_frames_start_no_job(spark: SparkSession) -> None:
    spark.sparkContext.setJobGroup("frames", "frames")
    try:
        frame = spark.range(5).withColumnsRenamed({"id": "shard_index"}).withColumn("source_position", F.lit(0))
        with_new_key(with_layout(frame, [0] * 5, 3), 5, 1)
        rows = spark.range(3).select(F.col("id").cast("string").alias("match_key"), F.lit(1.0).alias("score"))
        decided = with_drop_reason(rows, {"r": "score > 0"}, "drop_reason")
        decided = decided.withColumns({"failed": F.lit(False), "bad_flag": F.lit(False)})
        samples = rows.select("match_key", F.lit(0).alias("shard_index"))
        key_sums(decided.withColumn(FILE, F.lit("00000")))
        with_shard(decided.withColumn(FILE, F.lit("00000")), {"00000": (0, "00000.tar")})
        spread(frame.withColumn("shard_id", F.lit(0)), "shard_id", 1, 2)
        none = F.lit(None).cast("string")
        counted = count_outcomes(
            outcomes(samples.withColumns({"drop_reason": none, "problem": none}), decided, ["match_key"])
        )
        assert job_count(spark, "frames") == 0
        assert [row["sample_count"] for row in counted.collect()] == [3]
    finally:
        spark.sparkContext.setJobGroup("", "")


def export(spark: SparkSession, source: Path, output: Path, samples_per_shard: int = 4) -> dict[str, Any]:
    selection = Selection({"where": "aesthetic_score >= 0.5"})
    settings = ExportSettings(SourceSettings(str(source)), str(output), selection, samples_per_shard=samples_per_shard)
    return export_dataset(spark, settings)


def shuffled_bytes(spark: SparkSession, run: Callable[[], object]) -> int:
    """Run an export in a group of its own and add up what its stages wrote to shuffles."""
    group = f"shuffle-{random.random()}"
    spark.sparkContext.setJobGroup(group, group)
    run()
    tracker = spark.sparkContext.statusTracker()
    context = spark.sparkContext._jsc.sc()  # noqa: SLF001 - what the stages did is nowhere else
    context.listenerBus().waitUntilEmpty()
    store = context.statusStore()
    total = 0
    for job in tracker.getJobIdsForGroup(group):
        info = tracker.getJobInfo(job)
        for stage in info.stageIds if info else ():
            # Skipped stages wrote nothing, and a long session forgets them.
            if tracker.getStageInfo(stage) is not None:
                total += store.lastStageAttempt(stage).shuffleWriteBytes()
    spark.sparkContext.setJobGroup("", "")
    return total


def test_an_export_starts_few_jobs_and_shuffles_as_many_bytes_whatever_its_shards_and_images(
    spark: SparkSession, tmp_path: Path
) -> None:
    jobs, shuffled = {}, {}
    for name, shards, image_bytes in (("few", 3, 0), ("many", 9, 0), ("large", 3, 200_000)):
        source = write_dataset(tmp_path / name, shards, 8)
        if image_bytes:
            for shard, path in enumerate(sorted(source.glob("*.tar"))):
                keys = [f"{shard * 10_000 + position:09d}" for position in range(8)]
                members = [m for key in keys for m in sample_members(key)]
                members = [(n, p + bytes(image_bytes) if n.endswith("jpg") else p) for n, p in members]
                write_shard(source, path.stem, members, None)
        shuffled[name] = shuffled_bytes(spark, partial(export, spark, source, tmp_path / f"{name}_out"))
        spark.sparkContext.setJobGroup(name, name)
        export(spark, source, tmp_path / f"{name}_again")
        jobs[name] = job_count(spark, name)
        spark.sparkContext.setJobGroup("", "")
    # Spark joins some sizes in a job more than others; nothing grows with the dataset.
    assert 0 < max(jobs.values()) <= _MOST_JOBS
    assert shuffled["few"] > 0
    assert abs(shuffled["large"] - shuffled["few"]) < 0.1 * shuffled["few"]
    # Three times the samples, and blocks of a few rows each.
    assert shuffled["many"] < 4 * shuffled["few"]


def test_an_export_writes_the_same_bytes_for_any_number_of_partitions(spark: SparkSession, tmp_path: Path) -> None:
    source = write_dataset(tmp_path / "data", 3, 12)
    before = str(spark.conf.get("spark.sql.shuffle.partitions"))
    outputs = []
    try:
        for partitions in ("1", "7"):
            spark.conf.set("spark.sql.shuffle.partitions", partitions)
            export(spark, source, tmp_path / partitions)
            outputs.append(tree_bytes(tmp_path / partitions))
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 10


def test_many_samples_meet_their_rows_where_their_shard_is_and_give_the_same_bytes(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_dataset(tmp_path / "data", 3, 12)
    export(spark, source, tmp_path / "few")
    exchanges: list[int] = []

    def noted(tables: Tables, table: str, rows: DataFrame, *rest: Any) -> None:
        plan = rows._jdf.queryExecution().executedPlan().toString()  # noqa: SLF001 - the exchanges are in no other place
        exchanges.append(plan.count(" Exchange hashpartitioning"))
        append(tables, table, rows, *rest)

    monkeypatch.setattr("shardwright.pairing._MANY_SAMPLES", 0)
    monkeypatch.setattr("shardwright.plan.append", noted)
    export(spark, source, tmp_path / "many")
    # Of the samples and of the rows: the window of the layout finds them where they are.
    assert exchanges == [2]
    assert tree_bytes(tmp_path / "many") == tree_bytes(tmp_path / "few")


def test_a_verb_restores_the_sessions_settings(spark: SparkSession, tmp_path: Path) -> None:
    from shardwright import ImageTextPairDataset

    names = ("spark.sql.ansi.enabled", "spark.sql.execution.arrow.maxRecordsPerBatch", "spark.sql.session.timeZone")
    before = {name: spark.conf.get(name) for name in names}
    spark.conf.set("spark.sql.ansi.enabled", "false")
    try:
        dataset = ImageTextPairDataset.from_webdataset(write_dataset(tmp_path / "data", 1, 3), spark=spark)
        dataset.metadata["keep"] = True
        dataset.to_webdataset(tmp_path / "out", filter_column="keep")
        assert spark.conf.get("spark.sql.ansi.enabled") == "false"
    finally:
        spark.conf.set("spark.sql.ansi.enabled", str(before["spark.sql.ansi.enabled"]))
    assert {name: spark.conf.get(name) for name in names} == before


def test_the_driver_collects_rows_by_the_shard_never_by_the_sample(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[int] = []
    collect = type(spark.range(1)).collect

    def counted(frame: DataFrame) -> list[Any]:
        rows = collect(frame)
        collected.append(len(rows))
        return rows

    monkeypatch.setattr(type(spark.range(1)), "collect", counted)
    totals = []
    for samples in (4, 40):
        source = write_dataset(tmp_path / str(samples), 3, samples)
        collected.clear()
        assert export(spark, source, tmp_path / f"{samples}_out", samples // 2)["exported"] == 3 * samples // 2
        totals.append(sum(collected))
    assert 0 < totals[0] == totals[1]


def test_a_sample_moves_between_tasks_as_a_hundred_bytes(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardwright.pairing._MANY_SAMPLES", 0)
    shuffled = []
    for samples in (100, 1_100):
        source = write_dataset(tmp_path / str(samples), 2, samples)
        output = tmp_path / f"{samples}_out"
        shuffled.append(shuffled_bytes(spark, partial(export, spark, source, output, samples_per_shard=1_000)))
    # Twice: to its row and its place, and to the task that writes its shard.
    assert 0 < (shuffled[1] - shuffled[0]) / (2 * 1_000) < 100
