"""Pair samples with their metadata rows, and say what becomes of each key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.config import Selection, SourceSettings
from shardwright.errors import RequestError
from shardwright.format.names import OWN_PREFIX
from shardwright.frames import pairs
from shardwright.frames.columns import column, table_columns
from shardwright.frames.joins import with_list_reason
from shardwright.frames.rules import is_bad_flag, with_drop_reason, with_flag_reason
from shardwright.metadata import Metadata
from shardwright.rejects import Rejects
from shardwright.store.sidecars import LISTED, file_path
from shardwright.store.tables import table_schema

TROUBLES = {
    pairs.NULL_ID: "the sidecar has rows without an id",
    pairs.DUPLICATE_KEY: "samples of the shard share this key once it is compared as a whole number",
    pairs.DUPLICATE_ROW: "the sidecar has several rows with this id",
    pairs.MISSING_ROW: "the sample has no row in the sidecar",
    pairs.UNMATCHED_ROW: "the row has no sample in the tar, and no status that says its download failed",
    pairs.BAD_FLAG: "the flag is neither 0 nor 1",
}
_REPEATED = (pairs.DUPLICATE_KEY, pairs.DUPLICATE_ROW)
_WITHIN_SHARDS = {*_REPEATED, pairs.NULL_ID}
UNPAIRED = (pairs.FAILED_DOWNLOAD, pairs.REJECTED_SHARD, pairs.UNMATCHED_ROW, pairs.NULL_ID)
_DROP_REASON = f"{OWN_PREFIX}drop reason"
_ROW_STEM = f"{OWN_PREFIX}shard stem"
_OURS = (
    *table_schema("samples"),
    *table_schema("exports"),
    "shard_index",
    "drop_reason",
    "failed",
    "bad_flag",
    "row_drop_reason",
    "source_position",
    "new_key",
    "rank",
    pairs.MATCH,
    pairs.STEM,
)


class Pairing(NamedTuple):
    """Samples with their rows: as `Decision` has them."""

    paired: DataFrame
    columns: Mapping[str, str]
    counts: Sequence[Row]


def pair_samples(
    samples: DataFrame,
    metadata: Metadata,
    selection: Selection,
    source: SourceSettings,
    rejected_stems: Sequence[str],
    rejects: Rejects,
) -> Pairing:
    """Pair by key, within shards where keys are not unique over the dataset; what does not pair is rejected."""
    columns = table_columns((name for name in metadata.names if name != metadata.id_col), _OURS)
    id_type = metadata.frame.schema[metadata.id_col].dataType
    index_columns = [name for name in samples.columns if name != "drop_reason"]
    samples = samples.withColumns({pairs.MATCH: pairs.match_key("key", id_type), pairs.STEM: pairs.tar_stem()})
    troubles = dict(TROUBLES)
    if source.unmatched_rows == "ignore":
        del troubles[pairs.UNMATCHED_ROW]
    # Keys that are unique over the dataset need no shard to pair by; whether they are, only all shards tell.
    on = [pairs.STEM, pairs.MATCH] if rejected_stems else [pairs.MATCH]
    outcomes = pairs.outcomes(samples, _rows(metadata, selection, columns, on), on, rejected_stems)
    counts = pairs.count_outcomes(outcomes).collect()
    found = _outcomes(counts)
    if found & troubles.keys():
        on = [pairs.STEM, pairs.MATCH] if found & _WITHIN_SHARDS else on
        rows = _rows(metadata, selection, columns, [pairs.STEM, pairs.MATCH])
        outcomes = pairs.outcomes(samples, rows, on, rejected_stems)
        counts = pairs.count_outcomes(outcomes).collect()
        found = _outcomes(counts)
        if found & troubles.keys():
            rejects.add(pairs.troubled_keys(outcomes, troubles))
    rows = _rows(metadata, selection, columns, on).withColumnRenamed("drop_reason", "row_drop_reason")
    joined = samples.filter(F.col("problem").isNull()).join(rows, on=on, how="inner")
    unsound = found & {*_REPEATED, pairs.BAD_FLAG}
    if unsound:
        joined = joined.join(outcomes.filter(F.col("outcome").isin(sorted(unsound))), on=on, how="left_anti")
    reason = F.coalesce("drop_reason", "row_drop_reason").alias("drop_reason")
    paired = joined.select(*index_columns, *map(column, columns.values()), reason)
    return Pairing(paired, columns, counts)


def _outcomes(counts: Sequence[Row]) -> set[str]:
    return {row["outcome"] for row in counts}


def _rows(metadata: Metadata, selection: Selection, columns: Mapping[str, str], on: Collection[str]) -> DataFrame:
    """Give the rows with ``on``, ``drop_reason``, ``failed``, ``bad_flag`` and the columns under their table names."""
    frame = metadata.frame
    id_type = frame.schema[metadata.id_col].dataType
    if pairs.STEM in on:
        frame = frame.withColumn(_ROW_STEM, pairs.sidecar_stem(file_path(frame)))
    if selection.filter_column is not None:
        flagged = with_flag_reason(frame, selection.filter_column, _DROP_REASON)
    elif selection.keep_list is not None:
        flagged = with_list_reason(frame, LISTED, _DROP_REASON)
    else:
        flagged = with_drop_reason(frame, selection.rules, _DROP_REASON)
    return flagged.select(
        *(column(_ROW_STEM).alias(name) for name in on if name == pairs.STEM),
        pairs.match_key(metadata.id_col, id_type).alias(pairs.MATCH),
        column(_DROP_REASON).alias("drop_reason"),
        _failed_download(metadata.frame).alias("failed"),
        _bad_flag(metadata.frame, selection.filter_column).alias("bad_flag"),
        *(column(name).alias(table_name) for name, table_name in columns.items()),
    )


def _failed_download(frame: DataFrame) -> Column:
    """Tell img2dataset's rows whose download failed: they never had a sample."""
    if "status" in frame.columns and isinstance(frame.schema["status"].dataType, T.StringType):
        return F.coalesce(F.col("status") != "success", F.lit(False))
    return F.lit(False)


def _bad_flag(frame: DataFrame, name: str | None) -> Column:
    return F.lit(False) if name is None else is_bad_flag(name, frame.schema[name].dataType)


def require_rules_run(metadata: Metadata, selection: Selection) -> None:
    """After a failure: find the rule that raises, if one does."""
    for rule, condition in selection.rules.items():
        try:
            with_drop_reason(metadata.frame, {rule: condition}, _DROP_REASON).agg(F.max(column(_DROP_REASON))).collect()
        except PySparkException as error:
            reason = str(error).strip().splitlines()[0].rstrip(". ")
            raise RequestError(
                f"rule '{rule}'", f"{condition!r} raises an error: {reason}", "Guard it, for example with try_cast"
            ) from None
