"""Time the scan of tar headers in one process on one core, and count the bytes that it reads.

Prints JSON: members per second of each round, and the shares of the tars' bytes that were read and that are headers.

Run: ``python tests/benchmarks/headers.py FOLDER ROUNDS``
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from shardwright.files import list_files
from shardwright.format.headers import BLOCK_BYTES
from shardwright.format.scan import scan_tar
from shardwright.local_files import OpenFile
from shardwright.locations import FileInfo
from shardwright.tasks.packed import Packed
from shardwright.tasks.scan import SHARD, Tar, scan_shards


class _CountedFile(OpenFile):
    """A file that counts the bytes that were read of it."""

    read_bytes = 0

    def read(self, offset: int, count: int) -> bytes:
        data = super().read(offset, count)
        self.read_bytes += len(data)
        return data


def main(folder: Path, rounds: int) -> None:
    """Scan the tars of a folder, once more than is counted: the first round only warms up."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    files = [file for file in list_files(str(folder)) if file.path.endswith(".tar")]
    rates = [_members_per_second(files) for _ in range(rounds + 1)]
    shares = _shares([file.path for file in files])
    print(json.dumps({"members_per_second": rates[1:], **shares}))


def _members_per_second(files: list[FileInfo]) -> float:
    places = pa.RecordBatch.from_pydict({"place": range(len(files))})
    start = time.perf_counter()
    tars = Packed(Tar, (Tar(number, *file) for number, file in enumerate(files)))
    batches = list(scan_shards([places], tars))
    seconds = time.perf_counter() - start
    rows = pa.Table.from_batches(batches)
    shards = rows.filter(pc.equal(rows["kind"], SHARD))
    if pc.count(shards["problem"]).as_py():
        raise SystemExit("The tars have problems.")
    return float(pc.sum(shards["member_count"]).as_py() / seconds)


def _shares(paths: list[str]) -> dict[str, float]:
    """Give shares of all bytes: read by the scan, and not payload, which are headers and the ends of tars."""
    total = read = payload = 0
    for path in paths:
        with _CountedFile(path) as tar:
            sizes = pc.list_flatten(scan_tar(tar, path).samples["payload_bytes"]).to_numpy()
            payload += int((-(-sizes // BLOCK_BYTES) * BLOCK_BYTES).sum())
            read += tar.read_bytes
            total += tar.size_bytes
    return {"read": read / total, "headers": 1 - payload / total}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
