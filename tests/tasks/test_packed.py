"""What tasks are handed of many files."""

import pickle
from typing import NamedTuple

import pytest

from shardwright.tasks.packed import Packed


class Named(NamedTuple):
    name: str
    size: int
    etag: str | None


class Numbered(NamedTuple):
    number: int
    etag: str | None


ROWS = [Named("a", 2**62, None), Named("a-b", 0, "x"), Named("a.b", 1, None), Named("é", 2, "")]


def test_rows_come_back_as_they_were_from_another_process() -> None:
    packed: Packed[Named] = pickle.loads(pickle.dumps(Packed(Named, ROWS)))
    assert (list(packed), len(packed), packed[1]) == (ROWS, 4, ROWS[1])
    with pytest.raises(IndexError):
        packed[4]


def test_rows_are_ordered_and_found_by_their_first_value() -> None:
    packed = Packed(Named, reversed(ROWS))
    assert list(packed) == ROWS
    assert [packed.find(row.name) for row in ROWS] == ROWS
    assert [packed.find(name) for name in ("", "a-", "b", "ê")] == [None] * 4
    numbered = Packed(Numbered, [Numbered(7, None), Numbered(3, None)])
    assert [numbered.find(number) for number in (3, 5, 7)] == [(3, None), None, (7, None)]


def test_nothing_has_no_rows_to_find() -> None:
    packed = Packed(Named)
    assert (list(packed), packed.find("a")) == ([], None)


def test_a_file_takes_little_more_than_its_texts() -> None:
    packed = Packed(Named, (Named(f"{number:06d}", number, f"{number:032d}") for number in range(10_000)))
    assert len(pickle.dumps(packed)) < 10_000 * (6 + 32 + 3 * 8) * 1.1
