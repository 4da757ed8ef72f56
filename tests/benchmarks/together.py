"""Run one function in several processes that begin at once, and time them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from typing import Any

# What a process does with its share; it waits at the barrier once it is ready.
Work = Callable[..., None]


def seconds_together(work: Work, shares: Sequence[tuple[Any, ...]]) -> float:
    """Give each share and a barrier to a process; count from when all are ready until the last one is done.

    Raises:
        SystemExit: One failed.
    """
    context = multiprocessing.get_context("spawn")
    barrier: Any = context.Barrier(len(shares) + 1)
    processes = [context.Process(target=_begin, args=(work, share, barrier)) for share in shares]
    for process in processes:
        process.start()
    with suppress(BrokenBarrierError):
        # One that was killed can't say so: the others go on, and the exit codes tell.
        barrier.wait(timeout=600)
    start = time.perf_counter()
    for process in processes:
        process.join()
    seconds = time.perf_counter() - start
    if any(process.exitcode for process in processes):
        raise SystemExit(f"Processes ended with {[process.exitcode for process in processes]}.")
    return seconds


def _begin(work: Work, share: tuple[Any, ...], barrier: Barrier) -> None:
    try:
        work(*share, barrier)
    except BaseException:
        barrier.abort()  # the others would wait for it
        raise
