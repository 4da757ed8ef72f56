"""Fetch the ranges that the writer asks a store for, and upload as many bytes: what its requests take, shard by shard.

obstore alone: the ranges of a shard are fetched some at a time, and uploaded as they are, without headers, in parts of
the size that ours have. Processes begin at once. Prints seconds as JSON.

Run: ``python tests/benchmarks/store_ranges.py EXPORTED TARGET PROCESSES [KEY=VALUE …]``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier
from typing import Any, NamedTuple

import obstore
import pyarrow as pa
import pyarrow.compute as pc

from exported import manifest_of, rows_of, shares_of
from shardwright.format.blocks import Members, plan_reads, starts_request
from shardwright.locations import key_of, read_option, storage_options
from shardwright.object_files import REQUESTS_IN_FLIGHT, Pace
from shardwright.object_store import PART_BYTES
from shardwright.tasks.tar_writer import cut_reads
from store_copy import UPLOADING_PARTS, open_store
from together import seconds_together


class Range(NamedTuple):
    """Bytes of a tar of the dataset."""

    shard: str
    offset: int
    size_bytes: int


def main(exported: str, target: str, process_count: int, options: Mapping[str, str]) -> None:
    """Fetch what a finished export was written from, and upload it."""
    with storage_options(options):
        manifest = manifest_of(exported)
        shares = [(manifest, target, *share, options) for share in shares_of(manifest, process_count)]
        print(json.dumps({"seconds": seconds_together(_fetch, shares)}))


def _fetch(
    manifest: dict[str, Any], target: str, begin: int, end: int, options: Mapping[str, str], barrier: Barrier
) -> None:
    with storage_options(options):
        rows = rows_of(manifest["tables"], begin, end)
    shards = [list(_ranges(rows.filter(pc.equal(rows["shard_id"], shard)))) for shard in range(begin, end)]
    store = open_store(target, options)
    folder = key_of(manifest["dataset_root"])

    def fetched(part: Range) -> obstore.Bytes:
        return obstore.get_range(store, f"{folder}/{part.shard}", start=part.offset, length=part.size_bytes)

    barrier.wait()
    with ThreadPoolExecutor(REQUESTS_IN_FLIGHT) as pool:
        for number, ranges in enumerate(shards, begin):
            data = b"".join(map(bytes, pool.map(fetched, ranges)))
            name = f"{key_of(target)}/{number:05d}.bin"
            obstore.put(store, name, data, chunk_size=PART_BYTES, max_concurrency=UPLOADING_PARTS)


def _ranges(rows: pa.Table) -> Iterator[Range]:
    """Plan the ranges of an output shard, as the writer does before it knows a store's pace."""
    shards = rows["source_shard"].to_pylist()
    bounds = [row for row in range(len(shards) + 1) if row in (0, len(shards)) or shards[row] != shards[row - 1]]
    for begin, end in pairwise(bounds):
        run = rows.slice(begin, end - begin)
        places = [run[name].combine_chunks().flatten().to_numpy() for name in ("payload_offsets", "payload_bytes")]
        members = Members(pa.nulls(len(places[0]), pa.string()), *places)
        starts_here = starts_request(members, Pace().request_bytes)
        for first, last in cut_reads(members, starts_here):
            reads = plan_reads(members.slice(first, last), starts_here[first:last])
            for offset, size in zip(reads.offsets.tolist(), reads.sizes.tolist(), strict=True):
                yield Range(shards[begin], offset, size)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), dict(map(read_option, sys.argv[4:])))
