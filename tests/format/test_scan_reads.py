"""What a scan reads of a tar: headers and JSON, in few reads."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence

import pytest

from shardwright.format.scan import scan_tar
from tests.builders import TarInMemory, tar_bytes

BLOCK = 512
IMAGE = bytes(40_000)


class CountingTar(TarInMemory):
    """A tar that counts reads and what they gave."""

    reads = 0
    read_bytes = 0

    def read(self, offset: int, count: int) -> bytes:
        data = super().read(offset, count)
        self.reads += 1
        self.read_bytes += len(data)
        return data


def scanned(members: Sequence[tuple[str, bytes]], mtime: float = 0) -> CountingTar:
    tar = CountingTar(tar_bytes(members, tarfile.PAX_FORMAT, mtime))
    index = scan_tar(tar, "s.tar")
    assert (index.member_count, index.problems) == (len(members), [])
    assert all(problem is None for problem in index.samples["problem"].to_pylist())
    return tar


def image_samples(image: bytes, count: int) -> list[tuple[str, bytes]]:
    """Give samples of three members; captions and JSON are of one block or two."""
    json = [b'{"caption": "%s"}' % (b"x" * (450 + 40 * (number % 9 == 0))) for number in range(count)]
    parts = [(("jpg", image), ("json", json[number]), ("txt", b"a caption")) for number in range(count)]
    return [(f"{number:06d}.{ext}", payload) for number, sample in enumerate(parts) for ext, payload in sample]


@pytest.mark.parametrize(("mtime", "headers"), [(0, 1), (1.5, 3)])
def test_scan_reads_headers_and_what_lies_between_them_once_a_sample(mtime: float, headers: int) -> None:
    count = 300
    tar = scanned(image_samples(IMAGE, count), mtime)
    assert tar.reads <= 1.05 * count + 10
    # Three members' headers, a caption of one block, JSON of one or two; and what is learned at the beginning.
    assert tar.read_bytes <= count * BLOCK * (3 * headers + 3) + 20_000


def test_scan_reads_little_but_headers_where_payloads_are_large() -> None:
    count = 300
    tar = scanned([(f"{number:06d}.jpg", IMAGE) for number in range(count)])
    assert tar.reads <= count + 10
    assert tar.read_bytes <= count * BLOCK + 40_000
    assert tar.read_bytes < 0.02 * tar.size_bytes


def test_scan_reads_small_members_a_megabyte_at_a_time() -> None:
    tar = scanned(image_samples(bytes(3_000), 1_000))
    assert tar.reads <= 20
    assert tar.read_bytes <= tar.size_bytes + 10_240


def test_scan_goes_back_to_small_reads_behind_many_small_members() -> None:
    small = [(f"a{number:06d}.cls", b"1") for number in range(4_000)]
    large = [(f"b{number:06d}.jpg", IMAGE) for number in range(300)]
    small_bytes = 2 * BLOCK * len(small)
    assert scanned([*small, *large]).read_bytes <= small_bytes + (1 << 20) + 300 * BLOCK + 100_000


def test_scan_reads_json_once_whatever_it_looks_like_and_wherever_it_lies() -> None:
    payloads = (b" {}", b"\xef\xbb\xbf{}", b'{"a": "%s"}' % (b"x" * 20_000), b"{}")
    members = [
        (f"{number:06d}.{ext}", payload)
        for number in range(200)
        for ext, payload in (("JSON", payloads[number % 4]), ("jpg", IMAGE))
    ]
    tar = scanned(members)
    assert tar.reads <= 2 * len(members) + 10
