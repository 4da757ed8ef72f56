"""Count and sum the keys of metadata rows, as `format.key_sums` does those of samples."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.frames.columns import column
from shardwright.frames.pairs import FILE, MATCH

_LOW_BITS = 2**32 - 1


def text_key(name: str, id_type: T.DataType, characters: int | None) -> Column:
    """Give an id as keys are written that all have so many characters: where ids are integers, 9 is '000000009'."""
    if isinstance(id_type, T.StringType):
        return column(name)
    digits = column(name).cast("string")
    if characters is None:
        return digits
    return F.when(F.length(digits) < characters, F.lpad(digits, characters, "0")).otherwise(digits)


def key_sums(rows: DataFrame) -> DataFrame:
    """Sum keys by file.

    Args:
        rows: `MATCH`, `FILE`, ``drop_reason``, ``failed``, ``bad_flag``.

    Returns:
        A row for each `FILE`, ``failed`` and ``drop_reason``, O(shards): how many rows there are (``key_count``), how
        many of them are ``unsound``, and ``key_low`` and ``key_high``, which no sum of 32 bits overflows.
    """
    value = F.xxhash64(MATCH)
    return rows.groupBy(FILE, "failed", "drop_reason").agg(
        F.count(F.lit(1)).alias("key_count"),
        F.count(F.when(F.col(MATCH).isNull() | F.col("bad_flag"), 1)).alias("unsound"),
        F.sum(value.bitwiseAND(F.lit(_LOW_BITS).cast("bigint"))).alias("key_low"),
        F.sum(F.shiftrightunsigned(value, 32)).alias("key_high"),
    )
