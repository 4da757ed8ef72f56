"""verify: read an output back and name everything that is not as its manifest and tables say."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright.errors import Problem, ProblemsError, RequestError
from shardwright.files import list_files
from shardwright.format.names import position_digits
from shardwright.reporting import log
from shardwright.store.output import MANIFEST_NAME, SHARD_FIELDS, read_output
from shardwright.store.session import run_errors, task_count
from shardwright.store.tables import EXPORTS, MANIFEST, SNAPSHOTS, Tables, find_snapshot, tables_at
from shardwright.store.types import spark_schema
from shardwright.tasks.check import PROBLEMS, CheckJob, check_rows, check_shards

_COUNTS = ("indexed", "kept", "dropped", "rejected", "exported")


def verify_output(
    spark: SparkSession, output_root: str, tables_option: str | None, *, deep: bool = False
) -> dict[str, Any]:
    """Check an output against its manifest and, where they are at hand, its tables. Nothing is written.

    Args:
        deep: Parse every tar too, and load a sample of each shard through webdataset.

    Raises:
        ProblemsError: It names everything that is wrong, by shard, key and offset.
        RequestError: There is no output of ours at this path.
    """
    started = time.time()
    if deep and find_spec("webdataset") is None:
        raise RequestError("verify --deep", "webdataset is not installed", "Install shardwright[verify]")
    manifest = _read_manifest(output_root)
    tables = tables_at(tables_option or manifest["tables"], output_root)
    has_tables = tables.exists(spark, SNAPSHOTS)
    if tables_option and not has_tables:
        raise RequestError(f"--tables {tables_option}", "there are no tables", "Leave it out, or pass their folder")
    problems = list(_check_folder(output_root, manifest))
    job = _check_job(output_root, manifest, deep=deep)
    count = len(job.shards)
    with run_errors("verify"):
        if count:
            shards = spark.range(0, count, 1, task_count(spark, count))
            problems += _collect(shards.mapInArrow(partial(check_shards, job=job), spark_schema(PROBLEMS)))
        if has_tables:
            problems += _check_tables(spark, tables, manifest, job)
    if problems:
        raise ProblemsError(
            f"verify {output_root}",
            problems,
            "Restore these files, or remove the folder and run the same export again.",
        )
    log(f"verify: {count:,} shards are sound{'' if has_tables else f'; no tables at {tables.root}'}")
    return {
        "snapshot_id": manifest["snapshot_id"],
        "output": output_root,
        "tables": tables.root if has_tables else None,
        "shards": count,
        **{name: manifest[name] for name in _COUNTS},
        "bytes": sum(shard["shard_bytes"] + shard["sidecar_bytes"] for shard in job.shards),
        "deep": deep,
        "problems": 0,
        "seconds": round(time.time() - started, 1),
    }


def _read_manifest(output_root: str) -> dict[str, Any]:
    if not os.path.isdir(output_root):
        raise RequestError(output_root, "no such folder", "Pass the output of an export")
    state = read_output(output_root)
    if state.manifest:
        return state.manifest
    if state.plan:
        raise RequestError(
            output_root, "the export in it is not finished", "Run the same export again: it goes on where it stopped"
        )
    remedy = "Pass the output of an export; where only this file is lost, the same export again writes it anew"
    raise RequestError(output_root, f"there is no {MANIFEST_NAME}", remedy)


def _check_folder(output_root: str, manifest: Mapping[str, Any]) -> list[Problem]:
    """Find shards that the manifest does not name, and counts that break its own laws."""
    problems = []
    named = {shard["shard_name"] + suffix for shard in manifest["shards"] for suffix in (".tar", ".parquet")}
    for file in list_files(output_root):
        name = os.path.basename(file.path)
        if name.endswith((".tar", ".parquet")) and name not in named:
            problems.append(Problem(name, None, None, "orphan", "the manifest does not name it"))
    in_shards = sum(shard["sample_count"] for shard in manifest["shards"])
    laws = {
        "indexed = kept + dropped + rejected": manifest["indexed"] == sum(manifest[name] for name in _COUNTS[1:4]),
        "exported = kept": manifest["exported"] == manifest["kept"],
        "sum over the shards = exported": in_shards == manifest["exported"],
    }
    counts = ", ".join(f"{name} {manifest[name]:,}" for name in _COUNTS)
    problems += [
        Problem(MANIFEST_NAME, None, None, "wrong_count", f"{law} does not hold: {counts}, in shards {in_shards:,}")
        for law, holds in laws.items()
        if not holds
    ]
    return problems


def _check_job(output_root: str, manifest: Mapping[str, Any], *, deep: bool) -> CheckJob:
    settings = manifest["settings"]
    renumbered = settings["keys"] == "renumber"
    return CheckJob(
        output_root=output_root,
        shards=manifest["shards"],
        id_col=settings["id_col"],
        source_key_col=settings["source_key_col"],
        source_shard_col=settings["source_shard_col"],
        shard_digits=settings["shard_digits"],
        key_digits=position_digits(settings["samples_per_shard"]) if renumbered else None,
        deep=deep,
    )


def _check_tables(spark: SparkSession, tables: Tables, manifest: Mapping[str, Any], job: CheckJob) -> list[Problem]:
    """Compare the manifest with the tables, and every sidecar with the rows of ``exports``."""
    snapshot_id = manifest["snapshot_id"]
    snapshot = find_snapshot(spark, tables, snapshot_id)
    if snapshot is None:
        return [
            Problem(tables.name(SNAPSHOTS), None, None, "missing_snapshot", f"no committed snapshot '{snapshot_id}'")
        ]
    problems = [
        Problem(
            tables.name(SNAPSHOTS),
            None,
            None,
            "wrong_count",
            f"{name} is {snapshot[name]:,}, the manifest says {manifest[name]:,}",
        )
        for name in _COUNTS
        if snapshot[name] != manifest[name]
    ]
    if not job.shards:
        return problems
    missing = [table for table in (MANIFEST, EXPORTS) if not tables.exists(spark, table)]
    if missing:
        return [*problems, *(Problem(tables.name(table), None, None, "missing_file", "no table") for table in missing)]
    return [*problems, *_check_manifest(spark, tables, manifest), *_check_exports(spark, tables, manifest, job)]


def _check_manifest(spark: SparkSession, tables: Tables, manifest: Mapping[str, Any]) -> Iterator[Problem]:
    stored_rows = tables.read(spark, MANIFEST).filter(F.col("snapshot_id") == manifest["snapshot_id"])
    stored = {row["shard_name"]: row for row in stored_rows.collect()}
    for shard in manifest["shards"]:
        row = stored.pop(shard["shard_name"], None)
        if row is None or any(row[name] != shard[name] for name in SHARD_FIELDS):
            yield Problem(shard["shard_name"], None, None, "wrong_manifest", "the manifest table says otherwise")
    for name in sorted(stored):
        yield Problem(name, None, None, "wrong_manifest", "only the manifest table names it")


def _check_exports(
    spark: SparkSession, tables: Tables, manifest: Mapping[str, Any], job: CheckJob
) -> Iterator[Problem]:
    rows = (
        tables.read(spark, EXPORTS)
        .filter(F.col("snapshot_id") == manifest["snapshot_id"])
        .select("shard_id", "position", "key", "source_key", "source_shard")
    )
    row_counts = {row["shard_id"]: row["count"] for row in rows.groupBy("shard_id").count().collect()}
    for shard_id, shard in enumerate(manifest["shards"]):
        found, expected = row_counts.get(shard_id, 0), shard["sample_count"]
        if found != expected:
            detail = f"the exports table has {found:,} rows, the manifest says {expected:,} samples"
            yield Problem(shard["shard_name"], None, None, "wrong_count", detail)
    placed = rows.repartition(task_count(spark, len(job.shards)), "shard_id")
    placed = placed.sortWithinPartitions("shard_id", "position")
    yield from _collect(placed.mapInArrow(partial(check_rows, job=job), spark_schema(PROBLEMS)))


def _collect(problems: DataFrame) -> list[Problem]:
    found = [Problem(*row) for row in problems.collect()]
    return sorted(found, key=lambda problem: (problem.shard, problem.offset or 0, problem.reason, problem.key or ""))
