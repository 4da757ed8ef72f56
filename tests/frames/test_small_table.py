"""Rows that the driver knows, as plans without tables of the driver's."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shardwright.frames.small_table import array_of, small_table

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_small_table_has_the_rows_that_it_was_given(spark: SparkSession, count: int) -> None:
    paths = ["/data/a, b\n.tar", "/data/ö'%2B.tar", "|"][:count]
    table = small_table(spark, {"path": ("string", paths), "shard_index": ("bigint", range(count))})
    assert [tuple(row) for row in table.orderBy("shard_index").collect()] == list(zip(paths, range(count), strict=True))
    assert [kind for _, kind in table.dtypes] == ["string", "bigint"]


def test_a_small_table_is_no_table_of_the_drivers(spark: SparkSession) -> None:
    plan = small_table(spark, {"path": ("string", ["a"])})._jdf.queryExecution().executedPlan().toString()  # noqa: SLF001
    assert "Range" in plan
    assert not {"LocalTableScan", "RDDScan"} & {word.strip("*() ") for word in plan.split()}


def test_an_array_of_nothing_has_its_type(spark: SparkSession) -> None:
    (row,) = (
        spark.range(1).select(array_of("bigint", []).alias("none"), F.size(array_of("string", ["", "b"]))).collect()
    )
    assert tuple(row) == ([], 2)
