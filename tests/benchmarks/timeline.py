"""Show where the time of a small cold export goes, from what phases.py printed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from processes import Run
from report import table

_LEAST_GAP_SECONDS = 0.05
_FOLDERS = re.compile(r"/\S*/")  # they are this machine's own

Row = tuple[float, float | None, str]  # when, seconds, what


def phase_lines(runs: Sequence[Run]) -> list[str]:
    """Give two tables of the run whose time is the median: seconds by phase, and its jobs and log lines in order."""
    run = sorted(runs, key=lambda each: each.seconds)[len(runs) // 2]
    found = run.printed()
    moments, jobs = found["moments"], sorted(found["jobs"], key=lambda job: float(job["begin"]))
    gaps = list(_gaps(jobs, moments["session"], moments["exported"]))
    in_driver = sum(seconds or 0 for _, seconds, _ in gaps)
    exporting = moments["exported"] - moments["session"]
    phases = {
        "start of Python": moments["main"] - moments["process"],
        "imports of the command line": moments["cli imported"] - moments["main"],
        "import of pyspark": moments["pyspark imported"] - moments["cli imported"],
        "start of the JVM; the verbs are imported meanwhile": moments["context began"] - moments["pyspark imported"],
        "Spark's context and session": moments["session"] - moments["context began"],
        f"Spark jobs, {len(jobs)} of them, the time when any ran": exporting - in_driver,
        "driver while no job ran: planning, commits, files": in_driver,
        "end of the process": run.started + run.seconds - found["ended"],
    }
    rows: list[Row] = [(job["begin"], job["end"] - job["begin"], _job_name(job)) for job in jobs]
    rows += [(when, None, f"log: {_FOLDERS.sub('', text)}") for when, text in found["lines"]]
    rows += [gap for gap in gaps if (gap[1] or 0) >= _LEAST_GAP_SECONDS]
    return [
        "## Where the time of a small cold export goes",
        "",
        f"The same dataset; the run of the median time, {run.seconds:.2f} s, of {len(runs)}.",
        "",
        *table(["phase", "s"], [[name, f"{seconds:.2f}"] for name, seconds in phases.items()]),
        "Jobs, pauses between them and lines of the log; seconds from the start of the process:",
        "",
        *table(["at s", "for s", "what"], _cells(sorted(rows, key=lambda row: row[0]), moments["process"])),
    ]


def _gaps(jobs: Sequence[dict[str, Any]], begin: float, end: float) -> Iterator[Row]:
    """Give the times between two moments when no job ran."""
    at = begin
    for job in (*jobs, {"begin": end, "end": end}):
        if job["begin"] > at:
            yield at, job["begin"] - at, "driver, no job"
        at = max(at, job["end"])


def _job_name(job: dict[str, Any]) -> str:
    return f"job of {job['tasks']} tasks: {_FOLDERS.sub('', job['name'])}"


def _cells(rows: Sequence[Row], start: float) -> list[list[str]]:
    return [[f"{when - start:.2f}", "" if seconds is None else f"{seconds:.2f}", what] for when, seconds, what in rows]
