"""Pair metadata rows with samples, by key."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.frames.columns import column

MATCH, STEM = "match_key", "shard_stem"

# What became of a key.
KEPT, DROPPED, FAILED_DOWNLOAD = "kept", "dropped", "failed_download"
NULL_ID, DUPLICATE_KEY, DUPLICATE_ROW = "null_id", "duplicate_key", "duplicate_row"
MISSING_ROW, UNMATCHED_ROW = "missing_row", "unmatched_row"


def match_key(name: str, id_type: T.DataType) -> Column:
    """Give the text by which keys and ids are compared: where ids are integers, 9 meets '000000009'."""
    if isinstance(id_type, T.StringType):
        return column(name)
    digits = F.expr(f"trim(LEADING '0' FROM `{name.replace('`', '``')}`)")
    return F.when(digits == "", "0").otherwise(digits)


def sidecar_stem() -> Column:
    """Name the shard that a sidecar's row lies beside: its path without the suffix."""
    # The path is a percent-encoded URI, in which a plus stands for itself.
    decoded = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    return F.regexp_replace(F.regexp_replace(decoded, "^file:/+", "/"), r"\.parquet$", "")


def tar_stem() -> Column:
    """Name a sample's shard in the same way."""
    return F.regexp_replace("shard_path", r"\.(tar|tgz|tar\.gz)$", "")


def outcomes(samples: DataFrame, rows: DataFrame, on: list[str]) -> DataFrame:
    """Say for each key what became of it.

    Args:
        samples: ``on``, ``shard_index``, ``written_bytes``, ``drop_reason``.
        rows: ``on``, ``drop_reason``, ``failed`` (its download failed: no sample is expected).
        on: The columns that make a pair. One of the two sides knows the drop reasons.

    Returns:
        One row a key: ``on``, ``shard_index`` (null without a sample), ``outcome``, ``drop_reason``,
        ``written_bytes``.
    """
    none = F.lit(None)
    both = samples.select(
        *on,
        "shard_index",
        "written_bytes",
        "drop_reason",
        none.cast("boolean").alias("failed"),
        F.lit(1).alias("sample"),
    ).unionByName(
        rows.select(
            *on,
            none.cast("bigint").alias("shard_index"),
            none.cast("bigint").alias("written_bytes"),
            "drop_reason",
            "failed",
            F.lit(0).alias("sample"),
        )
    )
    counted = both.groupBy(*on).agg(
        F.sum("sample").alias("samples"),
        F.sum(1 - F.col("sample")).alias("rows"),
        *(F.max(name).alias(name) for name in ("shard_index", "written_bytes", "drop_reason", "failed")),
    )
    outcome = (
        F.when(F.col(MATCH).isNull(), NULL_ID)
        .when(F.col("samples") > 1, DUPLICATE_KEY)
        .when(F.col("rows") > 1, DUPLICATE_ROW)
        .when(F.col("rows") == 0, MISSING_ROW)
        .when((F.col("samples") == 0) & F.col("failed"), FAILED_DOWNLOAD)
        .when(F.col("samples") == 0, UNMATCHED_ROW)
        .when(F.col("drop_reason").isNull(), KEPT)
        .otherwise(DROPPED)
    )
    return counted.select(*on, "shard_index", outcome.alias("outcome"), "drop_reason", "written_bytes")


def count_outcomes(outcomes: DataFrame) -> DataFrame:
    """Count outcomes by shard: a row for each ``shard_index``, ``outcome`` and ``drop_reason``."""
    return outcomes.groupBy("shard_index", "outcome", "drop_reason").agg(
        F.count(F.lit(1)).alias("sample_count"), F.sum("written_bytes").alias("written_bytes")
    )
