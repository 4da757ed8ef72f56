"""Measure a large export: whole processes against the peers, its write phase against ``cp -r``, and ``verify``."""

from __future__ import annotations

import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dataset import Size, ensure_dataset
from processes import Run
from report import Figure, spread, table
from rounds import run_rounds
from ways import (
    BARE,
    COPY,
    JSON_ID,
    NO_JSON_ID,
    SAMPLES_PER_SHARD,
    TARFILE,
    TARFILES,
    VERIFY,
    WEBDATASET,
    WHERE,
    WRITER,
    WRITER_JSON_ID,
    all_ways,
    our_output,
    tables_of,
    verify,
)

Runs = Mapping[str, Sequence[Run]]

DIALECTS = {"pax": "PAX headers, as webdataset, img2dataset and NeMo Curator write them", "ustar": "no PAX headers"}
# A small export is mostly the start of a session: ratios of whole processes have targets for a source of this size.
_TARGET_GB = 20
_WROTE = re.compile(r"export: wrote .* ([\d,]+) bytes in ([\d.]+) s")
# A verify says tenths of a second.
_LEAST_SECONDS = 0.05


def measure_large(size: Size, data: Path, rounds: int, *, is_cold: bool) -> tuple[list[Figure], list[str]]:
    """Give what is compared with targets, and the lines that show all of it."""
    log = data / "last_run.log"
    source = ensure_dataset(data, size)
    runs, kept = run_rounds(all_ways(source, data), rounds, log, is_cold=is_cold)
    ours = our_output(data)
    verified, _ = run_rounds([verify(ours)], rounds, log, is_cold=is_cold)
    for folder in (ours, tables_of(ours), tables_of(source)):
        shutil.rmtree(folder, ignore_errors=True)
    suffix = "" if size.dialect == "pax" else f", {size.dialect}"
    figures = [*_ratios(runs), *_write_phase(runs), *_verify_rates(verified[VERIFY]), *_memory(runs)]
    named = [replace(figure, name=figure.name + suffix) for figure in figures]
    return named, [*_intro(size, kept), *_ways_table(runs), *_throughput_table(runs)]


def _ratios(runs: Runs) -> list[Figure]:
    seconds = {name: [run.seconds for run in done] for name, done in runs.items()}
    ours = seconds[NO_JSON_ID]

    def peer(name: str, target: float) -> Figure:
        ratios = [theirs / our for theirs, our in zip(seconds[name], ours, strict=True)]
        return Figure(f"{name} / {NO_JSON_ID}", ratios, target, "x", at_gb=_TARGET_GB)

    least = [bare + copy for bare, copy in zip(seconds[BARE], seconds[COPY], strict=True)]
    overhead = [our / floor for our, floor in zip(ours, least, strict=True)]
    name = f"{NO_JSON_ID} / (Spark session + cp -r)"
    return [
        peer(TARFILE, 5),
        peer(TARFILES, 3),
        peer(WEBDATASET, 10),
        Figure(name, overhead, 1.3, "x", is_least=False, at_gb=_TARGET_GB),
    ]


def _write_phase(runs: Runs) -> list[Figure]:
    rates = _rates(runs)

    def against_copy(name: str, way: str, target: float) -> Figure:
        return Figure(name, [ours / copy for ours, copy in zip(rates[way], rates[COPY], strict=True)], target, "x")

    return [
        against_copy("write phase of export / cp -r, `--no-json-id`", NO_JSON_ID, 1),
        against_copy("write phase of export / cp -r, `--json-id`", JSON_ID, 0.7),
        against_copy("writer without Spark / cp -r, `--no-json-id`", WRITER, 1),
        against_copy("writer without Spark / cp -r, `--json-id`", WRITER_JSON_ID, 0.7),
    ]


def _rates(runs: Runs) -> dict[str, list[float]]:
    """Give bytes per second: of exports in their write phase, of the writer, and of the copy."""
    wrote = {name: [written(run) for run in runs[name]] for name in (JSON_ID, NO_JSON_ID)}
    rates = {name: [size / seconds for size, seconds in done] for name, done in wrote.items()}
    for name in (WRITER_JSON_ID, WRITER):
        printed = [run.printed() for run in runs[name]]
        rates[name] = [found["bytes"] / found["seconds"] for found in printed]
    rates[COPY] = [size / run.seconds for (size, _), run in zip(wrote[NO_JSON_ID], runs[COPY], strict=True)]
    return rates


def written(run: Run) -> tuple[float, float]:
    """Give the bytes that an export wrote, and the seconds that it took, by its log."""
    found = _WROTE.search(run.output)
    if found is None:
        raise SystemExit(f"The export's log doesn't say what it wrote:\n{run.output}")
    return float(found[1].replace(",", "")), max(float(found[2]), _LEAST_SECONDS)


def _verify_rates(runs: Sequence[Run]) -> list[Figure]:
    found = [run.printed() for run in runs]
    inside = [each["bytes"] / 1e9 / max(each["seconds"], _LEAST_SECONDS) for each in found]
    whole = [each["bytes"] / 1e9 / run.seconds for each, run in zip(found, runs, strict=True)]
    return [
        Figure("verify, by the seconds that it reports", inside, 1, "GB/s"),
        Figure("verify, whole process", whole, 1, "GB/s"),
    ]


def _memory(runs: Runs) -> list[Figure]:
    peak = max(run.worker_mib for name in (JSON_ID, NO_JSON_ID) for run in runs[name])
    return [Figure("peak of the largest Python worker", [peak], 300, "MiB", is_least=False, digits=0)]


def _intro(size: Size, kept: int) -> list[str]:
    return [
        f"## Whole processes: {DIALECTS[size.dialect]}",
        "",
        f"{size.samples:,} samples in {size.shards} shards, images of {size.mean_image_bytes:,} bytes on average, "
        f"{size.image_gb:.2g} GB; `{WHERE}` keeps {kept:,} of them, written as shards of {SAMPLES_PER_SHARD:,}. In the "
        "first round every output was read back: all hold the same images and texts, byte for byte, and the same JSON "
        "but for the id. In several processes a peer shares out source shards, and each process writes shards of its "
        "own. webdataset and Ray Data write no Parquet files and leave keys as they are. The writer without "
        "Spark repeats the last part of an export, and its time includes loading the rows. Memory is the peak of the "
        "largest process of its kind in any run.",
        "",
    ]


def _ways_table(runs: Runs) -> list[str]:
    medians = {name: statistics.median(run.seconds for run in done) for name, done in runs.items()}
    header = ["way", "median s", "min-max s", f"x {NO_JSON_ID}", f"x {JSON_ID}"]
    rows = [
        [
            name,
            *spread([run.seconds for run in done]),
            *(f"{medians[name] / medians[ours]:.2f}" for ours in (NO_JSON_ID, JSON_ID)),
            *(_peak([getattr(run, kind) for run in done]) for kind in ("worker_mib", "jvm_mib", "other_mib")),
        ]
        for name, done in runs.items()
    ]
    return table([*header, "Python worker MiB", "JVM MiB", "other MiB"], rows)


def _peak(mib: Sequence[float]) -> str:
    return f"{max(mib):.0f}" if max(mib) else "-"


def _throughput_table(runs: Runs) -> list[str]:
    rows = [[name, *spread([rate / 1e9 for rate in rates])] for name, rates in _rates(runs).items()]
    text = "Bytes written by seconds of writing, for an export those of its write phase alone, by its own log:"
    return [text, "", *table(["way", "median GB/s", "min-max GB/s"], rows)]
