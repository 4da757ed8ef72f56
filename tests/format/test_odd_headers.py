"""The tar reader on headers that other readers take in other ways: each was found by ``make fuzz`` or beside it."""

from __future__ import annotations

import pytest

from shardwright.format.scan import ShardIndex, scan_tar
from tests.builders import TarInMemory
from tests.fuzz.structures import Entry, base_256, build_tar, extension, header, octal, pax_record

END_BLOCKS = bytes(1024)
A_JPG = header(b"a.jpg", octal(3)) + b"123" + bytes(509)


def extended(*extensions: tuple[bytes, bytes]) -> bytes:
    """Give a tar of ``a.jpg``, extension headers of kinds and texts before it."""
    blocks = [extension(kind, text, "pax" if kind in b"xg" else "gnu") for kind, text in extensions]
    return b"".join(block + text + bytes(-len(text) % 512) for block, text in blocks) + A_JPG + END_BLOCKS


def scan(data: bytes) -> ShardIndex:
    return scan_tar(TarInMemory(data), "s.tar")


def reasons(index: ShardIndex) -> list[tuple[str | None, int | None, str]]:
    return [(problem.key, problem.offset, problem.reason) for problem in index.problems]


def test_scan_names_each_member_once_when_one_of_thousands_of_headers_is_damaged() -> None:
    data = bytearray(build_tar([Entry(f"{number:05d}.jpg".encode()) for number in range(8_200)]).data)
    data[100 * 512] ^= 1
    index = scan(bytes(data))
    assert (index.sample_count, index.member_count) == (100, 100)
    assert reasons(index) == [(None, 100 * 512, "bad_header")]


@pytest.mark.parametrize("key", [b"GNU.sparse.major", b"GNU.sparse.size", b"GNU.sparse.map", b"GNU.sparse.name"])
@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_scan_refuses_sparse_members_of_every_version(kind: bytes, key: bytes) -> None:
    assert reasons(scan(extended((kind, pax_record(key, b"1"))))) == [(None, 0, "unsupported")]


@pytest.mark.parametrize("kind", [b"A", b"M", b"N", b"X", b"\xff"])
def test_scan_refuses_kinds_that_readers_disagree_on(kind: bytes) -> None:
    data = A_JPG + header(b"b.jpg", octal(0), kind) + END_BLOCKS
    assert reasons(scan(data)) == [(None, len(A_JPG), "unsupported")]


def test_scan_skips_what_gnu_tar_notes_of_volumes_and_folders() -> None:
    listing = header(b"d.x", octal(8), b"D", "gnu") + b"Ya.jpg\0\0" + bytes(504)
    index = scan(header(b"label.v1", octal(0), b"V", "gnu") + listing + A_JPG + END_BLOCKS)
    assert (index.samples["key"].to_pylist(), index.skipped_count, index.problems) == (["a"], 2, [])


def test_scan_takes_no_payload_of_a_v7_folder() -> None:
    index = scan(header(b"d/", octal(512), b"\0", "v7") + A_JPG + END_BLOCKS)
    assert (index.samples["key"].to_pylist(), index.skipped_count, index.problems) == (["a"], 1, [])


@pytest.mark.parametrize(
    "extensions",
    [
        [(b"x", pax_record(b"path", b"b.jpg")), (b"x", pax_record(b"path", b"c.jpg"))],
        [(b"L", b"b.jpg\0"), (b"L", b"c.jpg\0")],
        [(b"L", b"b.jpg\0"), (b"x", pax_record(b"path", b"c.jpg"))],
        [(b"x", pax_record(b"size", b"1")), (b"x", pax_record(b"size", b"2"))],
    ],
)
def test_scan_refuses_two_names_or_sizes_for_one_member(extensions: list[tuple[bytes, bytes]]) -> None:
    assert [reason for _, _, reason in reasons(scan(extended(*extensions)))] == ["bad_header"]


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (b"L", b"", "bad_header"),
        (b"L", b"\0", "bad_header"),
        (b"L", b"b.jpg/\0", "bad_header"),
        (b"x", pax_record(b"path", b""), "bad_header"),
        (b"x", pax_record(b"path", b"b.jpg/"), "bad_header"),
        (b"x", pax_record(b"size", b""), "bad_header"),
        (b"x", pax_record(b"size", b"0_3"), "bad_header"),
        (b"x", pax_record(b"size", b"\x80\x03"), "bad_header"),
        (b"g", pax_record(b"path", b"b.jpg"), "unsupported"),
        (b"g", pax_record(b"size", b"3"), "unsupported"),
    ],
)
def test_scan_refuses_names_and_sizes_that_lose_a_member(kind: bytes, text: bytes, reason: str) -> None:
    assert [found for _, _, found in reasons(scan(extended((kind, text))))] == [reason]


@pytest.mark.parametrize("kind", [b"L", b"x"])
def test_scan_reads_a_name_on_where_its_header_states_too_small_a_size(kind: bytes) -> None:
    text = b"b.jpg" if kind == b"L" else pax_record(b"mtime", b"1.5") + pax_record(b"path", b"b.jpg")
    stated = octal(2) if kind == b"L" else octal(len(pax_record(b"mtime", b"1.5")))
    data = header(b"././@LongLink", stated, kind, "gnu") + text + bytes(512 - len(text)) + A_JPG + END_BLOCKS
    index = scan(data)
    assert (index.samples["key"].to_pylist(), index.problems) == (["b"], [])


@pytest.mark.parametrize(
    "field", [b"0_000000003\0", b"+0000000003\0", b"0o000000003\0", b"00000000008\0", base_256(-1)]
)
def test_scan_refuses_sizes_that_are_no_octal_number(field: bytes) -> None:
    assert reasons(scan(header(b"a.jpg", field) + A_JPG[512:] + END_BLOCKS)) == [(None, 0, "bad_header")]


def test_scan_says_little_of_a_long_size() -> None:
    (problem,) = scan(extended((b"x", pax_record(b"size", b"9" * 100_000)))).problems
    assert problem.reason == "bad_header"
    assert len(problem.detail) < 100


def test_scan_reports_an_unsafe_name_whatever_its_json_holds() -> None:
    data = build_tar([Entry(b"../a.json", b"no JSON")]).data
    assert reasons(scan(data)) == [("../a", 0, "bad_name")]
