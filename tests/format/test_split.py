"""Names split as columns: what is said of one name, whatever names stand beside it."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shardwright.format.names import split_name, unsafe_name
from shardwright.format.split import split_names

PARTS = st.sampled_from(
    [
        *(
            b"a",
            b"b",
            b".",
            b"..",
            b"/",
            b"./",
            b"_",
            b"__",
            b"__x__",
            b".jpg",
            b".seg.PNG",
            b" ",
            b"\x07",
            b"\x7f",
            b"\0",
        ),
        *("é".encode(), "日本".encode(), b"\xc3", b"\xa9", b"\xff"),
    ]
)
NAMES = st.lists(PARTS, max_size=6).map(b"".join)


@settings(max_examples=1_000)
@given(st.lists(NAMES, max_size=6))
@example([b"a.\xc3", b"\xa9.a"])
@example([b"a.", b".a", b"./a.b", b"././a.b", b"./", b"./.a.b", b"", b"./"])
def test_names_split_as_columns_as_they_do_one_by_one(names: list[bytes]) -> None:
    wanted = []
    for number, raw in enumerate(names):
        try:
            name = raw.decode()
            flaw = unsafe_name(name)
        except UnicodeDecodeError:
            name, flaw = raw.decode(errors="backslashreplace"), "the name is not UTF-8"
        split = None if name.endswith("/") else split_name(name)
        if split is not None:
            wanted.append((number, *split, flaw))
    found = split_names(pa.array(names, pa.binary()))
    found.keys.validate(full=True)
    found.exts.validate(full=True)
    rows = zip(found.members.tolist(), found.keys.to_pylist(), found.exts.to_pylist(), strict=True)
    assert [(number, key, ext, found.flaws.get(number)) for number, key, ext in rows] == wanted
    assert set(found.flaws) <= set(found.members.tolist())
