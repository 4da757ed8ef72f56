"""index: read every tar's headers once, and remember where each sample lies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from shardwright.config import SourceSettings
from shardwright.errors import Problem, RequestError
from shardwright.files import is_writable
from shardwright.frames.pairs import only_in_sound_shards, unsound_samples
from shardwright.frames.small_table import small_table
from shardwright.locations import FileInfo
from shardwright.rejects import Rejects
from shardwright.reporting import log, snapshot_row
from shardwright.store.dataset import Dataset, digest, list_dataset, scan_identities
from shardwright.store.rows import append_rows, find_snapshot, read_rows
from shardwright.store.session import in_memory, task_count
from shardwright.store.tables import (
    REJECTS,
    SAMPLES,
    SHARDS,
    SNAPSHOTS,
    Tables,
    append,
    tables_at,
)
from shardwright.store.types import in_tasks
from shardwright.tasks import scan
from shardwright.tasks.packed import Packed


class Index(NamedTuple):
    """A dataset's samples, as its headers show them.

    ``samples`` has a row a sample: ``shard_index``, ``shard_path``, ``position`` and the columns of the
    table ``samples``; ``problem`` is null where it is sound. ``wait_stored`` returns once the index is
    committed; a verb that commits to the same tables calls it first.
    """

    snapshot_id: str
    samples: DataFrame
    shards: Sequence[Mapping[str, Any]]
    scanned_count: int
    wait_stored: Callable[[], object] = lambda: None

    @property
    def sample_count(self) -> int:
        return sum(shard["sample_count"] for shard in self.shards)

    @property
    def shard_bytes(self) -> int:
        return sum(shard["shard_bytes"] for shard in self.shards)

    def rejects(self) -> Rejects:
        """Collect what nobody can export: damaged shards, and unsound samples of the others."""
        rejects = Rejects()
        damaged = []
        for shard in self.shards:
            problem = shard_problem(shard)
            if problem:
                damaged.append(shard["shard_index"])
                rejects.add_shard(problem, shard["sample_count"])
        if any(shard["unsound_count"] for shard in self.shards if not shard["problem"]):
            samples = only_in_sound_shards(self.samples, damaged).filter(F.col("problem") != "bad_json")
            rejects.add(unsound_samples(samples))
        return rejects


def shard_problem(shard: Mapping[str, Any]) -> Problem | None:
    """Give what is wrong with a tar, from its row of ``shards``."""
    if shard["problem"] is None:
        return None
    return Problem(shard["shard_path"], None, shard["problem_offset"], shard["problem"], shard["problem_detail"])


def index_dataset(spark: SparkSession, source: SourceSettings) -> dict[str, Any]:
    """Index a dataset and store it.

    Raises:
        ProblemsError: The problems found, once they are stored too.
    """
    started = time.time()
    dataset = list_dataset(source.dataset, recursive=source.recursive)
    tables = choose_index_tables(spark, dataset, tables_at(source.tables, source.dataset), None)
    with indexed(spark, dataset, tables) as index:
        remedy = f"They are stored in {tables.name(REJECTS)}; export --on-bad quarantine sets them aside."
        index.rejects().require_none("index", remedy)
        return {
            "snapshot_id": index.snapshot_id,
            "tables": tables.root,
            "shards": len(index.shards),
            "scanned_shards": index.scanned_count,
            "indexed": index.sample_count,
            "skipped_members": sum(shard["skipped_count"] for shard in index.shards),
            "bytes": index.shard_bytes,
            "seconds": round(time.time() - started, 1),
        }


def choose_index_tables(spark: SparkSession, dataset: Dataset, asked: Tables, fallback: Tables | None) -> Tables:
    """Choose where the index lies: where asked, or beside the output when that can't be written."""
    if asked.in_catalog or is_writable(asked.root) or find_snapshot(spark, asked, index_id(dataset)):
        return asked
    if fallback is None:
        raise RequestError(asked.root, "the tables can't be written there", "Pass --tables with a folder that can")
    log(f"index: {asked.root} can't be written, the index goes to {fallback.root}")
    return fallback


def index_id(dataset: Dataset) -> str:
    """Give the id of the snapshot that indexes a dataset as it is now."""
    return digest("index", dataset.dataset_root, scan_identities(dataset))


@contextmanager
def indexed(spark: SparkSession, dataset: Dataset, tables: Tables, *, store: bool = True) -> Iterator[Index]:
    """Give the index of a dataset as it is now; only shards that are new or changed are scanned.

    Args:
        tables: Where the index is kept.
        store: Without it nothing is written; where the tables lack a shard, all are scanned for this once.
    """
    started = time.time()
    snapshot_id = index_id(dataset)
    known = _known_shards(spark, tables, dataset)
    if len(known) == len(dataset.shards) and find_snapshot(spark, tables, snapshot_id):
        shards = list(known.values())
        yield Index(snapshot_id, _stored_samples(spark, tables, shards), shards, 0)
        return
    known = known if store else {}
    fresh = {shard.shard_index: shard.file for shard in dataset.shards if shard.file not in known}
    scanned = _scan(spark, fresh, dataset.indexes)
    # One pass over the headers serves the samples, the shards and the problems.
    with in_memory(scanned):
        found = scanned.filter(F.col("kind") == scan.SHARD).collect() if fresh else []
        index = _read_scan(snapshot_id, dataset, known, found, _sample_columns(scanned))
        log(f"index: scanned {len(fresh):,} of {len(dataset.shards):,} shards in {time.time() - started:.1f} s")
        if not store:
            yield index
        elif known:
            _store(spark, tables, dataset, index, started)
            yield index._replace(samples=_stored_samples(spark, tables, index.shards))
        else:
            # All rows are at hand: what comes next need not wait until they are stored.
            with ThreadPoolExecutor(1) as pool:
                storing = pool.submit(_store, spark, tables, dataset, index, started)
                yield index._replace(wait_stored=storing.result)
                storing.result()


def _read_scan(
    snapshot_id: str,
    dataset: Dataset,
    known: Mapping[FileInfo, Mapping[str, Any]],
    found: Sequence[Row],
    samples: DataFrame,
) -> Index:
    """Give the index that a scan's rows make with the shards that were known before."""
    counts = {row["shard_path"]: row for row in found}
    shards = []
    for shard in dataset.shards:
        path = shard.file.path
        if shard.file in known:
            row = known[shard.file]
        else:
            row = {name: counts[path][name] for name in scan.SHARD_COLUMNS} | {
                "dataset_root": dataset.dataset_root,
                "shard_index": shard.shard_index,
                "shard_path": path,
                "shard_bytes": shard.file.size_bytes,
                "modified_ns": shard.file.modified_ns,
                "etag": shard.file.etag,
                "scan_id": snapshot_id,
            }
        shards.append(row)
    return Index(snapshot_id, samples, shards, len(counts))


def _scan(spark: SparkSession, files: Mapping[int, FileInfo], indexes: Mapping[str, str]) -> DataFrame:
    shards = Packed(scan.Tar, (scan.Tar(number, *file, indexes.get(file.path)) for number, file in files.items()))
    places = spark.range(0, len(files), 1, task_count(spark, len(files)))
    return in_tasks(places, partial(scan.scan_shards, shards=shards), scan.SCAN)


def _sample_columns(scanned: DataFrame) -> DataFrame:
    return scanned.filter(F.col("kind") == scan.SAMPLE).select(
        "shard_index", "shard_path", "position", "key", "sample_offset", "sample_bytes", "written_bytes",
        "member_exts", "payload_offsets", "payload_bytes", "problem", "problem_offset", "problem_detail",
    )  # fmt: skip


def _known_shards(spark: SparkSession, tables: Tables, dataset: Dataset) -> dict[FileInfo, dict[str, Any]]:
    """Give the committed rows of shards that have not changed, by file; their ranks are those that they have now."""
    committed = {row["snapshot_id"] for row in read_rows(spark, tables, SNAPSHOTS)}
    rows = read_rows(spark, tables, SHARDS, dataset_root=dataset.dataset_root)
    stored = {
        FileInfo(row["shard_path"], row["shard_bytes"], row["modified_ns"], row["etag"]): row
        for row in rows
        if row["snapshot_id"] in committed
    }
    return {
        shard.file: {**stored[shard.file], "shard_index": shard.shard_index}
        for shard in dataset.shards
        if shard.file in stored
    }


def _stored_samples(spark: SparkSession, tables: Tables, shards: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Read the samples of shards from the table; the driver knows which scan has whose."""
    kinds = {"scan_id": "string", "shard_path": "string", "shard_index": "bigint"}
    columns = {name: (kind, [shard[name] for shard in shards]) for name, kind in kinds.items()}
    current = F.broadcast(small_table(spark, columns))
    return tables.read(spark, SAMPLES).join(current, on=["scan_id", "shard_path"], how="inner")


def _store(spark: SparkSession, tables: Tables, dataset: Dataset, index: Index, started: float) -> None:
    """Store a scan: its samples, its problems, the shards as they are now, and then the snapshot."""
    provenance = {"operation": "index"}
    if index.scanned_count:
        rows = index.samples.withColumn("scan_id", F.lit(index.snapshot_id)).drop("shard_index")
        append(tables, SAMPLES, rows, index.snapshot_id, provenance)
    append_rows(spark, tables, SHARDS, index.shards, index.snapshot_id, provenance)
    if index.scanned_count < len(index.shards):
        index = index._replace(samples=_stored_samples(spark, tables, index.shards))
    rejects = index.rejects()
    rejects.store(spark, tables, index.snapshot_id, provenance)
    row = snapshot_row(
        operation="index",
        started=started,
        dataset_root=dataset.dataset_root,
        settings={},
        indexed=index.sample_count,
        rejected=rejects.sample_count,
    )
    append_rows(spark, tables, SNAPSHOTS, [row], index.snapshot_id, provenance)
