"""Names, keys and digits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext

from shardwright.format.names import combine_key, join_name, position_digits, shard_name, split_name, unsafe_name

NAMES = st.lists(st.text("ab.é /_", min_size=1, max_size=6), min_size=1, max_size=3).map("/".join)
FOLDERS = st.lists(st.text("ab.é _", min_size=1, max_size=6), max_size=2)
LEGAL = st.builds(
    lambda folders, base, ext: "/".join([*folders, f"{base}.{ext}"]),
    FOLDERS.filter(lambda folders: folders[:1] != ["."]),
    st.text("abé ", min_size=1, max_size=6),
    st.text("ab.é _", max_size=6),
).filter(lambda name: not name.startswith("__"))


@given(LEGAL)
def test_join_is_the_inverse_of_split(name: str) -> None:
    split = split_name(name)
    assert split is not None
    assert join_name(*split) == name


@given(NAMES)
def test_split_agrees_with_webdataset_but_for_hidden_files_and_dot_slash(name: str) -> None:
    split, theirs = split_name(name), base_plus_ext(name)
    if split is not None and not name.startswith("./"):
        assert split == theirs
    elif split is None and theirs != (None, None):
        base = name.rsplit("/", 1)[-1]
        assert base.startswith(".") or name.startswith("__")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("a.jpg", ("a", "jpg")),
        ("x.seg.png", ("x", "seg.png")),
        ("dir.v1/x.mp4.json", ("dir.v1/x", "mp4.json")),
        ("22.05.png", ("22", "05.png")),
        ("a.JPG", ("a", "JPG")),
        ("./a.jpg", ("a", "jpg")),
        ("a", None),
        (".DS_Store", None),
        ("dir/._x.jpg", None),
        ("__x__/a.jpg", None),
        ("__meta__.json", ("__meta__", "json")),
    ],
)
def test_split_name_takes_the_first_dot_of_the_base_name(name: str, split: tuple[str, str] | None) -> None:
    assert split_name(name) == split


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg", "a/../b.jpg", "a\n.jpg", "a\x7f.jpg", "a\x00b.jpg"])
def test_unsafe_name_is_told(name: str) -> None:
    assert unsafe_name(name)


@pytest.mark.parametrize("name", ["a.jpg", "a..b.jpg", "..a/b.jpg", "a b(1).jpg", "é.jpg"])
def test_safe_name_passes(name: str) -> None:
    assert unsafe_name(name) is None


def test_new_keys_are_numbered_as_nemo_curator_did() -> None:
    assert [position_digits(count) for count in (1, 2, 10, 11, 10_000, 10_001, 20_000)] == [0, 1, 1, 2, 4, 5, 5]
    assert combine_key(42, 7, 5, position_digits(10_000)) == "000420007"
    assert combine_key(42, 0, 5, position_digits(1)) == "00042"
    assert shard_name(42, 5) == "00042"
