"""Measure a small export: cold against a bare Spark session, warm in a session that is up, and phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dataset import Size, ensure_dataset
from processes import timed
from report import Figure, spread, table
from rounds import Way, run_rounds
from timeline import phase_lines
from ways import BARE, SAMPLES_PER_SHARD, WHERE, bare_session, export, script, tables_of

SIZE = Size(shards=8, samples_per_shard=300, mean_image_bytes=20_000)
_EXPORT = "shardwright export"
_COUNTED = 3  # of the exports in a session that is up, the last ones


def measure_small(data: Path, rounds: int, *, is_cold: bool) -> tuple[list[Figure], list[str]]:
    """Give what is compared with targets, and the lines that show all of it."""
    source, output, log = ensure_dataset(data, SIZE), data / "out_small", data / "last_run.log"
    runs, _ = run_rounds([bare_session(), export(_EXPORT, source, output)], rounds, log, is_cold=is_cold)
    seconds = {name: [run.seconds for run in done] for name, done in runs.items()}
    warm = _warm(source, data / "warm", log)
    command = script("phases.py", source, output, WHERE, SAMPLES_PER_SHARD)
    phases = Way("phases of an export", command, source, output, (tables_of(source), tables_of(output)))
    phased, _ = run_rounds([phases], rounds, log, is_cold=is_cold)
    ratios = [ours / bare for ours, bare in zip(seconds[_EXPORT], seconds[BARE], strict=True)]
    figures = [
        Figure("small export, cold / Spark session and one trivial job", ratios, 2, "x", is_least=False),
        Figure("small export, session up", warm["new"][-_COUNTED:], 3, "s", is_least=False),
    ]
    return figures, [*_tables(seconds, warm), *phase_lines(phased[phases.name])]


def _warm(source: Path, workspace: Path, log: Path) -> dict[str, list[float]]:
    return timed(script("warm.py", source, workspace, WHERE, SAMPLES_PER_SHARD), log).printed()


def _tables(seconds: dict[str, list[float]], warm: dict[str, list[float]]) -> list[str]:
    return [
        "## A small export",
        "",
        f"{SIZE.samples:,} samples in {SIZE.shards} shards, images of {SIZE.mean_image_bytes:,} bytes on average. "
        "Whole processes, in turn:",
        "",
        *table(["way", "median s", "min-max s"], [[name, *spread(found)] for name, found in seconds.items()]),
        "Exports one after the other in one session:",
        "",
        *table(["dataset", "seconds of each", f"median s of the last {_COUNTED}", "min-max s"], _warm_rows(warm)),
    ]


def _warm_rows(warm: dict[str, list[float]]) -> list[Sequence[str]]:
    names = {"new": "a new one each time", "indexed": "the last of them again, its index stored"}
    return [
        [names[kind], ", ".join(f"{each:.2f}" for each in found), *spread(found[-_COUNTED:])]
        for kind, found in warm.items()
    ]
