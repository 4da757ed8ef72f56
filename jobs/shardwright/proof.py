"""Prove that samples and rows meet one for one within their shards, without bringing them together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from pyspark.sql import DataFrame, Row

from shardwright.frames import pairs
from shardwright.frames.key_sums import key_sums
from shardwright.store.dataset import shard_stem

_LOCAL = re.compile(r"^file:/+")


class Count(NamedTuple):
    """What became of how many samples and rows; ``shard_index`` is None for rows without a sample."""

    shard_index: int | None
    outcome: str
    drop_reason: str | None
    sample_count: int
    row_count: int


class Proof(NamedTuple):
    """What is known where every sample has its row, and every row that did not fail its sample.

    ``files`` gives ``shard_index`` and ``shard_path`` by the URI that a sidecar's rows have; ``failed_count`` counts
    the rows of failed downloads, which have no samples.
    """

    files: Mapping[str, tuple[int, str]]
    failed_count: int
    counts: Sequence[Count]


def prove_pairs(
    samples: DataFrame, rows: DataFrame, shards: Mapping[str, tuple[int, str]], *, by_number: bool
) -> Proof | None:
    """Compare each sidecar's keys with its shard's: their number and sums of their hashes; None if they may differ.

    Keys are unique in a sound shard. Where the rows have as many keys, and the same sums, the pairs are one for one.

    Args:
        samples: As `key_sums` takes them.
        rows: As `key_sums` takes them.
        shards: ``shard_index`` and ``shard_path`` by stem.
        by_number: Keys are compared as whole numbers: they are unique still where all are of one length.
    """
    sums = key_sums(samples, rows).collect()
    in_tars = [row for row in sums if row["shard_index"] is not None]
    in_sidecars = [row for row in sums if row["shard_index"] is None]
    lengths = {length for row in in_tars for length in (row["shortest"], row["longest"])}
    if any(row["unsound"] for row in sums) or (by_number and len(lengths) > 1):
        return None
    files = {
        file: shards[stem] for file in {row[pairs.FILE] for row in in_sidecars} if (stem := stem_of(file)) in shards
    }
    if len(set(files.values())) < len({row[pairs.FILE] for row in in_sidecars}):
        return None
    expected = _totals(in_tars, files)
    if _totals(in_sidecars, files) == expected:
        return Proof(files, 0, _counts(in_tars, in_sidecars, files))
    sound = [row for row in in_sidecars if not row["failed"]]
    if _totals(sound, files) != expected or _has_sample(rows.filter("failed"), samples, files):
        return None
    failed_count = sum(row["key_count"] for row in in_sidecars if row["failed"])
    without_sample = Count(None, pairs.FAILED_DOWNLOAD, None, 0, failed_count)
    return Proof(files, failed_count, [*_counts(in_tars, sound, files), without_sample])


def _has_sample(failed: DataFrame, samples: DataFrame, files: Mapping[str, tuple[int, str]]) -> bool:
    """Tell whether some row of a failed download has the key of a sample that has its row already."""
    named = pairs.with_shard(failed, files)
    return bool(named.join(samples, on=["shard_index", pairs.MATCH], how="left_semi").head(1))


def stem_of(file_path: str) -> str:
    """Name the shard that a sidecar's rows lie beside, from their file's percent-encoded URI."""
    return shard_stem(_LOCAL.sub("/", unquote(file_path)))


def _totals(sums: Sequence[Row], files: Mapping[str, tuple[int, str]]) -> Counter[tuple[int, str]]:
    totals: Counter[tuple[int, str]] = Counter()
    for row in sums:
        shard_index = files[row[pairs.FILE]][0] if row["shard_index"] is None else row["shard_index"]
        for name in ("key_count", "low", "high"):
            totals[shard_index, name] += row[name]
    return totals


def _counts(in_tars: Sequence[Row], in_sidecars: Sequence[Row], files: Mapping[str, tuple[int, str]]) -> list[Count]:
    """Count kept and dropped samples; one of the two sides knows the drop reasons."""
    by_tars = any(row["drop_reason"] for row in in_tars)
    counts: Counter[tuple[int, str | None]] = Counter()
    for row in in_tars if by_tars else in_sidecars:
        counts[row["shard_index"] if by_tars else files[row[pairs.FILE]][0], row["drop_reason"]] += row["key_count"]
    return [
        Count(shard_index, pairs.KEPT if reason is None else pairs.DROPPED, reason, count, count)
        for (shard_index, reason), count in counts.items()
    ]
