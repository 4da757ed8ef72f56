"""The law of the tar reader: it reports damage, or it finds what the tar holds; nothing is lost in silence."""

from __future__ import annotations

import io
import re
import signal
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from types import FrameType
from typing import Literal, NamedTuple

from shardwright.format.scan import scan_tar
from tests.builders import TarInMemory
from tests.fuzz.structures import BLOCK, File, Tar, is_sealed, seal

LIMIT_SECONDS = 5.0
# What a scan may allocate: its two windows of 1 MiB, an extension header's text of 1 MiB, and what it says of them.
LIMIT_BYTES = 8 << 20

Verdict = Literal["reported", "provably equal", "another sound tar", "lost", "invented", "crashed", "hung", "greedy"]
KEPT: tuple[Verdict, ...] = ("reported", "provably equal", "another sound tar")
_SAMPLE_NAME = re.compile(r"(?:\./)*(?!__[^/]*__/)(?P<key>(?:.*/)?[^/.]+)\.(?P<ext>[^/]*)", re.S)
_UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f]|^/|(?:^|/)\.\.(?:/|$)")


class Reading(NamedTuple):
    """What a reader finds: the members of sound samples, the keys of others, and why it stopped if it did."""

    members: list[tuple[str, bytes]]
    unsound: frozenset[str]
    damage: str | None = None


Reader = Callable[[bytes], Reading]


def scanned(data: bytes) -> Reading:
    """Read a tar with the reader under test."""
    index = scan_tar(TarInMemory(data), "fuzz.tar")
    unsound = frozenset(problem.key for problem in index.problems if problem.key is not None)
    members = [
        (f"{row['key']}.{ext}", data[offset : offset + size])
        for row in index.samples.to_pylist()
        if row["key"] not in unsound
        for ext, offset, size in zip(row["member_exts"], row["payload_offsets"], row["payload_bytes"], strict=True)
    ]
    return Reading(members, unsound, next((each.reason for each in index.problems if each.key is None), None))


def expected(files: list[File]) -> Reading:
    """Say what a reader is to find in a tar of these files."""
    groups: list[tuple[str, list[tuple[str, bytes, bool]]]] = []
    named = [(name.decode(errors="backslashreplace"), is_text(name), payload) for name, payload in files]
    matched = [(match, is_good, payload) for name, is_good, payload in named if (match := _SAMPLE_NAME.fullmatch(name))]
    for key, group in groupby(matched, key=lambda item: item[0]["key"]):
        groups.append((key, [(match["ext"], payload, is_good) for match, is_good, payload in group]))
    keys = [key for key, _ in groups]
    unsound = {
        key
        for key, members in groups
        if keys.count(key) > 1
        or len({ext.lower() for ext, _, _ in members}) < len(members)
        or not all(is_good for _, _, is_good in members)
    }
    sound = [(f"{key}.{ext}", payload) for key, group in groups if key not in unsound for ext, payload, _ in group]
    return Reading(sound, frozenset(unsound))


def is_text(name: bytes) -> bool:
    """Tell whether a name is UTF-8 that is safe to write and to print."""
    try:
        return not _UNSAFE_NAME.search(name.decode())
    except UnicodeDecodeError:
        return False


class _Info(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Info:
        # tarfile stops at odd owners, times and devices, where others read on; and it takes for ustar's prefix
        # what V7 and GNU headers hold there.
        parts = [(100, 124), (136, 148), (329, 345), (345, 345 if buf[257:263] == b"ustar\0" else 500)]
        if is_sealed(buf):
            block = bytearray(buf)
            for begin, end in parts:
                block[begin:end] = bytes(end - begin)
            buf = seal(block)
        return super().frombuf(buf, encoding, errors)


def as_tarfile_reads(data: bytes) -> tuple[list[File], bool]:
    """Read a tar with Python's tarfile: its regular files, and whether it read up to sound end blocks.

    tarfile passes over a damaged header as if the tar ended there, so the end blocks are looked at here.
    """
    files: list[File] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", tarinfo=_Info) as tar:
            # A negative size makes tarfile go in circles.
            for info in islice(tar, len(data) // BLOCK + 1):
                payload = data[info.offset_data : info.offset_data + info.size] if info.size >= 0 else b""
                if info.isreg() and len(payload) == info.size:
                    files.append((info.name.encode("utf-8", "surrogateescape"), payload))
            rest = data[tar.offset :] if tar.offset >= 0 else b""
    except (tarfile.TarError, ValueError, OverflowError):
        return files, False
    return files, len(rest) >= 2 * BLOCK and rest.count(0) == len(rest)


def judge(tar: Tar, data: bytes, read: Reader = scanned) -> Verdict:
    """Hold what a reader makes of a tar's damaged bytes against the tar and against tarfile.

    Returns:
        ``reported``: damage was, and what stands before it is right. ``provably equal``: the reading is the tar's.
        ``another sound tar``: the damage made one, and the reading is tarfile's. All others break the law.
    """
    try:
        with _bounded() as peak:
            reading = read(data)
    except TimeoutError:
        return "hung"
    except Exception:  # noqa: BLE001 - whatever a reader raises is a crash
        return "crashed"
    if peak() > LIMIT_BYTES:
        return "greedy"
    theirs, is_whole = as_tarfile_reads(data)
    if reading.damage is not None:
        found = reading._replace(damage=None)
        begins = (files[:count] for files in (theirs, tar.files) for count in range(len(files) + 1))
        return "reported" if any(found == expected(begin) for begin in begins) else "invented"
    if is_whole and reading != expected(theirs):
        return "lost"
    if reading == expected(tar.files):
        return "provably equal"
    return "another sound tar" if is_whole else "lost"


@contextmanager
def _bounded() -> Iterator[Callable[[], int]]:
    """Raise `TimeoutError` after the limit; give a function that tells the most bytes allocated at a time."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    tracemalloc.reset_peak()
    current, peaks = tracemalloc.get_traced_memory()[0], [0]
    try:
        yield lambda: peaks[0]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        peaks[0] = tracemalloc.get_traced_memory()[1] - current
        if not was_tracing:
            tracemalloc.stop()
