"""What every task knows of many files or shards, packed into columns."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import starmap
from operator import itemgetter
from typing import Any, Generic, TypeVar

import pyarrow as pa

Row = TypeVar("Row", bound=tuple[Any, ...])


class Packed(Generic[Row]):
    """Named tuples of texts and numbers, ordered by their first value; a task looks at few of them.

    Each Python worker is handed all of them: of a million tars 80 MB, where as many objects are half a GB.

    Args:
        kind: What makes a row of its values.
    """

    def __init__(self, kind: Callable[..., Row], rows: Iterable[Row] = ()) -> None:
        self._kind = kind
        self._columns = [pa.array(values) for values in zip(*sorted(rows, key=itemgetter(0)), strict=True)]

    def __len__(self) -> int:
        return len(self._columns[0]) if self._columns else 0

    def __getitem__(self, place: int) -> Row:
        return self._kind(*(column[place].as_py() for column in self._columns))

    def __iter__(self) -> Iterator[Row]:
        return starmap(self._kind, zip(*(column.to_pylist() for column in self._columns), strict=True))

    def find(self, first: str | int) -> Row | None:
        """Find the row with this first value; None where there is none."""
        if not self._columns:
            return None
        firsts = self._columns[0]
        place = bisect_left(firsts, first, key=lambda scalar: scalar.as_py())
        return self[place] if place < len(self) and firsts[place].as_py() == first else None
