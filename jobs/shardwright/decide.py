"""Decide which samples stay: pair them with their metadata, apply the selection, count what becomes of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.config import Selection, UnmatchedRows
from shardwright.errors import CountsError, Problem, ProblemsError, RequestError, RunError
from shardwright.frames import pairs
from shardwright.frames.columns import column, table_columns
from shardwright.frames.rules import with_drop_reason, with_flag_reason
from shardwright.index import Index, index_id
from shardwright.metadata import Metadata
from shardwright.store.dataset import Dataset, digest, sidecar_identities
from shardwright.store.session import fit_to_rows, run_errors
from shardwright.store.tables import DECISIONS, SNAPSHOTS, Tables, table_schema

_DETAILS = {
    pairs.NULL_ID: "the sidecar has rows without an id",
    pairs.DUPLICATE_KEY: "samples of the shard share this key once it is compared as a whole number",
    pairs.DUPLICATE_ROW: "the sidecar has several rows with this id",
    pairs.MISSING_ROW: "the sample has no row in the sidecar",
    pairs.UNMATCHED_ROW: "the row has no sample in the tar, and no status that says its download failed",
}
_REMEDY = "Mend the sidecars; rows without a sample are passed over with --unmatched-rows ignore. Nothing was written."
_MAX_PROBLEMS = 10_000
_DROP_REASON = "shardwright: drop reason"
_ROW_STEM = "shardwright: shard stem"
_OURS = (
    *table_schema("samples"),
    *table_schema("exports"),
    "shard_index",
    "drop_reason",
    "failed",
    "row_drop_reason",
    "source_position",
    "rank",
    pairs.MATCH,
    pairs.STEM,
)


class Decision(NamedTuple):
    """What becomes of every sample.

    ``paired`` has a row a sample: the index's columns, ``drop_reason`` (null: the sample is kept) and
    the metadata columns under the names of ``columns``. ``counts`` has the rows of
    `pairs.count_outcomes`, O(shards).
    """

    paired: DataFrame
    columns: Mapping[str, str]
    counts: Sequence[Row]

    def total(self, outcome: str) -> int:
        """Count the keys with an outcome."""
        return sum(row["sample_count"] for row in self.counts if row["outcome"] == outcome)

    def kept_by_shard(self, shard_count: int) -> list[int]:
        """Count the kept samples of each source shard, by ``shard_index``."""
        kept = {row["shard_index"]: row["sample_count"] for row in self.counts if row["outcome"] == pairs.KEPT}
        return [kept.get(index, 0) for index in range(shard_count)]

    @property
    def kept_bytes(self) -> int:
        """What the kept samples take in our tars; an id that changes a JSON member's length is not foreseen."""
        return sum(row["written_bytes"] for row in self.counts if row["outcome"] == pairs.KEPT)

    @property
    def drops(self) -> dict[str, int]:
        """Count the dropped samples by reason."""
        reasons: Counter[str] = Counter()
        for row in self.counts:
            if row["outcome"] == pairs.DROPPED:
                reasons[row["drop_reason"]] += row["sample_count"]
        return dict(sorted(reasons.items()))


def decide(
    index: Index,
    metadata: Metadata | None,
    selection: Selection,
    unmatched_rows: UnmatchedRows = "fail",
    decisions: DataFrame | None = None,
) -> Decision:
    """Pair samples with metadata rows and count what becomes of each.

    Args:
        decisions: An earlier filter's rows for this index, instead of a selection.

    Raises:
        ProblemsError: Shards are damaged, or samples and rows do not pair.
        RequestError: A rule raises an error on some row.
        CountsError: A sample is neither kept nor dropped.
    """
    if index.problems:
        raise ProblemsError("index", index.problems, "Mend or remove these shards and run the command again.")
    samples = index.samples
    fit_to_rows(samples.sparkSession, index.sample_count)
    if decisions is None:
        samples = samples.withColumn("drop_reason", F.lit(None).cast("string"))
    else:
        reasons = decisions.select("shard_path", "position", "drop_reason")
        samples = samples.join(reasons, on=["shard_path", "position"], how="inner")
    if metadata is None:
        decision = _decide_without_metadata(samples)
    else:
        try:
            with run_errors("filter"):
                decision = _decide_with_metadata(samples, metadata, selection, unmatched_rows)
        except RunError:
            _require_rules_run(metadata, selection)
            raise
    decided = decision.total(pairs.KEPT) + decision.total(pairs.DROPPED)
    if decided != index.sample_count:
        raise CountsError("filter", "the index holds", index.sample_count, "the rules decided on", decided)
    return decision


def find_decisions(spark: SparkSession, tables: Tables, wanted: str, dataset: Dataset) -> str:
    """Find the filter of a dataset as it is now whose decisions are wanted: ``latest``, or a snapshot's id.

    Raises:
        RequestError: There is none.
    """
    found = newest_filter(spark, tables, dataset, None if wanted == "latest" else wanted)
    if found is None:
        missing = f"no filter '{wanted}' of this dataset as it is now in {tables.root}"
        raise RequestError("--decisions", missing, "Run shardwright filter first")
    return str(found["snapshot_id"])


def newest_filter(spark: SparkSession, tables: Tables, dataset: Dataset, snapshot_id: str | None = None) -> Row | None:
    """Find the snapshot of the last filter, or of a given one, that ran on a dataset as it is now."""
    if not tables.exists(spark, DECISIONS):
        return None
    is_wanted = (F.col("operation") == "filter") & (F.col("parent_snapshot_id") == index_id(dataset))
    is_wanted &= F.col("inputs") == json.dumps(filter_inputs(dataset))
    if snapshot_id is not None:
        is_wanted &= F.col("snapshot_id") == snapshot_id
    return tables.read(spark, SNAPSHOTS).filter(is_wanted).orderBy(F.desc("committed_at")).head()


def filter_inputs(dataset: Dataset) -> dict[str, str]:
    """Give what decisions depend on beside the index."""
    return {"sidecars": digest(sidecar_identities(dataset))}


def read_decisions(spark: SparkSession, tables: Tables, snapshot_id: str) -> DataFrame:
    """Read what a filter decided: a row a sample."""
    return tables.read(spark, DECISIONS).filter(F.col("snapshot_id") == snapshot_id)


def _decide_without_metadata(samples: DataFrame) -> Decision:
    outcome = F.when(F.col("drop_reason").isNull(), pairs.KEPT).otherwise(pairs.DROPPED)
    with run_errors("filter"):
        counts = pairs.count_outcomes(samples.withColumn("outcome", outcome)).collect()
    return Decision(samples, {}, counts)


def _decide_with_metadata(
    samples: DataFrame, metadata: Metadata, selection: Selection, unmatched_rows: UnmatchedRows
) -> Decision:
    columns = table_columns((name for name in metadata.frame.columns if name != metadata.id_col), _OURS)
    id_type = metadata.frame.schema[metadata.id_col].dataType
    index_columns = [name for name in samples.columns if name != "drop_reason"]
    samples = samples.withColumns({pairs.MATCH: pairs.match_key("key", id_type), pairs.STEM: pairs.tar_stem()})
    troubles = set(_DETAILS) - ({pairs.UNMATCHED_ROW} if unmatched_rows == "ignore" else set())
    # Keys that are unique over the dataset need no shard to pair by; where they are not, the second round knows it.
    for on in ([pairs.MATCH], [pairs.STEM, pairs.MATCH]):
        rows = _rows(metadata, selection, columns, id_type, on)
        outcomes = pairs.outcomes(samples, rows, on)
        counts = pairs.count_outcomes(outcomes).collect()
        if not any(row["outcome"] in troubles for row in counts):
            joined = samples.join(rows.withColumnRenamed("drop_reason", "row_drop_reason"), on=on, how="inner")
            return Decision(_paired(joined, index_columns, columns), columns, counts)
    total = sum(row["sample_count"] for row in counts if row["outcome"] in troubles)
    raise ProblemsError("filter", _list_problems(outcomes, troubles), _REMEDY, total)


def _paired(joined: DataFrame, index_columns: list[str], columns: Mapping[str, str]) -> DataFrame:
    reason = F.coalesce("drop_reason", "row_drop_reason").alias("drop_reason")
    return joined.select(*index_columns, *map(column, columns.values()), reason)


def _rows(
    metadata: Metadata, selection: Selection, columns: Mapping[str, str], id_type: T.DataType, on: list[str]
) -> DataFrame:
    """Give the metadata rows with ``on``, ``drop_reason``, ``failed`` and the columns under their table names."""
    frame = metadata.frame
    if pairs.STEM in on:
        frame = frame.withColumn(_ROW_STEM, pairs.sidecar_stem())
    if selection.filter_column is not None:
        flagged = with_flag_reason(frame, selection.filter_column, _DROP_REASON)
    else:
        flagged = with_drop_reason(frame, selection.rules, _DROP_REASON)
    return flagged.select(
        *(column(_ROW_STEM).alias(name) for name in on if name == pairs.STEM),
        pairs.match_key(metadata.id_col, id_type).alias(pairs.MATCH),
        column(_DROP_REASON).alias("drop_reason"),
        _failed_download(metadata.frame).alias("failed"),
        *(column(name).alias(table_name) for name, table_name in columns.items()),
    )


def _failed_download(frame: DataFrame) -> Column:
    """Tell img2dataset's rows whose download failed: they never had a sample."""
    if "status" in frame.columns and isinstance(frame.schema["status"].dataType, T.StringType):
        return F.coalesce(F.col("status") != "success", F.lit(False))
    return F.lit(False)


def _list_problems(outcomes: DataFrame, troubles: set[str]) -> list[Problem]:
    listed = outcomes.filter(F.col("outcome").isin(sorted(troubles))).orderBy(pairs.STEM, pairs.MATCH)
    return [
        Problem(f"{row[pairs.STEM]}.parquet", row[pairs.MATCH], None, row["outcome"], _DETAILS[row["outcome"]])
        for row in listed.limit(_MAX_PROBLEMS).collect()
    ]


def _require_rules_run(metadata: Metadata, selection: Selection) -> None:
    """After a failure: find the rule that raises, if one does."""
    for rule, condition in selection.rules.items():
        try:
            with_drop_reason(metadata.frame, {rule: condition}, _DROP_REASON).agg(F.max(column(_DROP_REASON))).collect()
        except PySparkException as error:
            reason = str(error).strip().splitlines()[0].rstrip(". ")
            raise RequestError(
                f"rule '{rule}'", f"{condition!r} raises an error: {reason}", "Guard it, for example with try_cast"
            ) from None
