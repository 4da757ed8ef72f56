"""The twins' arithmetic without a GPU: slices, null rows that hold elements, empty lists, null elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.udfs import oracle, twins
from tests.udfs.cudf import Column, Lists

_FLOATS = st.sampled_from([0.0, -0.0, 1.0, -2.5, 0.1, 3e38, math.nan, math.inf]).map(
    lambda value: float(np.float32(value))
)
_EMBEDDINGS = st.lists(st.one_of(_FLOATS, st.none()) | _FLOATS, max_size=4)
_ROWS = st.lists(st.tuples(_EMBEDDINGS, _EMBEDDINGS, st.booleans(), st.booleans()), max_size=6)
_EQUAL_ROWS = st.lists(
    st.integers(0, 4).flatmap(
        lambda n: st.tuples(*[st.lists(_FLOATS, min_size=n, max_size=n)] * 2, st.just(True), st.just(True))
    ),
    max_size=6,
)
_HEX = st.text("0123456789abcdefABCDEFgé\n \x11", max_size=5)
_CAPTIONS = st.lists(st.none() | st.text("ab \t\u00a0\u200b\u0000&;amp#1é"), max_size=6)


def _lists(rows: list[list[Any]], valid: list[bool], dtype: type[np.generic], cut: slice) -> Lists:
    elements = [element for row in rows for element in row]
    child = Column(
        np.array([0 if element is None else element for element in elements], dtype),
        np.array([element is not None for element in elements], bool),
    )
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    start, stop, _ = cut.indices(len(rows))
    return Lists(offsets, child, np.array(valid, bool), start, max(start, stop))


def _values(column: Column) -> list[Any]:
    return [value if valid else None for value, valid in zip(column.values.tolist(), column.valid, strict=True)]


def _assert_close(found: Column, expected: list[float | None]) -> None:
    assert _values(found) == [None if value is None else pytest.approx(value, rel=1e-9, abs=1e-9) for value in expected]


@given(_ROWS | _EQUAL_ROWS, st.integers(0, 3), st.integers(0, 3))
def test_vector_twins_agree_with_the_oracle(
    rows: list[tuple[list[float | None], list[float | None], bool, bool]], before: int, after: int
) -> None:
    cut = slice(before, len(rows) - after)
    a = _lists([row[0] for row in rows], [row[2] for row in rows], np.float32, cut)
    b = _lists([row[1] for row in rows], [row[3] for row in rows], np.float64, cut)
    kept = rows[cut] if before <= len(rows) - after else []
    pairs = [(x if is_a else None, y if is_b else None) for x, y, is_a, is_b in kept]
    if len(rows) < before:
        pairs = []
    _assert_close(twins.dot_product(a, b), [oracle.dot_product(x, y) for x, y in pairs])
    _assert_close(twins.cosine_similarity(a, b), [oracle.cosine_similarity(x, y) for x, y in pairs])
    _assert_close(twins.l2_norm(a), [oracle.l2_norm(x) for x, _ in pairs])


@given(st.lists(st.tuples(_HEX, _HEX, st.booleans(), st.booleans()), max_size=6), st.integers(0, 2))
def test_hex_twin_agrees_with_the_oracle(rows: list[tuple[str, str, bool, bool]], before: int) -> None:
    cut = slice(min(before, len(rows)), len(rows))
    a = _lists([list(row[0].encode()) for row in rows], [row[2] for row in rows], np.uint8, cut)
    b = _lists([list(row[1].encode()) for row in rows], [row[3] for row in rows], np.uint8, cut)
    expected = [oracle.hamming_of_hex(x if is_a else None, y if is_b else None) for x, y, is_a, is_b in rows[cut]]
    assert _values(twins.hamming_distance_hex(a, b)) == expected


@given(_CAPTIONS)
def test_caption_twins_agree_with_the_oracle(texts: list[str | None]) -> None:
    assert twins.caption_word_count(texts) == [oracle.caption_word_count(text) for text in texts]
    assert twins.caption_clean(texts) == [oracle.caption_clean(text) for text in texts]
