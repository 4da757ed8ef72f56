"""Damage thousands of tars in every way and hold the tar reader to its law: nothing is lost in silence.

Run: ``make fuzz ARGS="[--tars N] [--seed N] [--keep FOLDER]"``
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import get_args
from unittest import mock

from hypothesis import HealthCheck, Phase, given, seed, settings

from shardwright.format import members
from tests.fuzz.damage import DAMAGES
from tests.fuzz.law import KEPT, Verdict, judge, scanned
from tests.fuzz.structures import Tar, tars

BATCH_TARS = 1_000
DAMAGES_PER_TAR = 10
MAX_GROWTH_MIB = 64


def main() -> int:
    """Fuzz, print one line for every tar that broke the law and one for all, and give the exit code."""
    args = _arguments()
    scanned(b"")  # what is loaded once is not what a tar takes
    tracemalloc.start()  # once: each start takes some memory for good
    begun, memory = time.monotonic(), _peak_mib()
    verdicts = _fuzz(args.tars, args.seed, args.keep)
    counts = Counter(verdict for _, verdict in verdicts.elements())
    peak = _peak_mib()
    found = ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in get_args(Verdict))
    print(
        f"fuzz: {args.tars:,} damaged tars ({len(DAMAGES)} kinds, seed {args.seed}): {found}, "
        f"peak {peak} MiB, {time.monotonic() - begun:.0f} s"
    )
    if args.kinds:
        for (kind, verdict), count in sorted(verdicts.items()):
            print(f"{kind:32}{verdict:20}{count:8,}")
    if peak - memory > MAX_GROWTH_MIB:
        print(f"fuzz: memory grew by {peak - memory} MiB, {MAX_GROWTH_MIB} are allowed")
        return 1
    return int(not set(counts) <= set(KEPT))


def _fuzz(total: int, first_seed: int, folder: Path) -> Counter[tuple[str, Verdict]]:
    """Count the verdicts by kind of damage; tars that break the law are kept as files."""
    verdicts: Counter[tuple[str, Verdict]] = Counter()
    kinds = sorted(DAMAGES)
    for begin in range(0, total, BATCH_TARS):
        end = min(begin + BATCH_TARS, total)
        for number, tar in zip(range(begin, end), _tars(end - begin, f"{first_seed}/{begin}"), strict=True):
            rng = Random(f"{first_seed}/{number}")
            kind = rng.choice(kinds)
            data = DAMAGES[kind](tar, rng)
            # Few tars here have thousands of headers: have checksums verified after every two now and then.
            with mock.patch.object(members, "_CHECK_ROWS", rng.choice((2, 8_192))):
                verdict = judge(tar, data)
            verdicts[kind, verdict] += 1
            if verdict not in KEPT:
                path = folder / f"fuzz-{first_seed}-{number}.tar"
                path.write_bytes(data)
                print(f"{path}: {kind}: {verdict}")
    return verdicts


def _tars(count: int, name: str) -> Iterator[Tar]:
    """Draw sound tars, each given out ten times; Hypothesis remembers a batch's draws until it ends."""
    drawn: list[Tar] = []

    @seed(name)
    @settings(
        max_examples=-(-count // DAMAGES_PER_TAR),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(tars())
    def draw(tar: Tar) -> None:
        drawn.append(tar)

    draw()
    return islice(cycle(drawn), count)


def _peak_mib() -> int:
    # Not getrusage: its peak counts the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak[1]) >> 10 if peak else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tars", type=int, default=10_000, help="how many damaged tars")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same tars")
    parser.add_argument("--keep", type=Path, default=Path(), help="where tars that break the law are put")
    parser.add_argument("--kinds", action="store_true", help="also count by kind of damage")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
