"""CPU and GPU give the same: rules, functions, joins, layout, whole exports."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from shardwright.frames.joins import VALUE, count_entries, join_value, with_list_reason, with_listed, with_other
from shardwright.frames.layout import with_layout, with_new_key
from shardwright.frames.rules import with_drop_reason
from shardwright.store.session import refused_by_gpu
from tests.builders import tree_bytes, write_dataset
from tests.conftest import Outcome
from tests.gpu.parity import assert_cpu_and_gpu_agree, differences, gpu_plans, has_plugin, plans_that_ran
from tests.gpu_plan.sql_functions import EXPRESSIONS, write_rows

pytestmark = [pytest.mark.spark, pytest.mark.gpu]
_RULES = {
    "score": "score > 0.3",
    "not_nan": "NOT isnan(score)",
    "caption": "length(trim(caption)) > 3 AND caption RLIKE '[a-z]'",
    "near": "dot_product(embedding, array(1.0F, 0.5F)) > 0.1 OR size(embedding) <> 2",
    "words": "caption_word_count(caption_clean(caption)) >= 2",
}


@pytest.fixture
def rows(gpu: SparkSession, tmp_path: Path) -> Callable[[], DataFrame]:
    write_rows(tmp_path / "rows.parquet")
    return lambda: gpu.read.parquet(str(tmp_path / "rows.parquet"))


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_expressions_of_rules_agree(gpu: SparkSession, rows: Callable[[], DataFrame], kind: str) -> None:
    named = {name: value for name, value in EXPRESSIONS[kind].items() if not refused_by_gpu(rows().selectExpr(value))}
    columns = [F.expr(value).alias(name) for name, value in named.items()]
    assert_cpu_and_gpu_agree(gpu, lambda: rows().select("id", *columns))


def test_drop_reasons_agree(gpu: SparkSession, rows: Callable[[], DataFrame]) -> None:
    assert_cpu_and_gpu_agree(gpu, lambda: with_drop_reason(rows(), _RULES, "drop_reason").select("id", "drop_reason"))


def test_functions_agree_on_odd_values(gpu: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "odd.parquet")
    pq.write_table(_odd_rows(), path)
    calls = [
        "dot_product(a, b)",
        "dot_product(a, CAST(b AS array<double>))",
        "l2_norm(a)",
        "cosine_similarity(a, b)",
        "hamming_distance(x, y)",
        "hamming_distance(n, m)",
        "caption_word_count(caption)",
        "caption_clean(caption)",
    ]
    # Aggregated slices, filters and unions hand the twins columns that do not start where their memory does.
    filtered = [F.expr(call).alias(call) for call in calls]
    assert_cpu_and_gpu_agree(gpu, lambda: gpu.read.parquet(path).select("id", *filtered))
    assert_cpu_and_gpu_agree(gpu, lambda: gpu.read.parquet(path).filter("id % 3 > 0").select("id", *filtered))


def _odd_rows() -> pa.Table:
    draw = random.Random(21)
    special = [0.0, -0.0, 1e-30, 3e38, float("nan"), float("inf"), None]
    texts = ["", " ", "\u00a0", "a", "a b", "&amp;", "&#8203;x", "&", "\u200b", "\n\x00", "é\u3000日本", "&nbsp;&nbsp;"]
    digits = ["", "0", "g", "0f", "0F", "ff", "é", "ffff0000ffff0000", "FFFF0000FFFF0001", "0x"]

    def embedding() -> list[float | None] | None:
        length = draw.choice([0, 1, 2, 3, 65])
        # Few are odd, so that long ones have values too.
        odd = 0.2 / max(length, 1)
        values = [
            draw.choice(special) if draw.random() < odd else float(np.float32(draw.gauss(0, 1))) for _ in range(length)
        ]
        return None if draw.random() < 0.1 else values

    count = 2_000
    number = [draw.randrange(-(2**63), 2**63) for _ in range(count)]
    return pa.table(
        {
            "id": range(count),
            "a": pa.array([embedding() for _ in range(count)], pa.list_(pa.float32())),
            "b": pa.array([embedding() for _ in range(count)], pa.list_(pa.float32())),
            "x": pa.array([draw.choice([*digits, None]) for _ in range(count)], pa.string()),
            "y": pa.array([draw.choice([*digits, None]) for _ in range(count)], pa.string()),
            "n": pa.array(number, pa.int64()),
            "m": pa.array(number[::-1], pa.int64()),
            "caption": pa.array(["".join(draw.choices(texts, k=draw.randrange(8))) for _ in range(count)], pa.string()),
        }
    )


def test_joins_agree(gpu: SparkSession, rows: Callable[[], DataFrame], tmp_path: Path) -> None:
    path = str(tmp_path / "other.parquet")
    pq.write_table(pa.table({"uid": [f"{n:09d}" for n in range(0, 60, 2)] * 2, "safety": [0.5] * 60}), path)

    def joined() -> DataFrame:
        read, text = rows(), rows().schema["id"].dataType
        value = join_value("id", text, text)
        other = gpu.read.parquet(path).withColumn(VALUE, join_value("uid", text, text))
        listed = with_listed(read, value, count_entries(other), "listed")
        once = other.dropDuplicates([VALUE])
        found = with_other(with_list_reason(listed, "listed", "drop_reason"), value, once, ["safety"], [])
        return found.select("id", "drop_reason", "safety")

    assert_cpu_and_gpu_agree(gpu, joined)


def test_layouts_agree(gpu: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "kept.parquet")
    counts = [7, 0, 1, 40]
    places = [(shard, 3 * place) for shard, count in enumerate(counts) for place in range(count)]
    random.Random(3).shuffle(places)
    pq.write_table(pa.table({"shard_index": [s for s, _ in places], "source_position": [p for _, p in places]}), path)

    def placed() -> DataFrame:
        kept = gpu.read.parquet(path)
        layout = with_new_key(with_layout(kept, [0, 7, 7, 8], 10), 5, 1)
        return layout.select(F.concat_ws("/", "shard_index", "source_position").alias("at"), "shard_id", "key")

    assert_cpu_and_gpu_agree(gpu, placed)


def test_whole_exports_agree_byte_for_byte(
    gpu: SparkSession, run: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data", shards=4, samples=50)
    ids = [f"{shard * 10_000 + place:09d}" for shard in range(4) for place in range(50)]
    pq.write_table(pa.table({"key": ids, "safety": np.linspace(0, 1, len(ids))}), tmp_path / "safety.parquet")
    words = ["--metadata", "safety.parquet", "--samples-per-shard", "17", "--rule", "score=aesthetic_score > 0.2"]
    words += ["--rule", "safe=safety < 0.8", "--rule", "near=dot_product(embedding, embedding) < 20"]
    for output, enabled in (("cpu", False), ("gpu", True)):
        with gpu_plans(gpu, enabled=enabled):
            already = len(plans_that_ran(gpu))
            done = run("export", "data", output, *words)
            assert done.code == 0, done.stderr
            plans = plans_that_ran(gpu)[already:]
            on_gpu = sum("Gpu" in plan for plan in plans)
            assert len(plans) > 3
            assert (on_gpu > 3) == (enabled and has_plugin(gpu)), f"{on_gpu} of {len(plans)} plans ran on the GPU"
    assert tree_bytes(tmp_path / "gpu") == tree_bytes(tmp_path / "cpu")
    stored = [
        DeltaTable(f"{output}_tables/exports").to_pyarrow_table().drop_columns("snapshot_id").sort_by("key")
        for output in ("cpu", "gpu")
    ]
    assert stored[0].equals(stored[1])
    assert len(stored[0]) > 50


def test_what_differs_is_named() -> None:
    cpu = [
        Row(id="a", value=1.0, tags=["x"]),
        Row(id="b", value=float("nan"), tags=None),
        Row(id="c", value=1, tags=[]),
    ]
    gpu = [
        Row(id="a", value=1.5, tags=["y"]),
        Row(id="b", value=float("nan"), tags=None),
        Row(id="d", value=1, tags=[]),
    ]
    assert list(differences(cpu, gpu)) == [
        "a: value is 1.0 on the CPU, 1.5 on the GPU",
        "a: tags is ['x'] on the CPU, ['y'] on the GPU",
        "c: only on the CPU: Row(id='c', value=1, tags=[])",
        "d: only on the GPU: Row(id='d', value=1, tags=[])",
    ]
