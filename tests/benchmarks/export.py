"""Time ``shardwright export`` as a cold process against NeMo Curator's way and against ``cp -r``.

Each way selects the samples of the same generated dataset whose ``aesthetic_score`` is above 0.5
and writes them as shards of 1,000; ``cp -r`` copies what shardwright wrote. All run in turn, whole
processes from start to exit, with the source in the page cache and with nothing left of the run
before: no output, no tables, no index. A way that kept other samples than the rest ends the run.

Run: ``python tests/benchmarks/export.py [--data FOLDER] [--runs N] [--shards N] [--samples N]``
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import shutil
import statistics
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from dataset import Size, ensure_dataset
from processes import Run, timed

SAMPLES_PER_SHARD = 1_000
WHERE = "aesthetic_score > 0.5"
NEMO = "NeMo's way, one process"
COPY = "cp -r of the output"
DIALECTS = {
    "pax": "Source with PAX headers, as webdataset, img2dataset and NeMo Curator write it",
    "ustar": "Source without PAX headers",
}
MEMORY = ("worker_mib", "jvm_mib", "other_mib")
RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Generate what is missing, time every way, check that all did the same, and write it down."""
    args = _arguments()
    report = _heading(args.runs)
    for dialect in args.dialects:
        size = Size(args.shards, args.samples, args.image_bytes, dialect)
        report += _timed_ways(ensure_dataset(args.data, size), size, args.data, args.runs)
    text = "\n".join([*report, "Memory is the peak of the largest process of its kind in any run.", ""])
    RESULTS.write_text(text)
    print(text)


def _timed_ways(source: Path, size: Size, data: Path, runs_of_each: int) -> list[str]:
    ways = _ways(source, data)
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in track(range(runs_of_each), f"Timing, {size.dialect}", console=Console(stderr=True)):
        for name, (command, output) in ways.items():
            for folder in (output, _tables(output), _tables(source)):
                shutil.rmtree(folder, ignore_errors=True)
            os.sync()  # what the way before wrote is not to be paid for by this one
            _warm(source)
            runs[name].append(timed(command, data / "last_run.log"))
    return _section(size, _check_equal([output for _, output in ways.values()]), runs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time shardwright export against its peers.")
    default = Path(tempfile.gettempdir()) / "shardwright-benchmark"
    parser.add_argument("--data", type=Path, default=default, help="where all of it lies")
    parser.add_argument("--runs", type=int, default=3, help="times that each way runs")
    parser.add_argument("--shards", type=int, default=Size.shards)
    parser.add_argument("--samples", type=int, default=Size.samples_per_shard, help="per shard")
    parser.add_argument("--image-bytes", type=int, default=Size.mean_image_bytes, help="mean")
    parser.add_argument("--dialects", nargs="+", default=["pax", "ustar"], choices=["pax", "ustar"])
    return parser.parse_args()


def _ways(source: Path, data: Path) -> dict[str, tuple[list[str], Path]]:
    """Name to the command and its output folder; the copy comes after what it copies."""

    def shardwright(output: Path, json_ids: str) -> list[str]:
        shards = ["--samples-per-shard", str(SAMPLES_PER_SHARD)]
        words = [str(source), str(output), "--where", WHERE, *shards, json_ids]
        return [sys.executable, "-m", "shardwright", "export", *words]

    ours, plain, nemo, copy = (data / f"out_{name}" for name in ("ours", "plain", "nemo", "copy"))
    peer = [sys.executable, str(Path(__file__).with_name("peers.py"))]
    return {
        "shardwright, `--json-id`": (shardwright(ours, "--json-id"), ours),
        "shardwright, `--no-json-id`": (shardwright(plain, "--no-json-id"), plain),
        NEMO: ([*peer, str(source), str(nemo), str(SAMPLES_PER_SHARD)], nemo),
        COPY: (["cp", "-r", str(ours), str(copy)], copy),
    }


def _tables(dataset: Path) -> Path:
    return dataset.with_name(f"{dataset.name}_tables")


def _warm(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            while file.read(1 << 23):
                pass


def _check_equal(outputs: Sequence[Path]) -> int:
    """Return how many samples each output holds; all hold the same ones, with the same images."""
    first, *others = (_contents(output) for output in outputs)
    for output, found in zip(outputs[1:], others, strict=True):
        if found != first:
            raise SystemExit(f"{output} and {outputs[0]} hold different samples.")
    return len(first[0])


def _contents(output: Path) -> tuple[set[str], Counter[str], Counter[str]]:
    """Give the source ids by the Parquet files, and members and bytes per ext by the tars.

    The JSON's bytes are left out: the ways differ in the id that they leave in it.
    """
    ids: list[str] = []
    for sidecar in sorted(output.glob("*.parquet")):
        ids += pq.read_table(sidecar, columns=["source_key"])["source_key"].to_pylist()
    if len(set(ids)) != len(ids):
        raise SystemExit(f"{output} holds a sample twice.")
    members: Counter[str] = Counter()
    payload_bytes: Counter[str] = Counter()
    for shard in sorted(output.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                ext = member.name.partition(".")[2]
                members[ext] += 1
                payload_bytes[ext] += 0 if ext == "json" else member.size
    return set(ids), members, payload_bytes


def _heading(runs_of_each: int) -> list[str]:
    return [
        "# Export, timed",
        "",
        f"- Command: `{' '.join(['python', 'tests/benchmarks/export.py', *_options()])}`",
        f"- Date: {dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}. Machine: {_machine()}.",
        f"- Whole processes, cold, in turn, runs of each: {runs_of_each}; session start and index "
        "included; source in the page cache; the disk at rest before each, and nothing synced within it.",
        "",
    ]


def _section(size: Size, kept: int, runs: dict[str, list[Run]]) -> list[str]:
    seconds = {name: [run.seconds for run in done] for name, done in runs.items()}
    median = {name: statistics.median(times) for name, times in seconds.items()}
    lines = [
        f"## {DIALECTS[size.dialect]}",
        "",
        f"{size.samples:,} samples in {size.shards} shards, images of {size.mean_image_bytes:,} bytes on "
        f"average; `{WHERE}` keeps {kept:,} of them, written as shards of {SAMPLES_PER_SHARD:,}. Every way "
        "kept the same samples.",
        "",
        "| way | median s | min-max s | x NeMo's way | Python worker MiB | JVM MiB | other MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, done in runs.items():
        cells = [
            name,
            f"{median[name]:.2f}",
            f"{min(seconds[name]):.2f}-{max(seconds[name]):.2f}",
            f"{median[name] / median[NEMO]:.2f}",
            *(_peak([getattr(run, kind) for run in done]) for kind in MEMORY),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _peak(mib: Sequence[float]) -> str:
    return f"{max(mib):.0f}" if max(mib) else "-"


def _options() -> list[str]:
    """Give the options as typed, but for the place of the data, which is this machine's own."""
    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if word == "--data":
            next(words)
        elif not word.startswith("--data="):
            kept.append(word)
    return kept


def _machine() -> str:
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores of {processor}, {memory_gib:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
