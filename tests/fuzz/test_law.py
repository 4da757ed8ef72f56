"""The law of the tar reader, in the small: the reader keeps it, and readers with planted bugs are caught."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any
from unittest import mock

import pytest

from shardwright.format import batch, fields, members
from tests.fuzz import law
from tests.fuzz.damage import DAMAGES
from tests.fuzz.law import KEPT, Reader, Reading, Verdict, judge, scanned
from tests.fuzz.structures import Entry, build_tar

LONG = b"folder/" * 20
TAR = build_tar(
    [
        Entry(b"a.jpg", b"1" * 700, dialect="pax", quirks=frozenset(("mtime",))),
        Entry(b"a.txt", b"", dialect="ustar"),
        Entry(b"d/", kind=b"5", dialect="ustar"),
        Entry(LONG + b"b.jpg", b"2" * 512, dialect="gnu"),
        Entry(LONG + b"b.json", b"{}", dialect="pax", quirks=frozenset(("size", "no size"))),
        Entry(b"c.jpg", b"3", kind=b"\0", dialect="v7"),
        Entry(b"c.txt", b"", dialect="v7"),
    ]
)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    scanned(b"")  # what is loaded once is not what a tar takes


def verdicts(read: Reader, seeds: int = 12) -> set[Verdict]:
    return {
        judge(TAR, damage(TAR, Random(f"{name}/{seed}")), read)
        for name, damage in DAMAGES.items()
        for seed in range(seeds)
    }


def test_the_reader_keeps_the_law_whatever_damage_is_done() -> None:
    assert verdicts(scanned, seeds=40) == set(KEPT)
    assert judge(TAR, TAR.data) == "provably equal"


@pytest.mark.parametrize(
    ("owner", "part", "bug"),
    [
        (batch, "first_bad_checksum", lambda _rows: None),
        (members._Walk, "_check_end", lambda _walk, _at: None),  # noqa: SLF001
        (members, "pax_records", lambda _payload, _at: iter(())),
        (fields, "read_digits", lambda text, base, _at: int(text, base) if text.isdigit() and b"9" not in text else 0),
        (members._Walk, "_read_extension", lambda _walk, _kind, _at, _size: None),  # noqa: SLF001
        (members, "_FILES", frozenset(range(256))),
        (members, "_NOTES", frozenset(b"0VD")),
        (members._Walk, "_override", lambda _walk, _given, _at: None),  # noqa: SLF001
    ],
)
def test_the_law_catches_a_reader_with_a_part_broken(owner: Any, part: str, bug: Any) -> None:
    with mock.patch.object(owner, part, bug):
        assert not verdicts(scanned) <= set(KEPT)


def _altered(change: Callable[[Reading], Reading]) -> Reader:
    return lambda data: change(scanned(data))


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda reading: reading._replace(damage=None), "lost"),
        (lambda reading: reading._replace(members=[each for each in reading.members if each[1]]), "lost"),
        (lambda reading: reading._replace(members=reading.members[:-1]), "lost"),
        (lambda reading: reading._replace(members=reading.members[::-1]), "invented"),
        (lambda reading: reading._replace(unsound=frozenset()), "lost"),
        (lambda reading: reading._replace(members=[(name, data[:511]) for name, data in reading.members]), "invented"),
    ],
)
def test_the_law_catches_a_reader_that_says_too_little_or_too_much(
    change: Callable[[Reading], Reading], verdict: Verdict
) -> None:
    assert verdict in verdicts(_altered(change))


def test_the_law_catches_a_reader_that_crashes_hangs_or_takes_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(data: bytes) -> Reading:
        raise IndexError(len(data))

    def hang(data: bytes) -> Reading:
        time.sleep(60)
        return scanned(data)

    def take(data: bytes) -> Reading:
        return scanned(data + bytes(16 << 20))

    assert [judge(TAR, TAR.data, read) for read in (crash, take)] == ["crashed", "greedy"]
    monkeypatch.setattr(law, "LIMIT_SECONDS", 0.05)
    assert judge(TAR, TAR.data, hang) == "hung"
