"""Values by which rows meet the entries of a list or the rows of another table."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.frames.columns import column
from shardwright.frames.pairs import match_key

KEEP_LIST = "keep_list"
# What is compared; whether a row has a partner; what stands before the names of a partner's columns.
VALUE, JOINED, OTHER = "shardwright: value", "shardwright: joined", "shardwright: other "


def is_number(kind: T.DataType) -> bool:
    """Tell whole numbers; uint64 is a decimal in Spark."""
    return isinstance(kind, T.IntegralType) or (isinstance(kind, T.DecimalType) and kind.scale == 0)


def can_meet(kind: T.DataType, other: T.DataType) -> bool:
    """Tell whether values of two types are compared: text with all, whole numbers and bytes with their like."""
    kinds = [
        "number" if is_number(one) else "text" if isinstance(one, T.StringType) else one.typeName()
        for one in (kind, other)
    ]
    return set(kinds) in ({"text"}, {"number"}, {"binary"}, {"text", "number"}, {"text", "binary"})


def join_value(name: str, kind: T.DataType, other: T.DataType) -> Column:
    """Give the text by which a column is compared with one of another type; null meets nothing.

    Where one side is whole numbers, leading zeros do not count. A uid, 32 hex digits, is compared without
    dashes and case, never as a number: it has more bits than Spark's integers. Bytes are compared as hex digits.
    """
    if is_number(kind) or is_number(other):
        return match_key(name, T.LongType())
    if isinstance(kind, T.BinaryType):
        return F.lower(F.hex(column(name)))
    digits = F.lower(F.replace(column(name), F.lit("-"), F.lit("")))
    return F.when(digits.rlike("^[0-9a-f]{32}$"), digits).otherwise(column(name))


def count_entries(values: DataFrame) -> DataFrame:
    """Give each value of a list once, with how many ``entries`` it has; null is none."""
    return values.filter(F.col(VALUE).isNotNull()).groupBy(VALUE).agg(F.count(F.lit(1)).alias("entries"))


def with_listed(rows: DataFrame, value: Column, listed: DataFrame, into: str) -> DataFrame:
    """Add whether a row's value is in a list, true or null; no row is removed or repeated.

    Args:
        listed: Its values as `VALUE`, each once.
    """
    marks = listed.select(VALUE, F.lit(True).alias(into))
    return rows.withColumn(VALUE, value).join(marks, on=VALUE, how="left").drop(VALUE)


def with_list_reason(rows: DataFrame, listed: str, into: str) -> DataFrame:
    """Add the drop reason that a keep list gives, from the column that `with_listed` added."""
    return rows.withColumn(into, F.when(~F.coalesce(column(listed), F.lit(False)), F.lit(KEEP_LIST)))


def with_other(
    rows: DataFrame, value: Column, other: DataFrame, added: Sequence[str], compared: Sequence[str]
) -> DataFrame:
    """Add another table's columns; no row is removed, and none is repeated where its values are unique.

    Args:
        other: `VALUE` and its columns.
        added: Those that ``rows`` lacks.
        compared: Those that ``rows`` has too.

    Returns:
        ``rows`` plus `VALUE`, `JOINED` (true, or null without a partner), ``added``, and ``compared`` after `OTHER`.
    """
    partners = other.select(
        VALUE,
        F.lit(True).alias(JOINED),
        *map(column, added),
        *(column(name).alias(OTHER + name) for name in compared),
    )
    return rows.withColumn(VALUE, value).join(partners, on=VALUE, how="left")
