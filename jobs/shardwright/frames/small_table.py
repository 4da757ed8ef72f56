"""A few rows that the driver knows, as a plan that a GPU runs: tables made on the driver take what they meet off it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

# Stands in no path, name or number.
_BETWEEN = "\0"


def small_table(spark: SparkSession, columns: Mapping[str, tuple[str, Sequence[object]]]) -> DataFrame:
    """Give rows by their columns: type and values by name, as many values each, none of them null."""
    count = max(len(values) for _, values in columns.values())
    numbers = spark.range(0, count, 1, 1)
    return numbers.select(
        *(
            F.element_at(array_of(kind, values), F.col("id").cast("int") + 1).alias(name)
            for name, (kind, values) in columns.items()
        )
    )


def array_of(kind: str, values: Sequence[object]) -> Column:
    """Give one literal that folds to an array: as many literals as values would take seconds to build."""
    if not values:
        return F.array().cast(f"array<{kind}>")
    return F.split(F.lit(_BETWEEN.join(map(str, values))), _BETWEEN).cast(f"array<{kind}>")
