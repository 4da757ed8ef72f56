"""Count and sum keys a shard: two sides with the same sums have the same keys, and need not be brought together."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from shardwright.frames.pairs import FILE, MATCH

_LOW_BITS = 2**32 - 1


def key_sums(samples: DataFrame, rows: DataFrame) -> DataFrame:
    """Sum the keys of both sides, in one frame.

    Args:
        samples: `MATCH`, ``shard_index``, ``drop_reason``, ``problem``.
        rows: `MATCH`, `FILE`, ``drop_reason``, ``failed``, ``bad_flag``.

    Returns:
        A row for each ``shard_index`` (samples) or `FILE` (rows), ``failed`` and ``drop_reason``, O(shards): how many
        there are (``key_count``), how many of them are ``unsound``, the sums of the halves of their keys' hashes
        (``low``, ``high``: 32 bits each, which no sum of theirs overflows), and the ``shortest`` and ``longest`` key
        in characters.
    """
    of_samples = samples.select(
        "shard_index",
        F.lit(None).cast("string").alias(FILE),
        F.lit(False).alias("failed"),
        "drop_reason",
        MATCH,
        F.length("key").alias("characters"),
        F.col("problem").isNotNull().alias("unsound"),
    )
    of_rows = rows.select(
        F.lit(None).cast("bigint").alias("shard_index"),
        FILE,
        "failed",
        "drop_reason",
        MATCH,
        F.lit(None).cast("int").alias("characters"),
        (F.col(MATCH).isNull() | F.col("bad_flag")).alias("unsound"),
    )
    return _summed(of_samples).unionByName(_summed(of_rows))


def _summed(keys: DataFrame) -> DataFrame:
    value = F.xxhash64(MATCH)
    return keys.groupBy("shard_index", FILE, "failed", "drop_reason").agg(
        F.count(F.lit(1)).alias("key_count"),
        F.count(F.when(F.col("unsound"), 1)).alias("unsound"),
        F.sum(value.bitwiseAND(_long(_LOW_BITS))).alias("low"),
        F.sum(F.shiftrightunsigned(value, 32)).alias("high"),
        F.min("characters").alias("shortest"),
        F.max("characters").alias("longest"),
    )


def _long(value: int) -> Column:
    return F.lit(value).cast("bigint")
