"""verify: read an output back and name everything that is not as its manifest and tables say.

Every check compares two records of one thing, so that a fault in either is found: files with the manifest's
sizes and checksums, a sidecar with the tar that it says it was written with, keys with their places, the
manifest with its own sums and with ``manifest`` and ``snapshots``, sidecars with ``exports``. A deep check
adds what asks for reading more: members, ids in JSON, indexes beside the tars, and every value and member
against ``exports``. What people and loaders put beside shards (cards, notes, ``wids.json``, ``.nv-meta``)
is not looked into.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright.errors import Problem, ProblemsError, RequestError
from shardwright.format.names import position_digits, shard_name
from shardwright.frames.columns import column
from shardwright.locations import same_options
from shardwright.reporting import log
from shardwright.store.output import MANIFEST_NAME, SHARD_FIELDS, list_strays, read_finished
from shardwright.store.rows import read_rows
from shardwright.store.session import run_errors, task_count
from shardwright.store.tables import EXPORTS, MANIFEST, SNAPSHOTS, Tables, tables_of
from shardwright.store.types import in_tasks
from shardwright.tasks.check import KEYS, PROBLEMS, CheckJob, ListedShard, check_shards, list_keys
from shardwright.tasks.check_rows import KEY_COLUMNS, MEMBER_COLUMNS, check_rows
from shardwright.tasks.packed import Packed

_COUNTS = ("indexed", "kept", "dropped", "rejected", "exported")
_TIMES = ("started_at", "committed_at")  # a manifest that was written anew has them without their zone
_MAX_PROBLEMS = 10_000
_NUMBER = re.compile(r"[0-9]{1,18}")


def verify_output(
    spark: SparkSession, output_root: str, tables_option: str | None, *, deep: bool = False
) -> dict[str, Any]:
    """Check an output against its manifest and, where they are at hand, its tables. Nothing is written.

    Args:
        deep: Parse every tar and every JSON member whose id was written too, compare values and members with
            ``exports`` and indexes with the tars, and load a sample of each shard through webdataset.

    Raises:
        ProblemsError: It names everything that is wrong, by shard, key and offset.
        RequestError: There is no output of ours at this path.
    """
    started = time.time()
    if deep and find_spec("webdataset") is None:
        raise RequestError("verify --deep", "webdataset is not installed", "Install shardwright[verify]")
    manifest = read_finished(output_root)
    tables = tables_of(spark, manifest, tables_option, output_root)
    has_tables = tables.exists(spark, SNAPSHOTS)
    job = _check_job(output_root, manifest, deep=deep)
    problems = [*_check_folder(output_root, job), *_check_own_laws(manifest)]
    count = len(job.shards)
    with run_errors("verify"):
        if count:
            shards = spark.range(0, count, 1, task_count(spark, count))
            problems += _collect(in_tasks(shards, partial(check_shards, job=job), PROBLEMS))
            if deep and job.keys != "renumber":
                problems += _check_unique(in_tasks(shards, partial(list_keys, job=job), KEYS))
        if has_tables:
            problems += _check_tables(spark, tables, manifest, job)
    if problems:
        remedy = "Restore these files, or remove the folder and run the same export again."
        if all(problem.reason == "orphan" for problem in problems):
            command = f"shardwright clean {output_root} --delete{same_options()}"
            remedy = f"All else is sound. To remove these files, run: {command}"
        raise ProblemsError(f"verify {output_root}", list(dict.fromkeys(problems)), remedy)
    log(f"verify: {count:,} shards are sound{'' if has_tables else f'; no tables at {tables.root}'}")
    return {
        "snapshot_id": manifest["snapshot_id"],
        "output": output_root,
        "tables": tables.root if has_tables else None,
        "shards": count,
        **{name: manifest[name] for name in _COUNTS},
        "bytes": sum(shard.shard_bytes + shard.sidecar_bytes for shard in job.shards),
        "deep": deep,
        "problems": 0,
        "seconds": round(time.time() - started, 1),
    }


def _check_folder(output_root: str, job: CheckJob) -> Iterator[Problem]:
    for path in list_strays(output_root, {shard.shard_name for shard in job.shards}):
        yield Problem(path, None, None, "orphan", "the manifest names no such shard, or the file was left unfinished")


def _check_own_laws(manifest: Mapping[str, Any]) -> Iterator[Problem]:
    """Find counts that break the manifest's own laws, and shards that are not listed by their numbers."""
    in_shards = sum(shard["sample_count"] for shard in manifest["shards"])
    laws = {
        "indexed = kept + dropped + rejected": manifest["indexed"] == sum(manifest[name] for name in _COUNTS[1:4]),
        "sum over the drops = dropped": sum(manifest["drops"].values()) == manifest["dropped"],
        "exported = kept": manifest["exported"] == manifest["kept"],
        "sum over the shards = exported": in_shards == manifest["exported"],
    }
    counts = ", ".join(f"{name} {manifest[name]:,}" for name in _COUNTS)
    for law, holds in laws.items():
        if not holds:
            detail = f"{law} does not hold: {counts}, in shards {in_shards:,}"
            yield Problem(MANIFEST_NAME, None, None, "wrong_count", detail)
    digits = manifest["settings"]["shard_digits"]
    for place, shard in enumerate(manifest["shards"]):
        if shard["shard_name"] != (wanted := shard_name(place, digits)):
            detail = f"shard '{shard['shard_name']}' is listed where '{wanted}' should be"
            yield Problem(MANIFEST_NAME, None, None, "wrong_manifest", detail)
            return


def _check_job(output_root: str, manifest: Mapping[str, Any], *, deep: bool) -> CheckJob:
    settings = manifest["settings"]
    # By their names, whatever a manifest that was tampered with lists, and in which order.
    shards = {shard["shard_name"]: shard for shard in manifest["shards"] if _NUMBER.fullmatch(shard["shard_name"])}
    old_id = {} if settings.get("old_id_col") is None else {settings["old_id_col"]: "source_key"}
    added = {settings["source_key_col"]: "source_key", settings["source_shard_col"]: "source_shard"}
    return CheckJob(
        output_root=output_root,
        shards=Packed(
            ListedShard,
            (
                ListedShard(shard_id=int(name), **{field: shard[field] for field in SHARD_FIELDS})
                for name, shard in shards.items()
            ),
        ),
        columns={**manifest["columns"], settings["id_col"]: "key", **old_id, **added},
        id_col=settings["id_col"],
        source_key_col=settings["source_key_col"],
        shard_digits=settings["shard_digits"],
        keys=settings["keys"],
        key_digits=position_digits(settings["samples_per_shard"]),
        json_id_field=settings["id_col"] if settings["json_id"] else None,
        deep=deep,
    )


def _check_unique(keys: DataFrame) -> list[Problem]:
    """Find keys that stand in several rows of the output: nothing else forbids it where the source's were kept."""
    repeated = keys.groupBy("key").agg(F.count(F.lit(1)).alias("count"), F.min("shard").alias("shard"))
    rows = repeated.filter("count > 1").orderBy("key").limit(_MAX_PROBLEMS).collect()
    detail = "{:,} rows of the output have this key"
    return [
        Problem(f"{row['shard']}.parquet", row["key"], None, "duplicate_key", detail.format(row["count"]))
        for row in rows
    ]


def _check_tables(spark: SparkSession, tables: Tables, manifest: Mapping[str, Any], job: CheckJob) -> list[Problem]:
    """Compare the manifest with the tables, and every shard with the rows of ``exports``."""
    snapshot_id = manifest["snapshot_id"]
    found = read_rows(spark, tables, SNAPSHOTS, snapshot_id=snapshot_id)
    name = tables.name(SNAPSHOTS)
    if not found:
        return [Problem(name, None, None, "missing_snapshot", f"no committed snapshot '{snapshot_id}'")]
    problems = list(_check_snapshot(name, found[0], manifest))
    if len(found) > 1:
        problems.append(Problem(name, None, None, "wrong_manifest", f"snapshot '{snapshot_id}' has several rows"))
    if not job.shards:
        return problems
    missing = [table for table in (MANIFEST, EXPORTS) if not tables.exists(spark, table)]
    if missing:
        return [*problems, *(Problem(tables.name(table), None, None, "missing_file", "no table") for table in missing)]
    return [*problems, *_check_manifest(spark, tables, manifest), *_check_exports(spark, tables, manifest, job)]


def _check_snapshot(name: str, snapshot: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[Problem]:
    for field, stored in snapshot.items():
        here = manifest.get(field)
        if field in _TIMES or stored == (json.dumps(here, sort_keys=True) if isinstance(here, dict | list) else here):
            continue
        if field in _COUNTS:
            yield Problem(name, None, None, "wrong_count", f"{field} is {stored}, the manifest says {here}")
        else:
            yield Problem(name, None, None, "wrong_manifest", f"{field} is not what the manifest says")


def _check_manifest(spark: SparkSession, tables: Tables, manifest: Mapping[str, Any]) -> Iterator[Problem]:
    stored = read_rows(spark, tables, MANIFEST, snapshot_id=manifest["snapshot_id"])
    rows = {row["shard_name"]: row for row in stored}
    for shard_id, shard in enumerate(manifest["shards"]):
        name = shard["shard_name"]
        path = os.path.join(manifest["output_root"], f"{name}.tar")
        row = rows.pop(name, None)
        if row is None or any(row[field] != value for field, value in _row(shard_id, shard, path).items()):
            yield Problem(name, None, None, "wrong_manifest", "the manifest table says otherwise")
    for name in sorted(rows):
        yield Problem(name, None, None, "wrong_manifest", "only the manifest table names it")
    for name, count in sorted(Counter(row["shard_name"] for row in stored).items()):
        if count > 1:
            yield Problem(name, None, None, "wrong_manifest", f"the manifest table has {count:,} rows for it")


def _row(shard_id: int, shard: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {**{field: shard[field] for field in SHARD_FIELDS}, "shard_id": shard_id, "path": path}


def _check_exports(
    spark: SparkSession, tables: Tables, manifest: Mapping[str, Any], job: CheckJob
) -> Iterator[Problem]:
    rows = tables.read(spark, EXPORTS).filter(F.col("snapshot_id") == manifest["snapshot_id"])
    needed = dict.fromkeys((*KEY_COLUMNS, *(job.deep * (*MEMBER_COLUMNS, *job.columns.values()))))
    for name in needed.keys() - set(rows.columns):
        yield Problem(tables.name(EXPORTS), None, None, "wrong_value", f"there is no column '{name}'")
    rows = rows.select("shard_id", "position", *(column(name) for name in needed if name in rows.columns))
    row_counts = {row["shard_id"]: row["count"] for row in rows.groupBy("shard_id").count().collect()}
    for shard in job.shards:
        found, expected = row_counts.pop(shard.shard_id, 0), shard.sample_count
        if found != expected:
            detail = f"the exports table has {found:,} rows, the manifest says {expected:,} samples"
            yield Problem(shard.shard_name, None, None, "wrong_count", detail)
    for shard_id, count in row_counts.items():
        detail = f"it has {count:,} rows for shard {shard_id}, which the manifest does not name"
        yield Problem(tables.name(EXPORTS), None, None, "wrong_count", detail)
    placed = rows.repartition(task_count(spark, len(job.shards)), "shard_id")
    placed = placed.sortWithinPartitions("shard_id", "position")
    yield from _collect(in_tasks(placed, partial(check_rows, job=job), PROBLEMS))


def _collect(problems: DataFrame) -> list[Problem]:
    found = [Problem(*row) for row in problems.collect()]
    return sorted(found, key=lambda problem: (problem.shard, problem.offset or 0, problem.reason, problem.key or ""))
