"""The id inside JSON members."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwright.format.json_id import BadJsonError, with_json_id

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"id": 12, "x": 1}', b'{"id": "007", "x": 1}'),
        (b'{ "x" : NaN ,\n "id"\t:[1, {"id": 2}] }', b'{ "x" : NaN ,\n "id"\t:"007" }'),
        (b'{"id": "a", "id": "b"}', b'{"id": "007", "id": "007"}'),
        (b'{"\\u0069d": 1}', b'{"\\u0069d": "007"}'),
        (b'{"x": {"id": 1}}', b'{"id": "007", "x": {"id": 1}}'),
        (b" {}\n", b' {"id": "007"}\n'),
        (b"{ }", b'{"id": "007" }'),
        (b'{"c": "\xff\xfe\x01", "id": 1}', b'{"c": "\xff\xfe\x01", "id": "007"}'),
        (b'\xef\xbb\xbf{"id": 1}', b'\xef\xbb\xbf{"id": "007"}'),
        (b'{"n": ' + b"9" * 5000 + b', "id": 1}', b'{"n": ' + b"9" * 5000 + b', "id": "007"}'),
    ],
)
def test_only_the_id_changes(before: bytes, after: bytes) -> None:
    assert with_json_id(before, "id", "007") == after


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=5), st.sampled_from([None, 1, 4]), st.booleans())
def test_json_reads_as_before_with_the_new_id(fields: dict[str, object], indent: int | None, is_ascii: bool) -> None:
    payload = json.dumps(fields, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    found = json.loads(with_json_id(payload, "id", "007").decode("utf-8", "surrogatepass"))
    # As text: NaN differs from itself, and the surrogates of a pair are one character once they were read.
    assert json.dumps(found, sort_keys=True) == json.dumps({**json.loads(payload), "id": "007"}, sort_keys=True)
    assert list(found)[-len(fields) :] == list(fields) if fields else True
    assert found["id"] == "007"


@pytest.mark.parametrize(
    "payload", [b"", b"[1]", b'"x"', b'{"a": 1', b'{"a" 1}', b'{"a": }', b'{"a": 1,}', b"{} {}", b"{a: 1}", b"null"]
)
def test_what_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(BadJsonError):
        with_json_id(payload, "id", "007")


def test_json_nested_too_deeply_is_refused() -> None:
    with pytest.raises(BadJsonError):
        with_json_id(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "id", "007")
