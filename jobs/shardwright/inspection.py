"""Look at the samples that an export would write: keys, names, and payloads on request."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.config import ExportSettings
from shardwright.decide import Decision
from shardwright.errors import RequestError, did_you_mean
from shardwright.format.headers import NAME_BYTES
from shardwright.format.names import position_digits, split_name, unsafe_name
from shardwright.frames import pairs
from shardwright.frames.columns import column
from shardwright.index import Index
from shardwright.metadata import Metadata
from shardwright.store.dataset import Dataset, shard_stem
from shardwright.store.session import in_memory, run_errors, task_count
from shardwright.store.types import in_tasks
from shardwright.tasks.inspect import FOUND, Images, InspectJob, inspect_samples

_HASHES = ("sha256", "sha512", "md5")
# Inspected together: neighbours in a tar are read in its order, and a large shard is shared out.
_RUN_SAMPLES = 1_024
_PLACE = ["shard_index", "position"]
_LONGEST = 1 << 30


class Kept(NamedTuple):
    """The samples that an export writes.

    ``rows`` are those of `Decision.paired`, with ``new_key`` unless samples are numbered anew;
    ``by_shard`` counts them by ``shard_index``.
    """

    rows: DataFrame
    by_shard: list[int]

    def count_bytes(self) -> int:
        """Add up what they take in our tars; an id that changes a JSON member's length is not foreseen."""
        (found,) = self.rows.agg(F.sum("written_bytes")).collect()
        return found[0] or 0


def keep_sound(settings: ExportSettings, dataset: Dataset, index: Index, decision: Decision, held: ExitStack) -> Kept:
    """Give the samples to write; those that can't be are added to the decision's rejects.

    Args:
        held: Releases what is kept in memory when the plan is made.
    """
    rows = decision.paired.filter(F.col("drop_reason").isNull())
    before = decision.rejects.sample_count
    if settings.keys != "renumber":
        rows = rows.withColumn("new_key", _new_key(settings, dataset))
    if settings.check or _may_be_too_long(settings, dataset.dataset_root, index):
        found = _inspect(settings, decision, rows)
        held.enter_context(in_memory(found))
        with run_errors("export: inspect"):
            decision.rejects.add(found.withColumn("sample_count", F.lit(1).cast("bigint")))
        if decision.rejects.sample_count > before:
            rows = rows.join(found.select(*_PLACE), on=_PLACE, how="left_anti")
    if settings.keys != "renumber":
        rows = _without_twins(rows, decision)
    if decision.rejects.sample_count == before:
        return Kept(rows, decision.kept_by_shard(len(dataset.shards)))
    by_shard = {row[0]: row[1] for row in rows.groupBy("shard_index").count().collect()}
    return Kept(rows, [by_shard.get(index, 0) for index in range(len(dataset.shards))])


def require_checks(settings: ExportSettings, dataset: Dataset, metadata: Metadata | None) -> None:
    """Refuse what can't be checked or named, before any job runs.

    Raises:
        RequestError: Pillow is not installed, no column holds hashes, or a shard's name can't be part of a key.
    """
    if {"images", "image-headers"} & set(settings.check) and find_spec("PIL") is None:
        raise RequestError("--check images", "Pillow is not installed", "Install shardwright[images]")
    if "hashes" in settings.check:
        names = metadata.names if metadata else []
        chosen = hash_column(settings, names)
        if metadata and chosen and not isinstance(metadata.frame.schema[chosen].dataType, T.StringType):
            kind = metadata.frame.schema[chosen].dataType.simpleString()
            raise RequestError("--check hashes", f"column '{chosen}' is {kind}", "Pass --hash-col with a column of hex")
        if chosen is None:
            wanted = settings.hash_col or " or ".join(_HASHES)
            remedy = f"Pass --hash-col. {did_you_mean(wanted, names)}"
            raise RequestError("--check hashes", f"the metadata has no column {wanted}", remedy)
    if settings.keys == "prefix":
        for shard in dataset.shards:
            stem = os.path.relpath(shard_stem(shard.file.path), dataset.dataset_root)
            if split_name(f"{stem}/a.b") != (f"{stem}/a", "b") or unsafe_name(stem):
                raise RequestError(shard.file.path, "its name can't stand before a key", "Rename it, or renumber")


def hash_column(settings: ExportSettings, names: Sequence[str]) -> str | None:
    """Choose the column that holds the images' hashes: the one asked for, or the first that is called like one."""
    return next((name for name in ([settings.hash_col] if settings.hash_col else _HASHES) if name in names), None)


def _new_key(settings: ExportSettings, dataset: Dataset) -> Column:
    """Give the key in the output: the source's, after its shard's name where shards share it and that is asked for."""
    if settings.keys == "source":
        return F.col("key")
    is_shared = F.count(F.lit(1)).over(Window.partitionBy("key")) > 1
    stem = F.substring(
        pairs.tar_stem([shard_stem(shard.file.path) for shard in dataset.shards]),
        len(dataset.dataset_root) + 2,
        _LONGEST,
    )
    return F.when(is_shared, F.concat_ws("/", stem, "key")).otherwise(F.col("key"))


def _may_be_too_long(settings: ExportSettings, dataset_root: str, index: Index) -> bool:
    """Tell whether ustar may not hold some name, from the longest names of the shards."""
    new_key_bytes = settings.shard_digits + position_digits(settings.samples_per_shard)
    longest = {
        "renumber": max(new_key_bytes + 1 + shard["longest_ext_bytes"] for shard in index.shards),
        "source": max(shard["longest_name_bytes"] for shard in index.shards),
        "prefix": max(len(os.fsencode(shard["shard_path"])) + shard["longest_name_bytes"] for shard in index.shards)
        - len(os.fsencode(dataset_root)),
    }
    return bool(longest[settings.keys] > NAME_BYTES)


def _inspect(settings: ExportSettings, decision: Decision, rows: DataFrame) -> DataFrame:
    """Look into names and payloads; give a row for each sample that can't be written."""
    new_key_bytes = settings.shard_digits + position_digits(settings.samples_per_shard)
    new_key = F.lit("0" * new_key_bytes) if settings.keys == "renumber" else F.col("new_key")
    hashes = hash_column(settings, list(decision.columns)) if "hashes" in settings.check else None
    known = F.lit(None) if hashes is None else column(decision.columns[hashes])
    count = decision.total(pairs.KEPT)
    pointers = ("shard_index", "shard_path", "position", "key", "member_exts", "payload_offsets", "payload_bytes")
    placed = (
        rows.select(*pointers, new_key.alias("new_key"), known.cast("string").alias("hash"))
        .repartition(
            task_count(rows.sparkSession, -(-count // _RUN_SAMPLES)),
            "shard_index",
            F.expr(f"position div {_RUN_SAMPLES}"),
        )
        .sortWithinPartitions(*_PLACE)
    )
    images: Images | None = (
        "decode" if "images" in settings.check else "header" if "image-headers" in settings.check else None
    )
    job = InspectJob(images)
    return in_tasks(placed, partial(inspect_samples, job=job), FOUND)


def _without_twins(rows: DataFrame, decision: Decision) -> DataFrame:
    """Remove samples whose key another one has already; the first in the dataset's order stays."""
    (most,) = rows.groupBy("new_key").count().agg(F.max("count")).collect()
    if (most[0] or 0) <= 1:
        return rows
    ordered = Window.partitionBy("new_key").orderBy(*_PLACE)
    ranked = rows.select(*_PLACE, "shard_path", "key", "new_key").withColumns(
        {"rank": F.row_number().over(ordered), "first": F.first("shard_path").over(ordered)}
    )
    twins = ranked.filter("rank > 1")
    decision.rejects.add(
        twins.select(
            "shard_path",
            "key",
            F.lit(None).cast("bigint").alias("offset"),
            F.lit("duplicate_key").alias("reason"),
            F.concat(F.lit("the key stands in "), "first", F.lit(" too")).alias("detail"),
            F.lit(1).cast("bigint").alias("sample_count"),
        )
    )
    return rows.join(twins.select(*_PLACE), on=_PLACE, how="left_anti")
