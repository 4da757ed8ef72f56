"""Pair metadata rows with samples, by key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.frames.columns import column
from shardwright.frames.small_table import array_of, small_table

MATCH, STEM, FILE = "match_key", "shard_stem", "sidecar_file"

# What became of a key; beside these, the problem that the index found in its sample.
KEPT, DROPPED = "kept", "dropped"
FAILED_DOWNLOAD, REJECTED_SHARD = "failed_download", "rejected_shard"
NULL_ID, DUPLICATE_KEY, DUPLICATE_ROW = "null_id", "duplicate_key", "duplicate_row"
MISSING_ROW, UNMATCHED_ROW, BAD_FLAG = "missing_row", "unmatched_row", "bad_flag"


def match_key(name: str, id_type: T.DataType) -> Column:
    """Give the text by which keys and ids are compared: where ids are integers, 9 meets '000000009'."""
    if isinstance(id_type, T.StringType):
        return column(name)
    digits = F.expr(f"trim(LEADING '0' FROM `{name.replace('`', '``')}`)")
    return F.when(digits == "", "0").otherwise(digits)


def tar_stem(stems: Sequence[str]) -> Column:
    """Name a sample's shard: its tar's path without the suffix.

    Args:
        stems: By ``shard_index``.
    """
    return F.element_at(array_of("string", stems), (F.col("shard_index") + 1).cast("int"))


def with_stem(rows: DataFrame, stems: Mapping[str, str]) -> DataFrame:
    """Put `STEM`, which names the shard that a row lies beside, in the place of `FILE`.

    Args:
        stems: By the URI of a sidecar.
    """
    named = small_table(rows.sparkSession, {FILE: ("string", [*stems]), STEM: ("string", [*stems.values()])})
    return rows.join(F.broadcast(named), on=FILE, how="inner").drop(FILE)


def with_shard(rows: DataFrame, files: Mapping[str, tuple[int, str]]) -> DataFrame:
    """Put ``shard_index`` and ``shard_path`` in the place of `FILE`, the sidecar's; rows of others are left out."""
    named = small_table(
        rows.sparkSession,
        {
            FILE: ("string", [*files]),
            "shard_index": ("bigint", [shard_index for shard_index, _ in files.values()]),
            "shard_path": ("string", [path for _, path in files.values()]),
        },
    )
    return rows.join(F.broadcast(named), on=FILE, how="inner").drop(FILE)


def only_in_sound_shards(samples: DataFrame, unsound: Collection[int]) -> DataFrame:
    """Remove the samples of shards that are set aside, by ``shard_index``."""
    return samples.filter(~F.col("shard_index").isin(sorted(unsound))) if unsound else samples


def unsound_samples(samples: DataFrame) -> DataFrame:
    """Give the samples that have a ``problem``, as rows of ``rejects``."""
    return samples.filter(F.col("problem").isNotNull()).select(
        "shard_path",
        "key",
        F.col("problem_offset").alias("offset"),
        F.col("problem").alias("reason"),
        F.col("problem_detail").alias("detail"),
        F.lit(1).cast("bigint").alias("sample_count"),
    )


def outcomes(samples: DataFrame, rows: DataFrame, on: list[str], rejected_stems: Sequence[str] = ()) -> DataFrame:
    """Say for each key what became of it.

    Args:
        samples: ``on``, ``shard_index``, ``drop_reason``, ``problem``; ``STEM`` where rows have it.
        rows: ``on``, ``drop_reason``, ``failed`` (its download failed: no sample is expected), ``bad_flag``.
        on: The columns that make a pair. One of the two sides knows the drop reasons.
        rejected_stems: Shards that are set aside: rows beside them have no sample here.

    Returns:
        One row a key: ``on``, ``STEM``, ``key`` and ``shard_path`` where rows have the first, ``shard_index``
        (null without a sample), ``outcome``, ``drop_reason``, ``samples`` and ``rows`` (how many have the key),
        ``flagged`` (how many of its samples have a problem).
    """
    none = F.lit(None)
    # Names are for those who list troubles: the first round goes without.
    names = ["key", "shard_path"] if STEM in rows.columns else []
    stem = [STEM] if STEM in rows.columns and STEM not in on else []
    both = samples.select(
        *on,
        *stem,
        *names,
        "shard_index",
        "drop_reason",
        "problem",
        none.cast("boolean").alias("failed"),
        none.cast("boolean").alias("bad_flag"),
        F.lit(1).alias("sample"),
    ).unionByName(
        rows.select(
            *on,
            *stem,
            *(none.cast("string").alias(name) for name in names),
            none.cast("bigint").alias("shard_index"),
            "drop_reason",
            none.cast("string").alias("problem"),
            "failed",
            "bad_flag",
            F.lit(0).alias("sample"),
        )
    )
    largest = ("shard_index", "drop_reason", "problem", "bad_flag", *stem, *names)
    counted = both.groupBy(*on).agg(
        F.sum("sample").alias("samples"),
        F.sum(1 - F.col("sample")).alias("rows"),
        F.count("problem").alias("flagged"),
        F.min("failed").alias("all_failed"),
        *(F.max(name).alias(name) for name in largest),
    )
    has_sample = F.col("samples") > 0
    in_rejected = F.col(STEM).isin(*rejected_stems) if rejected_stems else F.lit(False)
    outcome = (
        F.when(F.col(MATCH).isNull(), NULL_ID)
        .when((F.col("samples") > 1) & (F.col("flagged") < F.col("samples")), DUPLICATE_KEY)
        .when(F.col("flagged") > 0, F.col("problem"))
        .when(~has_sample & in_rejected, REJECTED_SHARD)
        .when(~has_sample & F.col("all_failed"), FAILED_DOWNLOAD)  # listed twice, it is no sample's either
        .when(F.col("rows") > 1, DUPLICATE_ROW)
        .when(F.col("rows") == 0, MISSING_ROW)
        .when(~has_sample, UNMATCHED_ROW)
        .when(F.col("bad_flag"), BAD_FLAG)
        .when(F.col("drop_reason").isNull(), KEPT)
        .otherwise(DROPPED)
    )
    counts = ("samples", "rows", "flagged")
    return counted.select(*on, *stem, *names, "shard_index", outcome.alias("outcome"), "drop_reason", *counts)


def count_outcomes(outcomes: DataFrame) -> DataFrame:
    """Count samples and rows by outcome: a row for each ``shard_index``, ``outcome`` and ``drop_reason``."""
    return outcomes.groupBy("shard_index", "outcome", "drop_reason").agg(
        F.sum("samples").alias("sample_count"),
        F.sum("rows").alias("row_count"),
    )


def troubled_keys(outcomes: DataFrame, details: Mapping[str, str]) -> DataFrame:
    """Give the keys that did not pair as they should, as rows of ``rejects``.

    Args:
        outcomes: With ``STEM``.
        details: By outcome, what was found. Samples that the index flagged are none of this list's.

    A sample is named by its tar and its key, a row without one by its sidecar and its id.
    """
    detail = F.coalesce(*(F.when(F.col("outcome") == outcome, text) for outcome, text in details.items()))
    is_new = (F.col("flagged") < F.col("samples")) | (F.col("samples") == 0)
    return outcomes.filter(F.col("outcome").isin(*details) & is_new).select(
        F.coalesce("shard_path", F.concat(STEM, F.lit(".parquet"))).alias("shard_path"),
        F.coalesce("key", MATCH).alias("key"),
        F.lit(None).cast("bigint").alias("offset"),
        F.col("outcome").alias("reason"),
        detail.alias("detail"),
        (F.col("samples") - F.col("flagged")).cast("bigint").alias("sample_count"),
    )
