"""How expressions are written down: alike where they are alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from shardwright.functions import dot_product
from shardwright.store.expressions import expression_text


def python_function(number: int) -> Column:
    return F.udf(lambda value: value + number, "int")("count")  # noqa: TID251 - users have them


@pytest.mark.spark
@pytest.mark.parametrize(
    "make",
    [
        lambda number: F.lit(np.array([1.0, number])),
        lambda number: F.lit(bytes([number])),
        lambda number: F.lit(number) == F.lit(2).cast("bigint"),
        lambda number: F.col(f"x_{number}") == F.lit("x_2"),
        lambda number: dot_product("embedding", [0.5, number]),
        lambda number: F.lit(np.array([1.0, 2.0])) == F.expr(f"(SELECT array({number}, 2))"),
        lambda number: F.expr(f"lag(score) {'IGNORE' if number == 1 else 'RESPECT'} NULLS OVER (ORDER BY key)"),
        lambda number: F.expr(f"score IN (SELECT a FROM t WHERE b > {number})"),
        lambda number: F.col("b") == F.lit(f"two{' ' * number}words"),
        lambda number: F.transform("tags", lambda tag: F.concat(tag, F.lit(str(number)), F.col("more"))),
        lambda number: F.transform(F.col(f"x_90{number}"), F.upper),
        lambda number: F.aggregate("n", F.lit(0), lambda total, n: total + n if number == 1 else n + total),
        python_function,
    ],
    ids=[
        *("array", "bytes", "types", "names", "embedding", "subquery", "nulls", "list", "spaces"),
        *("lambda", "column in a lambda", "variables", "Python"),
    ],
)
def test_expressions_are_written_alike_exactly_where_they_are(
    spark: SparkSession, make: Callable[[int], Column]
) -> None:
    assert expression_text(make(1), spark) == expression_text(make(1), spark)
    assert expression_text(make(1), spark) != expression_text(make(2), spark)


@pytest.mark.spark
def test_a_column_is_no_text(spark: SparkSession) -> None:
    assert expression_text(F.col("b"), spark) != expression_text(F.lit("b"), spark)
