"""What a verb finds wrong: collected in one pass, then either all of it is listed, or it is set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright.errors import Problem, ProblemsError, unit_of
from shardwright.frames.small_table import small_table
from shardwright.store.tables import REJECTS, SCHEMAS, Tables, append, table_schema

QUARANTINE = "Or pass --on-bad quarantine: the rest goes on without them. No output was written."
_MAX_LISTED = 10_000
_COLUMNS = [name for name in table_schema(REJECTS) if name not in ("snapshot_id", "unit")]


class Rejects:
    """Shards, samples and rows that are wrong.

    ``counts`` has the units by reason, ``sample_count`` the samples that go with them: those of a
    shard that were found in it, one for a sample, none for a row.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sample_count = 0
        self._shards: list[dict[str, Any]] = []
        self._frames: list[DataFrame] = []

    def add_shard(self, problem: Problem, sample_count: int) -> None:
        """Add a whole shard."""
        self._shards.append({**problem._asdict(), "shard_path": problem.shard, "sample_count": sample_count})
        self.counts[problem.reason] += 1
        self.sample_count += sample_count

    def add(self, rows: DataFrame) -> None:
        """Add samples or rows, and count them.

        Args:
            rows: ``shard_path``, ``key``, ``offset``, ``reason``, ``detail``, ``sample_count``; computed anew
                each time it is read, with the same result.
        """
        rows = rows.select(*_COLUMNS)
        for row in rows.groupBy("reason").agg(F.count("reason"), F.sum("sample_count")).collect():
            self.counts[row[0]] += row[1]
            self.sample_count += row[2]
        self._frames.append(rows)

    def require_none(self, where: str, remedy: str, tolerated: Callable[[str], bool] = lambda _: False) -> None:
        """Refuse to go on where anything is wrong.

        Args:
            tolerated: Tells the reasons that the user said to set aside.

        Raises:
            ProblemsError: It lists shards first, then samples and rows by place.
        """
        reasons = [reason for reason in self.counts if not tolerated(reason)]
        if reasons:
            total = sum(self.counts[reason] for reason in reasons)
            raise ProblemsError(where, [*self._list(reasons)], remedy, total)

    def _list(self, reasons: Sequence[str]) -> Iterable[Problem]:
        shards = [shard for shard in self._shards if shard["reason"] in reasons][:_MAX_LISTED]
        for shard in shards:
            yield Problem(*(shard[name] for name in Problem._fields))
        if self._frames:
            rows = _together(self._frames).filter(F.col("reason").isin(reasons))
            for row in rows.orderBy("shard_path", "offset", "key").limit(_MAX_LISTED - len(shards)).collect():
                yield Problem(row["shard_path"], *(row[name] for name in Problem._fields[1:]))

    def store(self, spark: SparkSession, tables: Tables, snapshot_id: str, provenance: Mapping[str, Any]) -> None:
        """Append what is set aside to the table of rejects, once for a snapshot."""
        if not self.counts:
            return
        frames = [*self._frames, self._shards_as_rows(spark)] if self._shards else self._frames
        units = [F.when(F.col("reason") == reason, unit_of(reason)) for reason in self.counts]
        rows = _together(frames).select(
            F.lit(snapshot_id).alias("snapshot_id"), F.coalesce(*units).alias("unit"), *_COLUMNS
        )
        append(tables, REJECTS, rows, snapshot_id, provenance)

    def _shards_as_rows(self, spark: SparkSession) -> DataFrame:
        """Give the shards as a plan that a GPU runs; an empty text stands for null on the way."""

        def text(value: Any) -> str:
            return "" if value is None else str(value).replace("\0", " ")  # a NUL would end it

        texts = {name: ("string", [text(shard[name]) for shard in self._shards]) for name in _COLUMNS}
        kinds = dict(column.split() for column in SCHEMAS[REJECTS].split(","))
        rows = small_table(spark, texts)
        return rows.select(*(F.nullif(name, F.lit("")).cast(kinds[name]).alias(name) for name in _COLUMNS))


def _together(frames: Sequence[DataFrame]) -> DataFrame:
    return reduce(lambda above, below: above.unionByName(below), frames)
