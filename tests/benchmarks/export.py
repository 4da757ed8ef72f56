"""Measure everything that shardwright promises about speed and memory, and write it to RESULTS.md.

Generates what data is missing, runs us and the peers in turn as whole processes, and sets each figure against its
target. A way that kept other samples than the rest ends the run.

Run: ``python tests/benchmarks/export.py [--size-gb N] [--runs N] [--cold] [--dialects pax ustar] [--data FOLDER]``
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from dataset import Size
from large import measure_large
from report import RESULTS, Figure, heading, target_table, write_section
from rounds import drop_page_cache
from scanning import measure_scan
from small import measure_small
from ways import BARE

_SHARD_GB = Size.samples_per_shard * Size.mean_image_bytes / 1e9


def main() -> None:
    """Measure, and replace the section of RESULTS.md."""
    args = _arguments()
    if args.cold:
        drop_page_cache()  # now rather than once the data is there: it may be refused
    figures: list[Figure] = []
    lines: list[str] = []
    sizes = [Size(args.shards, args.samples, args.image_bytes, dialect) for dialect in args.dialects]
    measured = [measure_large(size, args.data, args.runs, is_cold=args.cold) for size in sizes]
    measured.append(measure_small(args.data, args.runs, is_cold=args.cold))
    measured.append(measure_scan(args.data, args.samples, args.runs))
    for found, shown in measured:
        figures += found
        lines += shown
    text = [*heading("export.py"), _conditions(args.runs, is_cold=args.cold), ""]
    text += ["## Targets", "", *target_table(figures, sizes[0].image_gb), *lines]
    write_section(f"Export, timed: {sizes[0].image_gb:.2g} GB, page cache {'cold' if args.cold else 'warm'}", text)
    print("\n".join(text))
    print(f"Written to {RESULTS}.")


def _conditions(rounds: int, *, is_cold: bool) -> str:
    cache = "nothing" if is_cold else "what it reads"
    return (
        f"- Whole processes, in turn, rounds: {rounds}; session start and index are included; {cache} is in the page "
        "cache when one starts, the disk is at rest, and nothing is synced while it runs. A ratio is of two times "
        "of one round.\n"
        f"- `{BARE}` is plain pyspark with Delta's jars: Spark's own settings but for the web page, which is off. Ours "
        "starts with settings of its own and an archive of loaded classes. Neither waits for Spark to stop."
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure shardwright against its targets and its peers.")
    default = Path(tempfile.gettempdir()) / "shardwright-benchmark"
    parser.add_argument("--data", type=Path, default=default, help="where all of it lies")
    parser.add_argument("--runs", type=int, default=3, help="rounds in which each way runs once")
    parser.add_argument("--size-gb", type=float, default=2, help="size of the source's images, of default size")
    parser.add_argument("--shards", type=int, help="instead of --size-gb")
    parser.add_argument("--samples", type=int, default=Size.samples_per_shard, help="per shard")
    parser.add_argument("--image-bytes", type=int, default=Size.mean_image_bytes, help="mean")
    parser.add_argument("--dialects", nargs="+", default=["pax"], choices=["pax", "ustar"])
    parser.add_argument("--cold", action="store_true", help="drop the page cache before each process; needs root")
    args = parser.parse_args()
    args.shards = args.shards or max(1, round(args.size_gb / _SHARD_GB))
    return args


if __name__ == "__main__":
    main()
