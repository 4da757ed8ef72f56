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

# Why a target is not met, by the name of its row; printed only while it is not.
NOTES: dict[str, str] = {}


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
    rows, notes = [], []
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
        if not figure.is_met and figure.name in NOTES:
            notes.append(f"- {figure.name}: {NOTES[figure.name]}")
    lines = table(["what", "target", "median", "min-max", "unit", "target met"], rows)
    return [*lines, *notes, ""] if notes else lines
