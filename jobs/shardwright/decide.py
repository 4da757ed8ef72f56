"""Decide which samples stay: pair them with their metadata, apply the selection, count what becomes of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from shardwright.config import Selection, SourceSettings
from shardwright.errors import CountsError, Problem, ProblemsError, RunError, UnreadableFileError
from shardwright.frames import pairs
from shardwright.index import Index, shard_problem
from shardwright.metadata import Metadata
from shardwright.pairing import TROUBLES, UNPAIRED, pair_samples, require_rules_run, warn_of_null_rules
from shardwright.proof import Count
from shardwright.rejects import Rejects
from shardwright.store.dataset import shard_stem
from shardwright.store.session import fit_to_rows, run_errors


class Decision(NamedTuple):
    """What becomes of every sample.

    ``paired`` has a row a sound sample: the index's columns, ``drop_reason`` (null: the sample is kept)
    and the metadata columns under the names of ``columns``. ``counts`` say so by shard, O(shards).
    ``rejects`` are what is wrong.
    """

    paired: DataFrame
    columns: Mapping[str, str]
    counts: Sequence[Count]
    rejects: Rejects

    def total(self, outcome: str) -> int:
        """Count the samples with an outcome."""
        return sum(count.sample_count for count in self.counts if count.outcome == outcome)

    def kept_by_shard(self, shard_count: int) -> list[int]:
        """Count the kept samples of each source shard, by ``shard_index``."""
        kept = {count.shard_index: count.sample_count for count in self.counts if count.outcome == pairs.KEPT}
        return [kept.get(index, 0) for index in range(shard_count)]

    @property
    def drops(self) -> dict[str, int]:
        """Count the dropped samples by reason."""
        reasons: Counter[str] = Counter()
        for count in self.counts:
            if count.drop_reason is not None and count.outcome == pairs.DROPPED:
                reasons[count.drop_reason] += count.sample_count
        return dict(sorted(reasons.items()))

    @property
    def unpaired_rows(self) -> dict[str, int]:
        """Count the rows that have no sample, by what became of them."""
        rows: Counter[str] = Counter()
        for count in self.counts:
            if count.outcome in UNPAIRED:
                rows[count.outcome] += count.row_count
        return dict(sorted(rows.items()))


def decide(
    index: Index,
    metadata: Metadata | None,
    selection: Selection,
    source: SourceSettings,
    *,
    rewrites_json: bool = False,
    decisions: DataFrame | None = None,
) -> Decision:
    """Pair samples with metadata rows and count what becomes of each; what is wrong is collected, not raised.

    Args:
        rewrites_json: Whether a JSON member must be an object.
        decisions: An earlier filter's rows for this index, instead of a selection.

    Raises:
        RequestError: A rule raises an error on some row.
        CountsError: A sample is neither kept, nor dropped, nor rejected.
    """
    rejects = Rejects()
    rejected = _reject_shards(index, metadata, rejects)
    fit_to_rows(index.samples.sparkSession, index.sample_count)
    samples = pairs.only_in_sound_shards(index.samples, rejected)
    if not rewrites_json:
        samples = samples.withColumn("problem", F.when(F.col("problem") != "bad_json", F.col("problem")))
    samples = _with_decisions(samples, decisions)
    if metadata is None:
        decision = _decide_alone(samples, rejects)
    else:
        try:
            with run_errors("filter"):
                pairing = pair_samples(samples, metadata, selection, source, index.shards, rejected)
                if pairing.troubled is not None:
                    rejects.add(pairing.troubled)
        except UnreadableFileError:
            raise
        except RunError:
            require_rules_run(metadata, selection)
            raise
        decision = Decision(pairing.paired, pairing.columns, pairing.counts, rejects)
        if selection.rules and decision.total(pairs.DROPPED) and not decision.total(pairs.KEPT):
            warn_of_null_rules(metadata, selection)
    _reject_unsound(samples, decision)
    decided = decision.total(pairs.KEPT) + decision.total(pairs.DROPPED) + rejects.sample_count
    if decided != index.sample_count:
        raise CountsError("filter", "the index holds", index.sample_count, "kept, dropped and rejected are", decided)
    return decision


@contextmanager
def sidecars_named(index: Index) -> Iterator[None]:
    """Name a sidecar whose pages Spark can't read: its footer, which was looked at before, does not tell.

    Raises:
        ProblemsError: In place of the error of the run.
    """
    try:
        yield
    except UnreadableFileError as error:
        if error.path not in {f"{shard_stem(shard['shard_path'])}.parquet" for shard in index.shards}:
            raise
        problem = Problem(error.path, None, None, "unreadable", error.cause)
        remedy = "Its footer is sound, so it can't be set aside. No output was written."
        raise ProblemsError("sidecars", [problem], remedy) from None


def _reject_shards(index: Index, metadata: Metadata | None, rejects: Rejects) -> set[int]:
    """Set whole shards aside; give their ``shard_index``."""
    found = [(shard["shard_index"], problem) for shard in index.shards if (problem := shard_problem(shard))]
    found += metadata.problems if metadata else []
    rejected: set[int] = set()
    for shard_index, problem in found:
        is_counted = shard_index is None or shard_index in rejected
        rejects.add_shard(problem, 0 if is_counted else index.shards[shard_index]["sample_count"])
        rejected |= set() if shard_index is None else {shard_index}
    return rejected


def _with_decisions(samples: DataFrame, decisions: DataFrame | None) -> DataFrame:
    """Add the ``drop_reason`` of an earlier filter; a sample that it set aside has a problem."""
    if decisions is None:
        return samples.withColumn("drop_reason", F.lit(None).cast("string"))
    made = decisions.select("shard_path", "position", "drop_reason", "keep")
    detail = F.lit("the filter did not decide on the sample")
    undecided = F.col("problem").isNull() & F.col("keep").isNull()
    joined = samples.join(made, on=["shard_path", "position"], how="left")
    joined = joined.withColumn("problem_detail", F.when(undecided, detail).otherwise(F.col("problem_detail")))
    return joined.withColumn("problem", F.when(undecided, "undecided").otherwise(F.col("problem"))).drop("keep")


def _reject_unsound(samples: DataFrame, decision: Decision) -> None:
    """Set aside the samples in which a problem was found before they were paired."""
    ordinary = {pairs.KEPT, pairs.DROPPED, *UNPAIRED, *TROUBLES} - {pairs.DUPLICATE_KEY}
    if all(count.outcome in ordinary for count in decision.counts):
        return
    decision.rejects.add(pairs.unsound_samples(samples))


def _decide_alone(samples: DataFrame, rejects: Rejects) -> Decision:
    """Decide where there are no sidecars."""
    outcome = F.when(F.col("drop_reason").isNull(), pairs.KEPT).otherwise(pairs.DROPPED)
    decided = samples.withColumns({"outcome": F.coalesce("problem", outcome), "samples": F.lit(1), "rows": F.lit(0)})
    with run_errors("filter"):
        counts = [Count(*row) for row in pairs.count_outcomes(decided).collect()]
    return Decision(samples.filter(F.col("problem").isNull()), {}, counts, rejects)
