"""Measure the scan of headers: members per second on one core, and how much of a tar it reads."""

from __future__ import annotations

from pathlib import Path

from dataset import Size, ensure_dataset
from processes import timed
from report import Figure, spread, table
from ways import script

_LARGE = 1_000_000
_LARGE_SAMPLES = 500


def measure_scan(data: Path, samples: int, rounds: int) -> tuple[list[Figure], list[str]]:
    """Give what is compared with targets, and the lines that show all of it.

    Args:
        samples: In each shard.
    """
    usual = [Size(2, samples, dialect=dialect) for dialect in ("pax", "ustar")]
    large = [Size(1, min(samples, _LARGE_SAMPLES), _LARGE, dialect) for dialect in ("pax", "ustar")]
    figures, rows = [], []
    for size in (*usual, *large):
        command = script("headers.py", ensure_dataset(data, size), rounds)
        found = timed(command, data / "last_run.log").printed()
        name = f"{size.dialect}, images of {size.mean_image_bytes:,} bytes"
        rates, read, headers = found["members_per_second"], 100 * found["read"], 100 * found["headers"]
        if size in usual:
            figures.append(Figure(f"header scan, {name}", rates, 300_000, "members/s and core", digits=0))
        figures.append(Figure(f"bytes that it reads, {name}", [read], 2, "% of the tar", is_least=False))
        rows.append([name, *spread(rates, 0), f"{read:.2f}", f"{headers:.2f}"])
    header = ["source", "median members/s", "min-max members/s", "% of bytes read", "% of bytes that are headers"]
    return figures, [
        "## Scan of headers",
        "",
        "In one process on one core, source in the page cache. Of a sample three members, so three headers, or with "
        "PAX nine blocks of 512 bytes; all that is no payload counts as header.",
        "",
        *table(header, rows),
    ]
