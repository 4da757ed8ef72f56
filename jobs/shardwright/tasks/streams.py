"""Cut a stream of ordered rows into one stream a group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Groups = Iterator[tuple[Any, Iterator[pa.RecordBatch]]]


def by_value(batches: Iterable[pa.RecordBatch], column: str) -> Groups:
    """Give each value of a column with its rows, in the order they arrive.

    Args:
        batches: Rows in which equal values stand together.

    A group's rows are read before the next group is; what the caller leaves of them is skipped.
    """
    pieces = (piece for batch in batches for piece in _cut(batch, column))
    ahead = next(pieces, None)

    def rows(value: Any) -> Iterator[pa.RecordBatch]:
        nonlocal ahead
        while ahead is not None and ahead[0] == value:
            yield ahead[1]
            ahead = next(pieces, None)

    while ahead is not None:
        value = ahead[0]
        stream = rows(value)
        yield value, stream
        for _ in stream:
            pass


def _cut(batch: pa.RecordBatch, column: str) -> Iterator[tuple[Any, pa.RecordBatch]]:
    values = batch.column(column)
    codes = pc.dictionary_encode(values).indices.to_numpy()
    bounds = np.flatnonzero(np.diff(codes, prepend=-1, append=-1))
    for begin, end in pairwise(bounds.tolist()):
        yield values[begin].as_py(), batch.slice(begin, end - begin)
