"""Time a process and watch the memory of all its descendants, read from Linux's ``/proc``."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.1
_LONGEST_END_SECONDS = 30.0


@dataclass(frozen=True)
class Run:
    """What one process took; memory in MiB, each the peak of the largest process of its kind."""

    seconds: float
    worker_mib: float  # Spark's Python workers
    jvm_mib: float
    other_mib: float  # the process itself and whatever else it started
    started: float  # as time.time() has it
    output: str

    def printed(self) -> dict[str, Any]:
        """Read the last line that is JSON; Spark and logs write around it."""
        lines = [line for line in self.output.splitlines() if line.startswith("{")]
        return dict(json.loads(lines[-1]))


@dataclass
class _Watch:
    """Peaks of a process tree; the kernel keeps each process's own, so polling may be slow."""

    root: int
    peak_kib: dict[str, int] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    done: threading.Event = field(default_factory=threading.Event)

    def poll(self) -> None:
        while not self.done.wait(_POLL_SECONDS):
            for pid in [self.root, *_descendants(self.root)]:
                self.seen.add(pid)
                kind = _kind(pid)
                self.peak_kib[kind] = max(self.peak_kib.get(kind, 0), _peak_kib(pid))

    def peak_mib(self, kind: str) -> float:
        return self.peak_kib.get(kind, 0) / 1024


def timed(command: Sequence[str], log: Path) -> Run:
    """Run ``command`` to its end; its output goes to ``log``. What it leaves running is waited for, untimed.

    Raises:
        SystemExit: It failed; the message ends with the log's last lines.
    """
    os.sync()  # else the dirty pages of the run before are written out in this one's time
    with log.open("wb") as sink:
        started, start = time.time(), time.perf_counter()
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
        watch = _Watch(process.pid)
        poller = threading.Thread(target=watch.poll, daemon=True)
        poller.start()
        exit_code = process.wait()
        seconds = time.perf_counter() - start
        watch.done.set()
        poller.join()
    output = log.read_text(errors="replace")
    if exit_code:
        tail = "\n".join(output.splitlines()[-30:])
        raise SystemExit(f"{' '.join(command)} ended with {exit_code}:\n{tail}")
    _wait_for_end(watch.seen)
    worker, jvm, other = map(watch.peak_mib, ("worker", "jvm", "other"))
    return Run(seconds, worker, jvm, other, started, output)


def _wait_for_end(pids: Collection[int]) -> None:
    """Wait for what a process left running: a JVM that ends takes time from whatever runs next."""
    last = time.monotonic() + _LONGEST_END_SECONDS
    while time.monotonic() < last and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(_POLL_SECONDS)


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # The command in parentheses may hold spaces: fields count from the last parenthesis.
            fields = _read(entry / "stat").rpartition(")")[2].split()
            if fields:
                yield int(entry.name), int(fields[1])


def _kind(pid: int) -> str:
    command = _read(Path(f"/proc/{pid}/cmdline")).split("\0")
    if command[0].endswith("java"):
        return "jvm"
    return "worker" if "shardwright.store.daemon" in command else "other"


def _peak_kib(pid: int) -> int:
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def _read(path: Path) -> str:
    """Return a file of ``/proc``, empty where the process has ended meanwhile."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
