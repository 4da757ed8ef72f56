"""Sidecars whose columns drifted apart: widened exactly, or refused with every column named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from shardwright.config import SourceSettings
from shardwright.metadata import load_metadata
from shardwright.store.dataset import list_dataset
from tests.builders import read_rows, sample_members, write_dataset, write_shard
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]


def write_sidecars(folder: Path, **columns: tuple[pa.Array, ...]) -> Path:
    """Write a shard a sidecar: sample i of shard s has the key ``si``, and value i of each column's array s."""
    for shard, arrays in enumerate(zip(*columns.values(), strict=True)):
        keys = [f"{shard}{row}" for row in range(len(arrays[0]))]
        table = pa.table(dict(zip(["key", *columns], [pa.array(keys), *arrays], strict=True)))
        members = [member for key in keys for member in sample_members(key)]
        write_shard(folder, f"{shard:05d}", members, table)
    return folder


def test_an_export_widens_what_drifted_and_keeps_every_value(run: Run, tmp_path: Path) -> None:
    vectors = pa.list_(pa.float32(), 2)
    data = write_sidecars(
        tmp_path / "data",
        score=(pa.nulls(2), pa.array([0.1, None]), pa.array([1, 2], pa.int32())),
        width=(pa.array([1, 2], pa.int32()), pa.array([2**40, -1]), pa.array([3, None], pa.uint16())),
        height=(pa.array([480, 2**53]), pa.array([None, 1.5]), pa.nulls(2)),
        embedding=(
            pa.array([[0.1, 0.2], [1, 2]], vectors),
            pa.array([[0.1, 0.2], []], pa.list_(pa.float64())),
            pa.array([[], None], pa.list_(pa.null())),
        ),
        caption=(pa.array(["a", None]).dictionary_encode(), pa.nulls(2), pa.array(["b", "c"], pa.large_string())),
        box=(
            pa.array([{"x": 1, "y": None}, None], pa.struct([("x", pa.int32()), ("y", pa.null())])),
            pa.array([{"y": "t", "x": 2**40}, {"y": None, "x": 0}]),
            pa.nulls(2),
        ),
    )
    before = read_rows(data)
    done = run("export", data, tmp_path / "out", "--where", "true", "--samples-per-shard", 4)
    assert (done.code, done.result["exported"]) == (0, 6)
    after = read_rows(tmp_path / "out")
    assert [[row[name] for name in before[0] if name != "key"] for row in after] == [
        [row[name] for name in before[0] if name != "key"] for row in before
    ]
    kinds = {str(field.type) for path in sorted((tmp_path / "out").glob("*.parquet")) for field in pq.read_schema(path)}
    assert kinds == {
        "string",
        "double",
        "int64",
        "list<element: double>",
        "large_string",
        "struct<x: int64, y: string>",
    }
    assert run("verify", tmp_path / "out", "--deep").code == 0


def test_keys_that_repeat_between_drifting_sidecars_pair_within_their_shard(run: Run, tmp_path: Path) -> None:
    for shard, values in enumerate((pa.array([1, 2]), pa.array([0.5, None]))):
        table = pa.table({"key": ["a", "b"], "score": values})
        write_shard(tmp_path / "data", str(shard), [*sample_members("a"), *sample_members("b", seed=shard)], table)
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "score > 0.7")
    assert (done.code, [row["score"] for row in read_rows(tmp_path / "out")]) == (0, [1.0, 2.0])


def test_what_can_not_be_widened_is_refused_all_at_once(run: Run, tmp_path: Path) -> None:
    data = write_sidecars(
        tmp_path / "data",
        text=(pa.array(["1"]), pa.array([1])),
        big=(pa.array([2**53 + 1]), pa.array([0.5])),
        vector=(pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), pa.array([[1.0]], pa.list_(pa.float32(), 1))),
        sound=(pa.array([1]), pa.array([2])),
    )
    table = pq.read_table(data / "00001.parquet")
    pq.write_table(table.append_column("extra", pa.array([1])), data / "00001.parquet")
    done = run("export", data, tmp_path / "out", "--where", "true")
    assert done.code == 2
    for part in (
        f"column 'text' is string in {data}/00000.parquet, int64 in {data}/00001.parquet",
        "a double can't hold the whole numbers in",
        "column 'vector' is fixed_size_list",
        f"column 'extra' is missing from 1 of 2 sidecars ({data}/00000.parquet)",
    ):
        assert part in done.result["error"]
    assert "'sound'" not in done.result["error"]
    assert not (tmp_path / "out").exists()


def test_sidecars_alike_to_spark_are_one_scan_that_reads_nothing_unasked(spark: SparkSession, tmp_path: Path) -> None:
    data = write_sidecars(
        tmp_path / "data",
        score=(pa.array([1.0]), pa.array([2.0])),
        text=(pa.array(["a"]), pa.array(["b"], pa.large_string())),
        vector=(pa.array([[1.0]], pa.list_(pa.float32(), 1)), pa.array([[1.0]], pa.list_(pa.float32()))),
    )
    source = SourceSettings(str(data))
    frame = load_metadata(spark, list_dataset(str(data)), source, "a test").frame.select("score")
    plan = frame._jdf.queryExecution().executedPlan().toString()  # noqa: SLF001
    assert plan.count("FileScan") == 1
    assert "file_path" not in plan
    assert "ReadSchema: struct<score:double>" in plan


@pytest.mark.parametrize("name", ["_metadata", "_tmp_metadata_row_index", "shardwright: drop reason"])
def test_column_names_that_are_taken_are_refused(run: Run, tmp_path: Path, name: str) -> None:
    data = write_dataset(tmp_path / "data", 1)
    table = pq.read_table(data / "00000.parquet")
    pq.write_table(table.append_column(name, pa.array(range(10))), data / "00000.parquet")
    done = run("export", data, tmp_path / "out", "--where", "true")
    assert (done.code, f"a column is named '{name}', which is taken" in done.result["error"]) == (2, True)
