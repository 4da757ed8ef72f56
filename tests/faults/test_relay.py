"""The relay disturbs what it was told to, in the way it was told, and says so."""

from __future__ import annotations

import time
from dataclasses import replace
from http.client import HTTPConnection, IncompleteRead

import pytest

from tests.relay_rules import Kind, Rule
from tests.stores import Bucket

pytestmark = [pytest.mark.faults, pytest.mark.stores]


def ask(bucket: Bucket, path: str = "x") -> tuple[int, bytes]:
    """Ask as nobody, which a server refuses with some words."""
    connection = HTTPConnection(bucket.options["endpoint"].removeprefix("http://"))
    try:
        connection.request("GET", f"/{bucket.name}/{path}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_each_kind_is_what_it_says(bucket: Bucket) -> None:
    status, words = ask(bucket)
    assert (status, len(words) > 1) == (403, True)
    with bucket.disturbed(Rule("refused")):
        assert ask(bucket) == (503, b"")
    with bucket.disturbed(Rule("denied")):
        assert ask(bucket) == (403, b"")
    with bucket.disturbed(Rule("cut")), pytest.raises(IncompleteRead) as cut:
        ask(bucket)
    # Request numbers and times in the words differ in length.
    assert abs(len(cut.value.partial) - len(words) // 2) < len(words) // 4
    kinds: tuple[Kind, ...] = ("reset", "lost")
    for kind in kinds:
        with bucket.disturbed(Rule(kind)), pytest.raises(ConnectionResetError) as reset:
            ask(bucket)
        assert reset.type is ConnectionResetError  # closed in peace it would be one of its heirs
    with bucket.disturbed(Rule("late", seconds=0.4)):
        begun = time.monotonic()
        assert ask(bucket)[0] == 403
        assert time.monotonic() - begun > 0.1
    asked = bucket.requests()
    assert [request.fault for request in asked] == ["", "refused", "denied", "cut", "reset", "lost", "late"]
    # What the server heard of.
    assert [request.status for request in asked] == [403, 0, 0, 403, 0, 403, 403]


def test_a_share_is_kept_and_a_seed_chooses_the_same_requests(bucket: Bucket) -> None:
    def chosen(rule: Rule) -> list[int]:
        bucket.requests()
        with bucket.disturbed(rule):
            for number in range(40):
                ask(bucket, f"x{number % 2}")
        return [number for number, request in enumerate(bucket.requests()) if request.fault]

    rule = Rule("refused", one_of=10)
    first = chosen(rule)
    assert [number // 10 for number in first] == [0, 1, 2, 3]
    assert chosen(rule) == first
    assert chosen(replace(rule, seed=1)) != first
    assert len(chosen(replace(rule, pattern="x1$"))) == 2
    assert len(chosen(replace(rule, one_of=1, times=3))) == 3
