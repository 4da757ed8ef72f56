"""Time how ``shardwright export`` plans, as a cold process against DuckDB: no shard is written.

To plan is to find the index and the sidecars, pair them, apply ``aesthetic_score > 0.5``, place what
is kept in shards of 10,000 and store that. Both ways run in turn, as whole processes with what they read in
the page cache and nothing left of the run before, and both must place the same samples alike.

Run: ``python tests/benchmarks/plan.py [--samples N ...] [--runs N] [--data FOLDER]``
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from plan_dataset import SAMPLES_PER_SHARD, ensure_source, tables_of
from processes import Run, timed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WHERE = "aesthetic_score > 0.5"
GOAL_SAMPLES, GOAL_SECONDS = 10_000_000, 20
_WHY = (
    "- Why: about 10 s are the driver's, which builds each plan for the first time, and 5 µs of a core go into "
    "each sample: a third of it for two shuffles, a fifth for writing Parquet, the rest for decoding it, two "
    "sorts, a join and a window. Tried without gain: a hash join instead of sorting, plans interpreted or "
    "compiled by the quick compiler, Parquet without dictionaries or compression; tried, and in: rows that are "
    "dropped never move, none moves twice, and pairs are proven by sums instead of a join."
)
_HEAD = (
    "samples",
    "source shards",
    "kept",
    "planning s, median (min-max)",
    "whole process s",
    "DuckDB s",
    "x DuckDB, whole processes",
    "planning µs a sample",
    "JVM peak MiB",
    "heap in use MiB",
    "driver Python MiB",
    "DuckDB MiB",
    "Spark jobs",
    "shuffled bytes a sample",
)


class Measured(NamedTuple):
    """The runs of one size; ``plans`` are what `_plan_once` printed in each of ``ours``."""

    samples: int
    plans: list[dict[str, Any]]
    ours: list[Run]
    duckdb: list[Run]

    @property
    def planning(self) -> list[float]:
        """Seconds from the session to the stored plan."""
        return [plan["planning_seconds"] for plan in self.plans]


def main() -> None:
    """Generate what is missing, time both ways at each size, check that they agree, and write it down."""
    args = _arguments()
    if args.one:
        print(json.dumps(_plan_once(*args.one)))
        return
    from report import heading, table, write_section

    sizes = [_measure(ensure_source(args.data, samples), samples, args.runs) for samples in sorted(args.samples)]
    lines = [
        *heading("plan.py"),
        f"- Whole processes, cold, in turn, runs of each: {args.runs}; the index is there, what is read lies in the "
        "page cache, and the disk would hold all of the source, so that nobody adds up what is kept. Planning is what "
        "comes after the session's start. Memory is the peak of any run, the heap what is left of it in the driver, "
        "which runs the tasks as well, once the plan is stored and garbage is collected.",
        "",
        *table(_HEAD, map(_cells, sizes)),
        *_verdicts(sizes),
    ]
    write_section("Planning, timed", lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time how shardwright plans an export, against DuckDB.")
    default = Path(tempfile.gettempdir()) / "shardwright-benchmark"
    parser.add_argument("--data", type=Path, default=default, help="where all of it lies")
    parser.add_argument("--runs", type=int, default=3, help="times that each way runs at each size")
    parser.add_argument("--samples", type=int, nargs="+", default=[1_000_000, GOAL_SAMPLES], help="sizes")
    parser.add_argument("--one", nargs=2, metavar=("SOURCE", "OUTPUT"), help="only plan once, and print what it took")
    args = parser.parse_args()
    if any(samples < 1 or samples % SAMPLES_PER_SHARD for samples in args.samples):
        parser.error(f"--samples: shards are of {SAMPLES_PER_SHARD:,}, pass multiples of that")
    return args


def _plan_once(source: str, output: str) -> dict[str, Any]:
    """Do what ``shardwright export SOURCE OUTPUT --where …`` does until it writes shards."""
    began = time.perf_counter()
    from shardwright.config import ExportSettings, Selection, SourceSettings
    from shardwright.store.dataset import sidecar_bytes
    from shardwright.store.session import session, starting_session

    settings = ExportSettings(
        SourceSettings(source), output, Selection({"where": WHERE}), samples_per_shard=SAMPLES_PER_SHARD
    )
    with starting_session(sidecar_bytes(source)) as starting:
        import_module("shardwright.export")
    from shardwright.index import indexed
    from shardwright.plan import make_plan, resolve_request

    with session(starting.result()) as spark:
        started = time.perf_counter()
        request = resolve_request(spark, settings, None)
        # The images are not there, so that there need not be a disk that would hold them.
        with (
            indexed(spark, request.dataset, request.index_tables) as index,
            patch("shardwright.plan.free_bytes", return_value=sys.maxsize),
        ):
            plan = make_plan(spark, request, index)
        ended = time.perf_counter()
        jvm: Any = spark._jvm  # noqa: SLF001 - nothing else knows the heap
        jvm.System.gc()
        heap = jvm.Runtime.getRuntime()
        store = spark.sparkContext._jsc.sc().statusStore()  # noqa: SLF001 - said nowhere else
        return {
            "session_seconds": started - began,
            "planning_seconds": ended - started,
            "heap_mib": (heap.totalMemory() - heap.freeMemory()) / 2**20,
            "jobs": store.jobsList(None).size(),
            "shuffled_bytes": _shuffled_bytes(spark, store),
            "scanned": index.scanned_count,
            "kept": plan["kept"],
        }


def _shuffled_bytes(spark: SparkSession, store: Any) -> int:
    """Add up what the session's stages wrote for others to read."""
    tracker = spark.sparkContext.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup()]
    spark.sparkContext._jsc.sc().listenerBus().waitUntilEmpty()  # noqa: SLF001 - the last stage may not be noted yet
    stages = {stage for job in jobs if job for stage in job.stageIds}
    # A stage that was skipped has no record.
    return sum(store.lastStageAttempt(stage).shuffleWriteBytes() for stage in stages if tracker.getStageInfo(stage))


def _measure(source: Path, samples: int, runs: int) -> Measured:
    output, peer_output = source.with_name("plan_ours"), source.with_name("plan_duckdb.parquet")
    log = source.with_name("last_run.log")
    ours = [sys.executable, __file__, "--one", str(source), str(output)]
    peer = [sys.executable, str(Path(__file__).with_name("plan_duckdb.py")), str(source), str(peer_output)]
    measured = Measured(samples, [], [], [])
    for _ in range(runs):
        shutil.rmtree(tables_of(output), ignore_errors=True)
        _warm(source)
        measured.ours.append(timed(ours, log))
        measured.plans.append(json.loads(measured.ours[-1].output.splitlines()[-1]))
        peer_output.unlink(missing_ok=True)
        _warm(source)
        measured.duckdb.append(timed([*peer, str(SAMPLES_PER_SHARD)], log))
        _require_equal(measured.plans[-1], tables_of(output) / "exports", peer_output)
    return measured


def _warm(source: Path) -> None:
    for folder in (source, tables_of(source)):
        for path in folder.rglob("*.parquet"):
            path.read_bytes()


def _require_equal(found: dict[str, Any], exports: Path, peer_output: Path) -> None:
    """Stop where shardwright scanned tars, or placed other samples than DuckDB did, or placed them elsewhere."""
    from plan_duckdb import checksum, table_files

    if found["scanned"]:
        raise SystemExit(f"{found['scanned']:,} shards were scanned: the index does not fit the shards.")
    ours, peer = checksum(table_files(exports)), checksum([str(peer_output)])
    if ours != peer or ours[0] != found["kept"]:
        raise SystemExit(f"shardwright planned {found['kept']:,} and stored {ours}, DuckDB {peer}: samples and sum.")


def _cells(size: Measured) -> list[str]:
    planning = statistics.median(size.planning)
    whole, peer = (statistics.median(run.seconds for run in runs) for runs in (size.ours, size.duckdb))
    return [
        f"{size.samples:,}",
        f"{size.samples // SAMPLES_PER_SHARD:,}",
        f"{size.plans[0]['kept']:,}",
        f"{planning:.1f} ({min(size.planning):.1f}-{max(size.planning):.1f})",
        f"{whole:.1f}",
        f"{peer:.1f}",
        f"{whole / peer:.1f}",
        f"{planning / size.samples * 1e6:.2f}",
        f"{max(run.jvm_mib for run in size.ours):,.0f}",
        f"{max(plan['heap_mib'] for plan in size.plans):,.0f}",
        f"{max(run.other_mib for run in size.ours):,.0f}",
        f"{max(run.other_mib for run in size.duckdb):,.0f}",
        f"{max(plan['jobs'] for plan in size.plans)}",
        f"{max(plan['shuffled_bytes'] for plan in size.plans) / size.samples:.0f}",
    ]


def _verdicts(sizes: Sequence[Measured]) -> list[str]:
    """Say whether the goal is met, and how seconds grow beyond its size."""
    seconds = {size.samples: statistics.median(size.planning) for size in sizes}
    if GOAL_SAMPLES not in seconds:
        return []
    took, largest = seconds[GOAL_SAMPLES], max(seconds)
    is_met = "met" if took <= GOAL_SECONDS else "not met"
    lines = [f"- {GOAL_SAMPLES:,} samples are planned in {took:.1f} s; at most {GOAL_SECONDS} s is the goal: {is_met}."]
    if is_met == "not met":
        lines.append(_WHY)
    if largest > GOAL_SAMPLES:
        growth = seconds[largest] / largest / (took / GOAL_SAMPLES)
        lines.append(f"- At {largest:,} samples one takes {growth:.2f} times as long as at {GOAL_SAMPLES:,}.")
    return lines


if __name__ == "__main__":
    main()
