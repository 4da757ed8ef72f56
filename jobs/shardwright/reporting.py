"""What a run tells: log lines, progress, the row of a snapshot."""

from __future__ import annotations

import json
import logging
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shardwright.errors import RunError
from shardwright.files import list_names

_LOG = logging.getLogger("shardwright")
_SECONDS_BETWEEN_LINES, _SECONDS_BETWEEN_LOOKS = 30.0, 0.2


def log(line: str) -> None:
    """Write one line of the run's log: a phase with its counts and seconds."""
    _LOG.info(line)


def warn(line: str) -> None:
    """Write one line that a user should act on, though the run goes on."""
    _LOG.warning(line)


def tool_versions() -> dict[str, str]:
    """Give the versions that an output depends on."""
    versions = {"python": platform.python_version()}
    for package in ("shardwright", "pyspark", "delta-spark", "pyarrow", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # clusters bring some of them in other ways
            continue
    return versions


def utc(seconds: float) -> datetime:
    """Give a time as tables hold it."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def snapshot_row(*, operation: str, started: float, settings: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """Give a row of ``snapshots``, committed now; structures become JSON."""
    row = {
        "operation": operation,
        "settings": settings,
        "tool_versions": tool_versions(),
        "started_at": utc(started),
        "committed_at": utc(time.time()),
        **values,
    }
    return {
        name: json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
        for name, value in row.items()
    }


@contextmanager
def progress(label: str, total: int, done: Callable[[], int]) -> Iterator[None]:
    """Show how far a phase is: a bar on a terminal, a line now and then in a log.

    Args:
        done: Called from another thread; counts what is finished, of ``total``.
    """
    finished = threading.Event()
    console = Console(stderr=True)
    watcher = threading.Thread(
        target=_show_bar if console.is_terminal else _write_lines,
        args=(label, total, done, finished, console),
        daemon=True,
    )
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _show_bar(label: str, total: int, done: Callable[[], int], finished: threading.Event, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)
        pause = _SECONDS_BETWEEN_LOOKS
        while not finished.wait(pause):
            started = time.monotonic()
            # What is only shown stops nothing.
            with suppress(RunError):
                bar.update(task, completed=done())
            # A store is asked for pages of names: most of the time it is left alone.
            pause = max(_SECONDS_BETWEEN_LOOKS, 20 * (time.monotonic() - started))


def _write_lines(label: str, total: int, done: Callable[[], int], finished: threading.Event, _: Console) -> None:
    while not finished.wait(_SECONDS_BETWEEN_LINES):
        with suppress(RunError):
            log(f"{label}: {done():,} of {total:,} shards")


def count_shards(output_root: str) -> int:
    """Count the shards that are complete in an output."""
    return sum(1 for name in list_names(output_root) if name.endswith(".parquet"))
