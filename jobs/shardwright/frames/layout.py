"""Decide which sample goes to which shard and position, without a global sort."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shardwright.frames.small_table import array_of


def with_layout(kept: DataFrame, first_ranks: Sequence[int], samples_per_shard: int) -> DataFrame:
    """Add ``shard_id`` and ``position``; the order of source shards and of samples within them stays.

    Args:
        kept: The kept samples: ``shard_index`` and ``source_position``, unique together.
        first_ranks: By ``shard_index``: how many samples are kept in all earlier source shards.
        samples_per_shard: How many samples fill an output shard; the last one may be short.

    Returns:
        ``kept`` plus ``shard_id`` and ``position``, both from 0 and dense; they depend on the
        arguments alone, never on how rows are partitioned.
    """
    within = Window.partitionBy("shard_index").orderBy("source_position")
    base = F.element_at(array_of("bigint", first_ranks), (F.col("shard_index") + 1).cast("int"))
    ranked = kept.withColumn("rank", base + F.row_number().over(within) - 1)
    return ranked.withColumns(
        {"shard_id": F.expr(f"rank div {samples_per_shard}"), "position": F.col("rank") % _long(samples_per_shard)}
    ).drop("rank")


def with_new_key(placed: DataFrame, shard_digits: int, position_digits: int) -> DataFrame:
    """Add ``key``, the number that shard and position make, as `format.names.combine_key` writes it."""
    number = F.col("shard_id") * _long(10**position_digits) + F.col("position")
    return placed.withColumn("key", F.lpad(number.cast("string"), shard_digits + position_digits, "0"))


def _long(value: int) -> Column:
    return F.lit(value).cast("bigint")
