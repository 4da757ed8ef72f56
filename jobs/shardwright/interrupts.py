"""Signals: what is under way ends at once, and the process says so by its exit code."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SECONDS_BETWEEN = 0.2
_heard: list[int] = []


class Interrupted(BaseException):
    """A signal asked the process to stop; everything above a verb unwinds."""


def exit_code() -> int | None:
    """Give the code with which a process ends that was asked to stop; from then on nothing interrupts its end."""
    if not _heard:
        return None
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    return 128 + _heard[0]


def stop_on_signals(spark: SparkSession | None = None) -> None:
    """Have signals cancel what Spark does, and unwind."""
    for number in _SIGNALS:
        signal.signal(number, partial(_stop, spark))


@contextmanager
def signals_later() -> Iterator[None]:
    """Have signals heard when the block ends: a JVM that is interrupted while it starts would live on."""
    heard: list[int] = []
    for number in _SIGNALS:
        signal.signal(number, lambda sent, _: heard.append(sent))
    yield
    stop_on_signals()
    if heard:
        signal.raise_signal(heard[0])


def _stop(spark: SparkSession | None, number: int, frame: FrameType | None) -> None:
    _heard.append(number)
    waits = _is_in_jvm(frame)
    # The JVM answers a thread's calls one by one: this thread's would wait for the job that is to be cancelled.
    threading.Thread(target=_cancel, args=(spark, number, waits), daemon=True).start()
    if not waits:
        raise Interrupted(number)


def _cancel(spark: SparkSession | None, number: int, is_to_repeat: bool) -> None:
    if spark is not None:
        from shardwright.store.session import cancel_jobs

        with suppress(Exception):  # of a JVM that has ended, nothing is left to cancel
            cancel_jobs(spark)
    if is_to_repeat:
        # A call that breaks off in the midst leaves its answer to the next one. So it is waited for, and it may have
        # been no job, or the last of one.
        time.sleep(_SECONDS_BETWEEN)
        os.kill(os.getpid(), number)


def _is_in_jvm(frame: FrameType | None) -> bool:
    """Tell whether a thread waits for an answer of the JVM."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("py4j."):
            return True
        frame = frame.f_back
    return False
