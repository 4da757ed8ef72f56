"""Where ranges begin: on a file system by the gap alone, in a store by what requests and needless bytes cost."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shardwright.format.blocks import Members, plan_reads, starts_request
from shardwright.format.scan import scan_tar
from tests.builders import TarInMemory, sample_members, tar_bytes

IMAGE = bytes(50_000)
REQUEST_BYTES = 2_000_000


def members_of(keep: list[int], count: int = 400, **options: Any) -> Members:
    members = [
        (name, IMAGE if name.endswith("jpg") else payload)
        for number in range(count)
        for name, payload in sample_members(f"{number:05d}")
    ]
    samples = scan_tar(TarInMemory(tar_bytes(members, **options)), "x").samples.take(keep)
    flat = [samples[name].combine_chunks().flatten().to_numpy() for name in ("payload_offsets", "payload_bytes")]
    return Members(pa.nulls(len(flat[0]), pa.string()), *flat)


@pytest.mark.parametrize("options", [{}, {"tar_format": 2, "mtime": 1.5}], ids=["ustar", "pax"])
@pytest.mark.parametrize(
    "keep",
    [
        list(range(0, 400, 2)),
        [number for number in range(400) if number % 10 < 5],
        sorted(random.Random(0).sample(range(400), 200)),
    ],
    ids=["every second", "five of ten", "at random"],
)
def test_a_half_is_fetched_with_five_percent_more_at_most(options: dict[str, Any], keep: list[int]) -> None:
    members = members_of(keep, **options)
    reads = plan_reads(members, starts_request(members, REQUEST_BYTES))
    assert members.payload_bytes.sum() <= reads.sizes.sum() <= 1.048 * members.payload_bytes.sum()
    assert len(reads.sizes) <= 2 * len(keep)


def test_what_stands_together_is_read_through() -> None:
    members = members_of(list(range(400)))
    assert starts_request(members, REQUEST_BYTES).sum() == 1


def test_tiny_members_that_stand_together_are_read_through() -> None:
    members = Members(pa.nulls(100, pa.string()), np.arange(100) * 1_536, np.tile([0, 1, 700, 1_024], 25))
    assert starts_request(members, REQUEST_BYTES).sum() == 1


def test_a_gap_that_costs_more_than_a_request_is_not_bridged() -> None:
    sizes = np.array([1_000_000, 1_000_000, 1_000_000])
    offsets = np.array([0, 1_010_000, 2_030_000])
    members = Members(pa.nulls(3, pa.string()), offsets, sizes)
    assert starts_request(members, 15_000).tolist() == [True, False, True]
    assert starts_request(members, 1_000_000).tolist() == [True, False, False]
    # Never more than 4.8 % of what is needed, the smallest gaps first.
    members = members._replace(payload_offsets=np.array([0, 1_115_000, 2_145_000]))
    assert starts_request(members, 1_000_000).tolist() == [True, True, False]


def test_members_out_of_order_are_ranges_of_their_own() -> None:
    members = Members(pa.nulls(2, pa.string()), np.array([10_240, 0]), np.array([100, 100]))
    assert starts_request(members, REQUEST_BYTES).tolist() == [True, True]
