"""Headers: equal to Python's tarfile, byte for byte."""

from __future__ import annotations

import tarfile

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwright.format.headers import MAX_MEMBER_BYTES, ustar_headers, ustar_split

PART = st.text("abé0.-_", min_size=1, max_size=60)
NAMES = st.lists(PART, min_size=1, max_size=4).map("/".join).filter(lambda name: ustar_split(name.encode()) is not None)


def expected(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


@given(st.lists(st.tuples(NAMES, st.integers(0, MAX_MEMBER_BYTES)), min_size=1, max_size=8))
def test_headers_equal_those_of_tarfile(members: list[tuple[str, int]]) -> None:
    names, sizes = zip(*members, strict=True)
    headers = ustar_headers(pa.array(names, pa.string()), np.array(sizes, dtype=np.int64))
    assert [row.tobytes() for row in headers] == [expected(name, size) for name, size in members]


def test_headers_of_a_slice_of_names_are_those_of_its_names() -> None:
    names = pa.array(["skipped.jpg", "a.jpg", "bb.txt", "skipped too"]).slice(1, 2)
    headers = ustar_headers(names, np.array([1, 2], dtype=np.int64))
    assert [row.tobytes() for row in headers] == [expected("a.jpg", 1), expected("bb.txt", 2)]


@pytest.mark.parametrize("length", [99, 100])
def test_names_up_to_100_bytes_need_no_prefix(length: int) -> None:
    assert ustar_split(b"x" * length) == (b"", b"x" * length)


def test_names_that_ustar_cannot_hold_are_refused() -> None:
    assert ustar_split(b"x" * 101) is None
    assert ustar_split(b"d" * 156 + b"/" + b"x" * 90) is None
    assert ustar_split(b"d" * 155 + b"/" + b"x" * 100) == (b"d" * 155, b"x" * 100)
    with pytest.raises(ValueError, match="ustar can't hold"):
        ustar_headers(pa.array(["x" * 101]), np.array([0], dtype=np.int64))
