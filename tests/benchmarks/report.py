"""Write RESULTS.md: top-level sections, each the whole result of one benchmark and replaced alone."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")

# Why a target is not met, and what was tried, by how the names of its rows begin; printed only while it is not.
_START = (
    "a session starts in 5-8 s, the index reads a header behind every payload, and a dozen cold plans take 10 s; "
    "the rest is the copy. Tried, and in: an archive of loaded classes, the quick compiler and interpreted plans "
    "for small runs, verbs imported while the JVM starts, rows committed without Spark, counts from sums in the "
    "index instead of a join, four shards scanned at a time"
)
_COPY = (
    "each shard's rows are read, sorted and handed to Python first, and the copy reads only what it keeps, range "
    "by range. Tried: buffers of 2 to 8 MiB (2 fits the cache and is in), ranges asked for ahead (in), reads that "
    "leave nothing in the page cache (no faster)"
)
_JSON = "each JSON is parsed in Python as far as its id; all else is done for a whole buffer at once"
_WARM = (
    "a dozen Spark jobs and half a dozen commits; each was looked at, and those that a number made needless are gone"
)
_SCAN = (
    "a PAX header and its records stand before each member's own header, 9 blocks a sample instead of 3, and "
    "every checksum and record is checked. Tried, and in: one loop without calls, and checks of 8,192 headers at "
    "a time"
)
_BYTES = "where images are so small headers alone are nearly as much; the rest comes with the pages of a disk"
_VERIFY = (
    "the seconds hold two Spark jobs, and a whole process the start of Spark; each file is read once, and no more "
    "is done with it than its checksum"
)
NOTES: dict[str, str] = {
    "tarfile as in NeMo Curator, 1 process": _START,
    "tarfile as in NeMo Curator, a process a core": _START,
    "webdataset, 1 process": _START,
    "shardwright, `--no-json-id` / (Spark session": _START,
    "write phase of export": _COPY,
    "writer without Spark / cp -r, `--no-json-id`": _COPY,
    "writer without Spark / cp -r, `--json-id`": _JSON,
    "verify": _VERIFY,
    "small export, session up": _WARM,
    "header scan": _SCAN,
    "bytes that it reads": _BYTES,
}


@dataclass(frozen=True)
class Figure:
    """What was measured for one target.

    ``values`` has one number a round. ``at_gb`` is the size that the target is for, where it is for one only.
    """

    name: str
    values: Sequence[float]
    target: float
    unit: str
    is_least: bool = True
    digits: int = 2
    at_gb: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the median reaches the target."""
        median = statistics.median(self.values)
        return median >= self.target if self.is_least else median <= self.target


def write_section(title: str, lines: Sequence[str]) -> None:
    """Replace the section of RESULTS.md with this title, or append it; the others stay as they are."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    parts = re.split(r"^# (.*)\n", text, flags=re.MULTILINE)
    sections = {name.strip(): body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    sections[title] = "\n".join(lines).strip()
    RESULTS.write_text("\n".join(f"# {name}\n\n{body}\n" for name, body in sections.items()), encoding="utf-8")


def heading(script: str) -> list[str]:
    """Say how, when and where a section was made."""
    return [
        f"- Command: `{' '.join(['python', f'tests/benchmarks/{script}', *options()])}`",
        f"- Date: {dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}. Machine: {machine()}.",
    ]


def machine() -> str:
    """Name the processor, the memory, the kernel and the Python."""
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores of {processor}, {memory_gib:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def options() -> list[str]:
    """Give the options as typed, but for the place of the data, which is this machine's own."""
    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if word == "--data":
            next(words, None)
        elif not word.startswith("--data="):
            kept.append(word)
    return kept


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Give the lines of a table, and an empty one behind them."""
    return [
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
        *(f"| {' | '.join(cells)} |" for cells in rows),
        "",
    ]


def spread(values: Sequence[float], digits: int = 2) -> list[str]:
    """Give two cells: the median, and the least and the largest value."""
    numbers = f",.{digits}f"
    return [f"{statistics.median(values):{numbers}}", f"{min(values):{numbers}}-{max(values):{numbers}}"]


def target_table(figures: Iterable[Figure], size_gb: float) -> list[str]:
    """Set each median against its target; notes explain those that are not met.

    Args:
        size_gb: Of the source; a target that is for another size says so.
    """
    rows: list[list[str]] = []
    missed: dict[str, list[str]] = {}
    for figure in figures:
        sign = "at least" if figure.is_least else "at most"
        is_other_size = figure.at_gb is not None and size_gb < figure.at_gb
        verdict = "met" if figure.is_met else "not met"
        rows.append(
            [
                figure.name,
                f"{sign} {figure.target:,g}{f' at {figure.at_gb:g} GB' if figure.at_gb else ''}",
                *spread(figure.values, figure.digits),
                figure.unit,
                f"{verdict}, at {size_gb:.2g} GB" if is_other_size else verdict,
            ]
        )
        if not figure.is_met:
            for note in (note for name, note in NOTES.items() if figure.name.startswith(name)):
                missed.setdefault(note, []).append(figure.name)
    lines = table(["what", "target", "median", "min-max", "unit", "target met"], rows)
    reasons = [f"- Not met, {', '.join(names)}: {note}." for note, names in missed.items()]
    return [*lines, *reasons, ""] if reasons else lines
