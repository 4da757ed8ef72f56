"""Prove that samples and rows meet one for one within their shards, without bringing them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from shardwright.frames import pairs
from shardwright.frames.key_sums import key_sums
from shardwright.store.dataset import shard_stem
from shardwright.store.sidecars import stem_of

_SUMS = ("key_low", "key_high")

Shards = Sequence[Mapping[str, Any]]
# By the URI that a sidecar's rows have: `shard_index` and `shard_path` of its tar.
Files = Mapping[str, tuple[int, str]]


class Count(NamedTuple):
    """What became of how many samples and rows; ``shard_index`` is None for rows without a sample."""

    shard_index: int | None
    outcome: str
    drop_reason: str | None
    sample_count: int
    row_count: int


class Proof(NamedTuple):
    """What is known where each sample has its row, and each row its sample but for rows of failed downloads.

    ``files`` are the sidecars, ``counts`` what became of samples and rows, ``failed_count`` of them rows of failed
    downloads.
    """

    files: Files
    failed_count: int
    counts: Sequence[Count]


def key_characters(shards: Shards) -> int | None:
    """Give how many characters all keys have; None where they differ."""
    found = {shard["key_characters"] for shard in shards if shard["sample_count"]}
    return found.pop() if len(found) == 1 else None


def prove_pairs(samples: DataFrame, rows: DataFrame, shards: Shards, *, decided: bool) -> Proof | None:
    """Compare each sidecar's keys with its shard's: their number and sums of their hashes; None if they may differ.

    Keys are unique in a sound shard. Where the rows have as many keys, and the same sums, the pairs are one for one.

    Args:
        samples: ``key``, ``shard_index``, ``drop_reason``, ``problem``.
        rows: As `key_sums` takes them; `pairs.MATCH` is written as the keys are.
        shards: The rows of the table ``shards``, none of them set aside.
        decided: Whether the samples know the drop reasons, and not the rows.
    """
    if any(shard["key_low"] is None for shard in shards):
        return None
    in_sidecars = key_sums(rows).collect()
    files = _match_files(in_sidecars, shards)
    if files is None or any(row["unsound"] for row in in_sidecars):
        return None
    expected = Counter(
        {(shard["shard_index"], name): shard[name] for shard in shards for name in ("sample_count", *_SUMS)}
    )
    meeting = in_sidecars
    if _totals(meeting, files) != expected:
        meeting = [row for row in in_sidecars if not row["failed"]]
        if _totals(meeting, files) != expected or _has_sample(rows.filter("failed"), samples, files):
            return None
    failed_count = sum(row["key_count"] for row in in_sidecars) - sum(row["key_count"] for row in meeting)
    counts = _count_decided(samples) if decided else _count_rows(meeting, files)
    if counts is None:
        return None
    without_sample = [Count(None, pairs.FAILED_DOWNLOAD, None, 0, failed_count)] if failed_count else []
    return Proof(files, failed_count, [*counts, *without_sample])


def _match_files(in_sidecars: Sequence[Row], shards: Shards) -> Files | None:
    """Find the tar of each sidecar; None where one has none, or two have the same."""
    by_stem = {shard_stem(shard["shard_path"]): (shard["shard_index"], shard["shard_path"]) for shard in shards}
    uris = {row[pairs.FILE] for row in in_sidecars}
    files = {uri: by_stem[stem] for uri in uris if (stem := stem_of(uri)) in by_stem}
    return files if len(set(files.values())) == len(uris) else None


def _totals(sums: Sequence[Row], files: Files) -> Counter[tuple[int, str]]:
    totals: Counter[tuple[int, str]] = Counter()
    for row in sums:
        shard_index = files[row[pairs.FILE]][0]
        totals[shard_index, "sample_count"] += row["key_count"]
        for name in _SUMS:
            totals[shard_index, name] += row[name]
    return totals


def _has_sample(failed: DataFrame, samples: DataFrame, files: Files) -> bool:
    """Tell whether some row of a failed download has the key of a sample that has its row already."""
    named = pairs.with_shard(failed, files).withColumnRenamed(pairs.MATCH, "key")
    (found,) = named.join(samples, on=["shard_index", "key"], how="left_semi").agg(F.count(F.lit(1))).collect()
    return bool(found[0])


def _count_rows(meeting: Sequence[Row], files: Files) -> list[Count]:
    counts: Counter[tuple[int, str | None]] = Counter()
    for row in meeting:
        counts[files[row[pairs.FILE]][0], row["drop_reason"]] += row["key_count"]
    return [_count(*group, count) for group, count in counts.items()]


def _count_decided(samples: DataFrame) -> list[Count] | None:
    """Count what an earlier filter decided; None where it did not decide on all samples."""
    groups = samples.groupBy("shard_index", "drop_reason").agg(
        F.count(F.lit(1)).alias("sample_count"), F.count("problem").alias("unsound")
    )
    found = groups.collect()
    if any(row["unsound"] for row in found):
        return None
    return [_count(row["shard_index"], row["drop_reason"], row["sample_count"]) for row in found]


def _count(shard_index: int, drop_reason: str | None, count: int) -> Count:
    return Count(shard_index, pairs.KEPT if drop_reason is None else pairs.DROPPED, drop_reason, count, count)
