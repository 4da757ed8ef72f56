"""Pair samples with their metadata rows, and say what becomes of each key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.config import Selection, SourceSettings
from shardwright.errors import RequestError
from shardwright.format.names import OWN_PREFIX
from shardwright.frames import pairs
from shardwright.frames.columns import column, table_columns
from shardwright.frames.joins import with_list_reason
from shardwright.frames.key_sums import text_key
from shardwright.frames.rules import is_bad_flag, with_drop_reason, with_flag_reason
from shardwright.metadata import Metadata
from shardwright.proof import Count, Proof, Shards, key_characters, prove_pairs
from shardwright.reporting import warn
from shardwright.store.dataset import shard_stem
from shardwright.store.sidecars import LISTED, file_path, sidecar_stems
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
# From here on an exchange is worth planning; less is joined as Spark finds best.
_MANY_SAMPLES = 200_000
_WITHIN_SHARDS = {*_REPEATED, pairs.NULL_ID}
UNPAIRED = (pairs.FAILED_DOWNLOAD, pairs.REJECTED_SHARD, pairs.UNMATCHED_ROW, pairs.NULL_ID)
_DROP_REASON = f"{OWN_PREFIX}drop reason"
_PLACE = f"{OWN_PREFIX}place"
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
    pairs.FILE,
)


class Pairing(NamedTuple):
    """Samples with their rows, as `Decision` has them, and what did not pair, as rows of ``rejects``."""

    paired: DataFrame
    columns: Mapping[str, str]
    counts: Sequence[Count]
    troubled: DataFrame | None = None


def pair_samples(
    samples: DataFrame,
    metadata: Metadata,
    selection: Selection,
    source: SourceSettings,
    shards: Shards,
    rejected: Collection[int],
) -> Pairing:
    """Pair by key, within shards where keys are not unique over the dataset.

    Args:
        shards: The rows of the table ``shards``.
        rejected: The shards that are set aside.
    """
    columns = table_columns((name for name in metadata.names if name != metadata.id_col), _OURS)
    id_type = metadata.frame.schema[metadata.id_col].dataType
    index_columns = [name for name in samples.columns if name != "drop_reason"]
    rows_at = partial(_rows, metadata, selection, columns)
    if not rejected:
        rows = rows_at(text_key(metadata.id_col, id_type, key_characters(shards)), pairs.FILE)
        proof = prove_pairs(samples, rows, shards, decided=selection.decisions is not None)
        if proof is not None:
            paired = _paired_within_shards(samples, rows, proof)
            return Pairing(_selected(paired, index_columns, columns), columns, proof.counts)
    stems = [shard_stem(shard["shard_path"]) for shard in shards]
    samples = samples.withColumns({pairs.MATCH: pairs.match_key("key", id_type), pairs.STEM: pairs.tar_stem(stems)})
    rows_at = partial(rows_at, pairs.match_key(metadata.id_col, id_type))
    rejected_stems = [stems[shard_index] for shard_index in sorted(rejected)]
    is_normal = {pairs.UNMATCHED_ROW} if source.unmatched_rows == "ignore" else set()
    troubles = {outcome: detail for outcome, detail in TROUBLES.items() if outcome not in is_normal}
    paired, counts, troubled = _pair_by_key(samples, rows_at, rejected_stems, troubles)
    return Pairing(_selected(paired, index_columns, columns), columns, counts, troubled)


def _pair_by_key(
    samples: DataFrame,
    rows_at: Callable[..., DataFrame],
    rejected_stems: Sequence[str],
    troubles: Mapping[str, str],
) -> tuple[DataFrame, list[Count], DataFrame | None]:
    """Bring every key's samples and rows together; give the pairs, what became of the keys, and what is wrong.

    Args:
        rows_at: `_rows` by place.
        troubles: What is wrong, by outcome.
    """
    # Keys that are unique over the dataset need no shard to pair by; whether they are, only all shards tell.
    on = [pairs.STEM, pairs.MATCH] if rejected_stems else [pairs.MATCH]
    outcomes = pairs.outcomes(samples, rows_at(*on[:-1]), on, rejected_stems)
    counts = _collect(outcomes)
    found = _outcomes(counts)
    troubled = None
    if found & troubles.keys():
        on = [pairs.STEM, pairs.MATCH] if found & _WITHIN_SHARDS else on
        outcomes = pairs.outcomes(samples, rows_at(pairs.STEM), on, rejected_stems)
        counts = _collect(outcomes)
        found = _outcomes(counts)
        if found & troubles.keys():
            troubled = pairs.troubled_keys(outcomes, troubles)
    joined = _joined(samples, rows_at(*on[:-1]), on)
    unsound = found & {*_REPEATED, pairs.BAD_FLAG}
    if unsound:
        joined = joined.join(outcomes.filter(F.col("outcome").isin(sorted(unsound))), on=on, how="left_anti")
    return joined, counts, troubled


def _paired_within_shards(samples: DataFrame, rows: DataFrame, proof: Proof) -> DataFrame:
    """Join what is proven to meet, shard by shard: the layout, which counts within shards, moves no row again."""
    rows = pairs.with_shard(rows.filter(~F.col("failed")) if proof.failed_count else rows, proof.files)
    # The rows bring their shard's path: many of them are dropped before they move.
    samples, rows = samples.drop("shard_path"), rows.withColumnRenamed(pairs.MATCH, "key")
    if sum(count.sample_count for count in proof.counts) >= _MANY_SAMPLES:
        samples, rows = samples.repartition("shard_index"), rows.repartition("shard_index")
    return _joined(samples, rows, ["shard_index", "key"])


def _joined(samples: DataFrame, rows: DataFrame, on: Sequence[str]) -> DataFrame:
    sound = samples.filter(F.col("problem").isNull())
    return sound.join(rows.withColumnRenamed("drop_reason", "row_drop_reason"), on=list(on), how="inner")


def _selected(joined: DataFrame, index_columns: Sequence[str], columns: Mapping[str, str]) -> DataFrame:
    reason = F.coalesce("drop_reason", "row_drop_reason").alias("drop_reason")
    return joined.select(*index_columns, *map(column, columns.values()), reason)


def _collect(outcomes: DataFrame) -> list[Count]:
    return [Count(*row) for row in pairs.count_outcomes(outcomes).collect()]


def _outcomes(counts: Sequence[Count]) -> set[str]:
    return {count.outcome for count in counts}


def _rows(
    metadata: Metadata, selection: Selection, columns: Mapping[str, str], key: Column, place: str | None = None
) -> DataFrame:
    """Give the rows with their drop reasons, ``failed``, ``bad_flag`` and the columns as tables name them.

    Args:
        key: What they are compared by, as `pairs.MATCH`.
        place: Adds where rows lie: `pairs.FILE` or `pairs.STEM`.
    """
    frame = metadata.frame
    if place is not None:
        frame = frame.withColumn(_PLACE, file_path(frame))
    if selection.filter_column is not None:
        flagged = with_flag_reason(frame, selection.filter_column, _DROP_REASON)
    elif selection.keep_list is not None:
        flagged = with_list_reason(frame, LISTED, _DROP_REASON)
    else:
        flagged = with_drop_reason(frame, selection.rules, _DROP_REASON)
    rows = flagged.select(
        *([] if place is None else [column(_PLACE).alias(pairs.FILE)]),
        key.alias(pairs.MATCH),
        column(_DROP_REASON).alias("drop_reason"),
        _failed_download(metadata.frame).alias("failed"),
        _bad_flag(metadata.frame, selection.filter_column).alias("bad_flag"),
        *(column(name).alias(table_name) for name, table_name in columns.items()),
    )
    return pairs.with_stem(rows, sidecar_stems(metadata.frame)) if place == pairs.STEM else rows


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


def warn_of_null_rules(metadata: Metadata, selection: Selection) -> None:
    """Where no row met the rules: say whether the last one that rows came to is null for all of these."""
    # Each rule stands behind the question whether it has a value: as in any look at rules, the first guard the others.
    asked = {
        f"{number:09d} {what}": text
        for number, condition in enumerate(selection.rules.values())
        for what, text in (("null", f"(\n{condition}\n) IS NOT NULL"), ("unmet", condition))
    }
    reasons = with_drop_reason(metadata.frame, asked, _DROP_REASON).select(column(_DROP_REASON)).distinct().collect()
    found = {row[0] for row in reasons}
    # Of one rule "null" comes before "unmet".
    last = None if None in found else max(found, default=None)
    if last is not None and last.endswith("null"):
        rule = list(selection.rules)[int(last.split()[0])]
        warn(f"rule '{rule}' is null for every row that came to it, and null is not met: look at types and lengths")
