"""The tar reader against tars of every structure, and against tarfile and GNU tar as independent readers."""

from __future__ import annotations

import re
import subprocess
from random import Random
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from shardwright.format import members
from tests.fuzz.law import as_tarfile_reads, expected, scanned
from tests.fuzz.structures import BLOCK, Tar, tars

_LISTED = re.compile(r"block (\d+): [-C]\S+ \S+ +(\d+) \S+ \S+ (.*)")


@settings(max_examples=300)
@given(tars())
def test_scan_finds_what_a_tar_holds(tar: Tar) -> None:
    assert scanned(tar.data) == expected(tar.files)


@settings(max_examples=100)
@given(tars(), st.integers(1, 3))
def test_scan_finds_the_same_when_checksums_are_verified_every_few_headers(tar: Tar, rows: int) -> None:
    with mock.patch.object(members, "_CHECK_ROWS", rows):
        assert scanned(tar.data) == expected(tar.files)


@settings(max_examples=100)
@given(tars(), st.integers(0))
def test_scan_leaves_payloads_and_their_padding_alone(tar: Tar, seed: int) -> None:
    data, rng = bytearray(tar.data), Random(seed)
    for payload in tar.payloads:
        room = -(-len(payload) // BLOCK) * BLOCK
        data[payload.start : payload.start + room] = rng.randbytes(room)
    files = [
        (name, bytes(data[part.start : part.stop])) for (name, _), part in zip(tar.files, tar.payloads, strict=True)
    ]
    assert scanned(bytes(data)) == expected(files)


@settings(max_examples=200)
@given(tars())
def test_tarfile_finds_what_a_tar_holds(tar: Tar) -> None:
    assert as_tarfile_reads(tar.data) == (tar.files, True)


@settings(max_examples=30)
@given(tars())
def test_gnu_tar_finds_what_a_tar_holds(tar: Tar) -> None:
    def gnu_tar(*options: str) -> bytes:
        return subprocess.run(
            ["tar", *options, "-P", "-f", "-"], input=tar.data, capture_output=True, check=True
        ).stdout

    listed = gnu_tar("-tv", "--block-number", "--quoting-style=literal").decode(errors="surrogateescape")
    found = [(name.encode(errors="surrogateescape"), int(size)) for _, size, name in _LISTED.findall(listed)]
    assert found == [(name, len(payload)) for name, payload in tar.files]
    assert gnu_tar("-xO") == b"".join(payload for _, payload in tar.files)
