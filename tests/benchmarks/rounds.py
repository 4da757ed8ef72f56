"""Run whole processes in turn, round after round, each on a disk at rest and with nothing left of its last run."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from compare import samples_of
from processes import Run, timed

_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
# A virtual machine gives memory that was freed back to its host after some seconds, and takes it anew at some seconds a
# GB: who writes right behind a delete would be spared what everybody else pays.
_REST_SECONDS = 15


@dataclass(frozen=True)
class Way:
    """A command, the folder that it reads and the folder that it writes samples to, where it does either.

    ``leftovers`` are folders that it makes besides; the output of one that ``is_kept`` stays for ways behind it.
    """

    name: str
    command: Sequence[str]
    reads: Path | None = None
    output: Path | None = None
    leftovers: tuple[Path, ...] = ()
    is_kept: bool = False


def run_rounds(ways: Sequence[Way], rounds: int, log: Path, *, is_cold: bool) -> tuple[dict[str, list[Run]], int]:
    """Give each way's runs by its name, and how many samples each output had in the first round.

    Raises:
        SystemExit: A way failed, or two kept different samples.
    """
    console = Console(stderr=True)
    runs: dict[str, list[Run]] = {way.name: [] for way in ways}
    expected: frozenset[bytes] | None = None
    for number in range(rounds):
        for way in ways:
            _remove(way)
            if is_cold:
                drop_page_cache()
            elif way.reads:
                _warm(way.reads)
            time.sleep(_REST_SECONDS)
            run = timed(way.command, log)
            runs[way.name].append(run)
            console.print(f"round {number + 1} of {rounds}: {way.name}, {run.seconds:.2f} s", highlight=False)
            if way.output and number == 0:
                found = samples_of(way.output)
                expected = found if expected is None else expected
                if found != expected:
                    raise SystemExit(f"{way.name} kept other samples than the ways before it: {way.output}")
            if not way.is_kept:
                _remove(way)
    return runs, len(expected or ())


def drop_page_cache() -> None:
    """Have the kernel forget all files that it holds in memory.

    Raises:
        SystemExit: This process may not do that.
    """
    os.sync()  # what is not written out stays in memory
    try:
        _DROP_CACHES.write_text("3\n", encoding="ascii")
    except OSError as error:
        raise SystemExit(f"--cold writes 3 to {_DROP_CACHES}, which only root can: {error.strerror}.") from None


def _remove(way: Way) -> None:
    for folder in (*way.leftovers, *([way.output] if way.output else [])):
        shutil.rmtree(folder, ignore_errors=True)


def _warm(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 23):
                    pass
