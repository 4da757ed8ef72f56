"""Copy objects from a store to the same store, through this machine: what moving so many bytes takes at least.

obstore alone: each object is fetched whole, by one request, and uploaded in parts of the size that ours have; some are
on their way at a time. Processes begin at once. Prints seconds and bytes as JSON.

Run: ``python tests/benchmarks/store_copy.py SOURCE TARGET PROCESSES [KEY=VALUE …]``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import obstore
from obstore.store import S3Store

from shardwright.files import list_files
from shardwright.locations import FileInfo, key_of, read_option, root_of, storage_options
from shardwright.object_store import PART_BYTES
from together import seconds_together

# Objects on their way in each process; on two cores more of them take no less time.
_OBJECTS_IN_FLIGHT = 4
UPLOADING_PARTS = 4


def main(source: str, target: str, process_count: int, options: Mapping[str, str]) -> None:
    """Copy all objects that lie directly in a folder."""
    with storage_options(options):
        files = sorted(list_files(source), key=lambda file: -file.size_bytes)
    shares = [(files[number::process_count], target, options) for number in range(process_count)]
    seconds = seconds_together(_copy, shares)
    print(json.dumps({"seconds": seconds, "bytes": sum(file.size_bytes for file in files)}))


def open_store(url: str, options: Mapping[str, str]) -> S3Store:
    """Open the store of a URL, as obstore does by itself."""
    config: Any = dict(options)
    return S3Store(root_of(url).removeprefix("s3://"), config=config, client_options={"allow_http": True})


def _copy(files: Sequence[FileInfo], target: str, options: Mapping[str, str], barrier: Barrier) -> None:
    store = open_store(target, options)
    barrier.wait()
    with ThreadPoolExecutor(_OBJECTS_IN_FLIGHT) as pool:
        for _ in pool.map(partial(_copy_object, store, target), files):
            pass


def _copy_object(store: S3Store, target: str, file: FileInfo) -> None:
    data = obstore.get(store, key_of(file.path)).bytes()
    to = f"{key_of(target)}/{file.path.rpartition('/')[2]}"
    obstore.put(store, to, data, chunk_size=PART_BYTES, max_concurrency=UPLOADING_PARTS)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), dict(map(read_option, sys.argv[4:])))
