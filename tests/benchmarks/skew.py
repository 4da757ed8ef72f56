"""Measure what is uneven or many: one huge shard among small ones, huge shards written, and thousands of tiny ones.

Each is measured at a tenth of its size too: what grows with it shows in the difference. A huge shard's payloads are
holes, which take no room on a disk; what is written of them takes all of it, and goes before the next run.

Run: ``python tests/benchmarks/skew.py [--big-gb N] [--shards N] [--data FOLDER]``
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from processes import Run, timed
from report import RESULTS, heading, table, write_section
from shardwright.store.dataset import list_dataset
from ways import script, tables_of

PAYLOAD_BYTES, TINY_BYTES = 50_000, 1_000
_SMALL_SHARDS, _SMALL_SAMPLES = 20, 10


class Measured(NamedTuple):
    """An export of a dataset, and the check of what it wrote; `found` is what phases.py printed."""

    source: str
    output: str
    unit_count: int  # of what a source is measured by: samples in the huge shard, or shards
    list_seconds: float
    export: Run
    found: dict[str, Any]
    manifest_bytes: int
    verify: Run

    def seconds_between(self, first: str, last: str) -> float:
        """Give the time between two lines of the log."""
        return self._when(last) - self._when(first)

    def _when(self, text: str) -> float:
        return next(float(when) for when, line in self.found["lines"] if line.startswith(text))

    @property
    def index_seconds(self) -> float:
        """What the log says of the scan of headers."""
        said = next(line for _, line in self.found["lines"] if line.startswith("index: scanned"))
        return float(said.split(" in ")[1].split()[0])

    @property
    def write_tasks(self) -> int:
        """Tasks of the job that wrote shards, its shuffle's too: the one that ended last before it was said."""
        wrote = self._when("export: wrote")
        return int(max((job for job in self.found["jobs"] if job["end"] <= wrote), key=lambda job: job["end"])["tasks"])


def main() -> None:
    """Measure, and replace the section of RESULTS.md."""
    parser = argparse.ArgumentParser(description="Measure one huge shard among small ones, and thousands of tiny ones.")
    parser.add_argument("--big-gb", type=float, default=2, help="size of the huge shard; as much must be free")
    parser.add_argument("--shards", type=int, default=2_000, help="tiny shards, of one sample each")
    default = Path(tempfile.gettempdir()) / "shardwright-benchmark"
    parser.add_argument("--data", type=Path, default=default, help="where all of it lies")
    args = parser.parse_args()
    args.data.mkdir(parents=True, exist_ok=True)
    samples = int(args.big_gb * 1e9 / PAYLOAD_BYTES)
    with tempfile.TemporaryDirectory(prefix="skew-", dir=args.data) as name:
        huge = [each for count in (samples // 10, samples) for each in _measure_huge(Path(name), count)]
        many = [each for count in (args.shards // 10, args.shards) for each in _measure_many(Path(name), count)]
    text = [*heading("skew.py"), *_intro(), *_section("One huge shard among small ones", "sample of it", huge)]
    text += _section("Tiny shards", "source shard", many)
    write_section("Skew and many shards", text)
    print("\n".join(text))
    print(f"Written to {RESULTS}.")


def _measure_huge(folder: Path, samples: int) -> list[Measured]:
    """Reshard a huge shard and small ones into two huge shards and a hundred."""

    def make(source: Path) -> None:
        write_holes(source, 0, samples, PAYLOAD_BYTES)
        for shard in range(_SMALL_SHARDS):
            write_holes(source, shard + 1, _SMALL_SAMPLES, PAYLOAD_BYTES)

    name = f"{samples * PAYLOAD_BYTES / 1e9:g} GB among {_SMALL_SHARDS} of {_SMALL_SAMPLES} samples"
    total = samples + _SMALL_SHARDS * _SMALL_SAMPLES
    return _measure(folder, make, name, samples, [-(-total // 2), -(-total // 100)])


def _measure_many(folder: Path, shards: int) -> list[Measured]:
    """Reshard shards of one sample into one shard, and into as many."""

    def make(source: Path) -> None:
        for shard in range(shards):
            write_holes(source, shard, 1, TINY_BYTES)

    return _measure(folder, make, f"{shards:,} shards of one sample", shards, [shards, 1])


def _measure(
    folder: Path, make: Callable[[Path], None], name: str, count: int, samples_per_shard: Sequence[int]
) -> list[Measured]:
    source = folder / "source"
    source.mkdir()
    make(source)
    measured = [_reshard(source, folder / "out", name, count, size) for size in samples_per_shard]
    shutil.rmtree(source)
    return measured


def _reshard(source: Path, output: Path, name: str, count: int, samples_per_shard: int) -> Measured:
    """Export all samples, index included, check the output, and leave nothing of either."""
    started = time.perf_counter()
    list_dataset(str(source))
    listed = time.perf_counter() - started
    log = output.with_name("last_run.log")
    done = timed(script("phases.py", source, output, "true", samples_per_shard), log)
    found = done.printed()
    checked = timed([sys.executable, "-m", "shardwright", "verify", str(output), "--json"], log)
    result = checked.printed()
    written = f"{result['shards']:,} of {samples_per_shard:,}, {result['bytes'] / 1e9:.2f} GB"
    manifest_bytes = (output / "manifest.json").stat().st_size
    for path in (output, tables_of(output), tables_of(source)):
        shutil.rmtree(path)
    print(f"{name}: {written}, {done.seconds:.1f} s", file=sys.stderr)
    return Measured(name, written, count, listed, done, found, manifest_bytes, checked)


def write_holes(folder: Path, shard: int, samples: int, payload_bytes: int) -> None:
    """Write a shard whose payloads are holes, and its Parquet file."""
    keys = [f"{shard:06d}_{sample:07d}" for sample in range(samples)]
    step = (1 + -(-payload_bytes // tarfile.BLOCKSIZE)) * tarfile.BLOCKSIZE
    with (folder / f"{shard:06d}.tar").open("wb") as file:
        for number, key in enumerate(keys):
            file.seek(number * step)
            header = tarfile.TarInfo(f"{key}.jpg")
            header.size = payload_bytes
            file.write(header.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(samples * step + 2 * tarfile.BLOCKSIZE)
    pq.write_table(pa.table({"key": keys, "score": [0.5] * samples}), folder / f"{shard:06d}.parquet")


def _intro() -> list[str]:
    return [
        "- Each is a whole process that indexes, plans and writes all samples, once, with the tables anew. Payloads of "
        f"the huge shard have {PAYLOAD_BYTES:,} bytes, of tiny ones {TINY_BYTES:,}; they are holes, which no disk is "
        "read for. Memory is the peak of the largest process of its kind. A JVM takes what its heap may have before it "
        "collects garbage, and its heap may have what this machine allows.",
        "",
    ]


def _section(title: str, unit: str, measured: Sequence[Measured]) -> list[str]:
    seconds = [
        [
            each.source,
            each.output,
            f"{each.list_seconds:.2f}",
            f"{each.index_seconds:.1f}",
            f"{each.seconds_between('index: scanned', 'export: planned'):.1f}",
            f"{each.seconds_between('export: planned', 'export: wrote'):.1f}",
            f"{each.seconds_between('export: wrote', 'export: committed'):.1f}",
            f"{each.export.seconds:.1f}",
            f"{each.verify.seconds:.1f}",
        ]
        for each in measured
    ]
    sizes = [
        [
            each.source,
            each.output,
            f"{len(each.found['jobs'])}",
            f"{each.write_tasks:,}",
            *(f"{mib:,.0f}" for mib in (each.export.worker_mib, each.export.other_mib, each.export.jvm_mib)),
            f"{each.manifest_bytes / 1e6:.2f}",
            *(f"{mib:,.0f}" for mib in (each.verify.worker_mib, each.verify.other_mib, each.verify.jvm_mib)),
        ]
        for each in measured
    ]
    heads = [
        "source",
        "output",
        "Spark jobs",
        "tasks of the job that wrote",
        "Python worker MiB",
        "driver's Python MiB",
    ]
    return [
        f"## {title}",
        "",
        *table(
            ["source", "output", "list s", "index s", "plan s", "write s", "commit s", "export s", "verify s"], seconds
        ),
        *table([*heads, "JVM MiB", "manifest.json MB", "verify: worker MiB", "its driver", "its JVM"], sizes),
        *_growth(unit, measured),
        "",
    ]


def _growth(unit: str, measured: Sequence[Measured]) -> list[str]:
    """Say what memory grew by from a tenth to the whole, in bytes for each that came on top."""
    half = len(measured) // 2
    lines = []
    for small, large in zip(measured[:half], measured[half:], strict=True):
        more = large.unit_count - small.unit_count
        grown = {
            "a Python worker": large.export.worker_mib - small.export.worker_mib,
            "the driver's Python": large.export.other_mib - small.export.other_mib,
            "the JVM": large.export.jvm_mib - small.export.jvm_mib,
        }
        text = ", ".join(f"{name} by {mib:,.0f} MiB ({mib * 2**20 / more:,.0f} bytes)" for name, mib in grown.items())
        lines.append(f"- From {small.output} to {large.output}, and for each {unit} more: {text}.")
    return lines


if __name__ == "__main__":
    main()
