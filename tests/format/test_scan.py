"""The tar reader: every dialect, every kind of damage."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardwright.errors import Problem
from shardwright.format.headers import ustar_headers
from shardwright.format.scan import ShardIndex, scan_tar
from tests.builders import TarInMemory, sample_members, tar_bytes

MEMBERS = [*sample_members("a"), *sample_members("b")]


def scan(data: bytes) -> ShardIndex:
    return scan_tar(TarInMemory(data), "s.tar")


def reasons(index: ShardIndex) -> list[tuple[str | None, int | None, str]]:
    return [(problem.key, problem.offset, problem.reason) for problem in index.problems]


def payloads(data: bytes, index: ShardIndex) -> list[tuple[str, bytes]]:
    return [
        (f"{row['key']}.{ext}", data[offset : offset + size])
        for row in index.samples.to_pylist()
        for ext, offset, size in zip(row["member_exts"], row["payload_offsets"], row["payload_bytes"], strict=True)
    ]


@pytest.mark.parametrize(
    ("tar_format", "mtime", "dialect"),
    [
        (tarfile.USTAR_FORMAT, 0, "ustar"),
        (tarfile.GNU_FORMAT, 0, "gnu"),
        (tarfile.PAX_FORMAT, 0, "ustar"),
        (tarfile.PAX_FORMAT, 1.5, "pax"),
    ],
)
def test_scan_finds_the_members_of_every_dialect(tar_format: int, mtime: float, dialect: str) -> None:
    data = tar_bytes(MEMBERS, tar_format, mtime)
    index = scan(data)
    assert (index.dialect, index.sample_count, index.member_count, index.skipped_count) == (dialect, 2, 6, 0)
    assert not index.problems
    assert payloads(data, index) == MEMBERS
    ends = [row["sample_offset"] + row["sample_bytes"] for row in index.samples.to_pylist()]
    assert [0, *ends[:-1]] == index.samples["sample_offset"].to_pylist()


def test_scan_says_what_a_sample_takes_in_a_tar_of_ours() -> None:
    index = scan(tar_bytes([("a.x", b""), ("a.y", b"1"), ("b.x", b"1" * 513)], tarfile.PAX_FORMAT, 1.5))
    assert index.samples["written_bytes"].to_pylist() == [512 + 1024, 512 + 1024]
    assert (index.longest_name_bytes, index.longest_ext_bytes) == (3, 1)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.text("abcé/", min_size=1, max_size=140), st.binary(max_size=1500)), min_size=1, max_size=6),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.sampled_from([0, 1.5]),
)
def test_scan_reads_names_and_payloads_as_tarfile_does(
    members: list[tuple[str, bytes]], tar_format: int, mtime: float
) -> None:
    named = [(f"{number}{name.strip('/')}.bin", payload) for number, (name, payload) in enumerate(members)]
    data = tar_bytes(named, tar_format, mtime)
    index = scan(data)
    assert not index.problems
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        theirs = [(info.name, info.offset_data, info.size) for info in tar]
    ours = [
        (f"{row['key']}.bin", row["payload_offsets"][0], row["payload_bytes"][0]) for row in index.samples.to_pylist()
    ]
    assert ours == theirs


@pytest.mark.input(36, "100,000 tiny members")
def test_scan_lists_100000_tiny_members() -> None:
    names = pa.array([f"{number // 2}.{'ab'[number % 2]}" for number in range(100_000)])
    data = ustar_headers(names, np.zeros(100_000, dtype=np.int64)).tobytes() + bytes(1024)
    index = scan(data)
    assert (index.sample_count, index.member_count, index.problems) == (50_000, 100_000, [])
    assert index.samples["sample_offset"].to_pylist()[-1] == 99_998 * 512


def test_scan_obeys_pax_size_and_global_headers() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "all"}) as tar:
        info = tarfile.TarInfo("a.bin")
        info.size, info.pax_headers = 700, {"size": "700"}
        tar.addfile(info, io.BytesIO(b"x" * 700))
        tar.addfile(tarfile.TarInfo("b.bin"))
    index = scan(buffer.getvalue())
    assert index.samples["payload_bytes"].to_pylist() == [[700], [0]]
    assert index.dialect == "pax"


def test_scan_reads_v7_headers() -> None:
    data = bytearray(tar_bytes([("a.jpg", b"123")]))
    data[257:265] = bytes(8)
    data[156] = 0
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    index = scan(bytes(data))
    assert (index.dialect, index.samples["key"].to_pylist(), index.problems) == ("v7", ["a"], [])


def test_scan_reads_base_256_sizes_and_reports_what_ustar_cannot_hold() -> None:
    info = tarfile.TarInfo("a.bin")
    info.size = 8**11
    header = info.tobuf(tarfile.GNU_FORMAT)

    class Sparse(TarInMemory):
        size_bytes = 512 + 8**11 + 1024

        def read(self, offset: int, count: int) -> bytes:
            return (self.data + bytes(count))[:count] if offset == 0 else bytes(count)

    tar = Sparse(header)
    tar.size_bytes = 512 + 8**11 + 1024
    index = scan_tar(tar, "s.tar")
    assert reasons(index) == [("a", 0, "too_large")]
    assert (index.sample_count, index.unsound_count) == (1, 1)


def test_scan_skips_and_counts_what_is_no_member() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("l.jpg", tarfile.SYMTYPE), ("c.jpg", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.jpg"
            tar.addfile(info)
        for name in ("README", ".DS_Store", "d/._a.jpg", "__x__/a.jpg", "./a.jpg", "./a.txt"):
            tar.addfile(tarfile.TarInfo(name))
    index = scan(buffer.getvalue())
    assert index.samples["key"].to_pylist() == ["a"]
    assert index.samples["member_exts"].to_pylist() == [["jpg", "txt"]]
    assert (index.sample_count, index.skipped_count, index.problems) == (1, 7, [])


def test_scan_finds_nothing_in_an_empty_tar() -> None:
    index = scan(bytes(10_240))
    assert (index.sample_count, index.member_count, index.problems) == (0, 0, [])


GOOD = tar_bytes(MEMBERS)
END = GOOD.rstrip(b"\0").__len__() // 512 * 512 + 512  # where the end blocks begin


@pytest.mark.parametrize(
    ("data", "offset", "reason"),
    [
        (b"", 0, "truncated"),
        (GOOD[:300], 0, "truncated"),
        (GOOD[:600], 0, "truncated"),
        (GOOD[:END], END, "truncated"),
        (GOOD[: END + 512], END, "truncated"),
        (GOOD[:END] + bytes(512) + GOOD[:512] + bytes(1024), END, "truncated"),
        (GOOD + GOOD, len(GOOD), "trailing_data"),
    ],
)
def test_scan_reports_where_a_tar_is_cut_or_goes_on(data: bytes, offset: int, reason: str) -> None:
    assert reasons(scan(data)) == [(None, offset, reason)]


@pytest.mark.parametrize("place", [0, 99, 100, 124, 130, 148, 156, 257, 345, 500])
def test_scan_notices_a_flipped_byte_anywhere_in_a_header(place: int) -> None:
    second = scan(GOOD).samples["payload_offsets"].to_pylist()[0][1] - 512
    data = bytearray(GOOD)
    data[second + place] ^= 0x41
    index = scan(bytes(data))
    assert [(problem.offset, problem.reason) for problem in index.problems][-1:] == [(second, "bad_header")]
    assert index.member_count == 1


def test_scan_reports_samples_that_readers_would_not_read_alike() -> None:
    data = tar_bytes(
        [
            ("a.jpg", b"1"),
            ("b.jpg", b"1"),
            ("a.txt", b"1"),
            ("c.jpg", b"1"),
            ("c.JPG", b"1"),
            ("../d.jpg", b"1"),
            ("e.x", b"1"),
        ]
    )
    index = scan(data)
    assert reasons(index) == [
        ("a", 0, "duplicate_key"),
        ("a", 2048, "duplicate_key"),
        ("c", 4096, "duplicate_member"),
        ("../d", 5120, "bad_name"),
    ]
    assert (index.sample_count, index.unsound_count) == (6, 4)


def test_scan_reports_a_name_that_is_not_utf8() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as tar:
        tar.addfile(tarfile.TarInfo("\xe9.jpg"))
    assert scan(buffer.getvalue()).problems == [Problem("s.tar", "\\xe9", 0, "bad_name", "the name is not UTF-8")]


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_tar_is_reported_or_reads_as_before(data: st.DataObject) -> None:
    """Whatever byte changes outside payloads, nothing is lost in silence."""
    sound = scan(GOOD)
    in_payload = [
        range(offset, offset + size)
        for row in sound.samples.to_pylist()
        for offset, size in zip(row["payload_offsets"], row["payload_bytes"], strict=True)
    ]
    place = data.draw(st.integers(0, len(GOOD) - 1).filter(lambda at: not any(at in part for part in in_payload)))
    value = data.draw(st.integers(0, 255))
    damaged = GOOD[:place] + bytes([value]) + GOOD[place + 1 :]
    index = scan(damaged)
    assert index.problems or payloads(damaged, index) == MEMBERS
