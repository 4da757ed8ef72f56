"""Time a process and watch the memory of all its descendants, read from Linux's ``/proc``."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Run:
    """What one process took; memory in MiB, each the peak of the largest process of its kind."""

    seconds: float
    worker_mib: float  # Spark's Python workers
    jvm_mib: float
    other_mib: float  # the process itself and whatever else it started


@dataclass
class _Watch:
    """Peaks of a process tree; the kernel keeps each process's own, so polling may be slow."""

    root: int
    peak_kib: dict[str, int] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)

    def poll(self) -> None:
        while not self.done.wait(_POLL_SECONDS):
            for pid in [self.root, *_descendants(self.root)]:
                kind = _kind(pid)
                self.peak_kib[kind] = max(self.peak_kib.get(kind, 0), _peak_kib(pid))

    def peak_mib(self, kind: str) -> float:
        return self.peak_kib.get(kind, 0) / 1024


def timed(command: Sequence[str], log: Path) -> Run:
    """Run ``command`` to its end; its output goes to ``log``.

    Raises:
        SystemExit: It failed; the message ends with the log's last lines.
    """
    os.sync()  # else the dirty pages of the run before are written out in this one's time
    with log.open("wb") as sink:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
        watch = _Watch(process.pid)
        poller = threading.Thread(target=watch.poll, daemon=True)
        poller.start()
        exit_code = process.wait()
        seconds = time.perf_counter() - start
        watch.done.set()
        poller.join()
    if exit_code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise SystemExit(f"{' '.join(command)} ended with {exit_code}:\n{tail}")
    return Run(seconds, watch.peak_mib("worker"), watch.peak_mib("jvm"), watch.peak_mib("other"))


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
