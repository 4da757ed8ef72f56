"""The shard writer from store to store: what it fetches, how much of it at once, and the memory that it takes."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from shardwright import files, publishing
from shardwright.errors import DataError
from shardwright.uploads import Upload
from tests.builders import TarInMemory, sample_members, tar_bytes
from tests.stores import Bucket
from tests.tasks.writing import make_job, rows_of, written

pytestmark = pytest.mark.stores

IMAGE = bytes(50_000)
COUNT = 4_000
PROGRAM = textwrap.dedent(
    """
    import pickle, re, sys, time
    from shardwright.locations import storage_options
    from shardwright.tasks.write import write_shards

    rows, job, options = pickle.load(sys.stdin.buffer)
    start = time.perf_counter()
    with storage_options(options):
        (shard,) = [row for batch in write_shards(rows, job) for row in batch.to_pylist()]
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
    print(shard["shard_bytes"], peak[1], time.perf_counter() - start)
    """
)


def source_tar(count: int) -> bytes:
    members = [
        (name, IMAGE if name.endswith("jpg") else payload)
        for number in range(count)
        for name, payload in sample_members(f"{number:05d}")
    ]
    return tar_bytes(members)


def upload(bucket: Bucket, data: bytes) -> str:
    with publishing.published(bucket.url("data", "source.tar"), "") as target:
        assert isinstance(target, Upload)
        for begin in range(0, len(data), 1 << 20):
            target.write(data[begin : begin + (1 << 20)])
    return bucket.url("data")


def test_write_takes_no_shard_in_a_store_for_its_own_that_another_export_left(bucket: Bucket, tmp_path: Path) -> None:
    data = source_tar(6)
    job = replace(make_job(tmp_path), dataset_root=upload(bucket, data), output_root=bucket.url("out"))
    job = replace(job, staging=bucket.url("out", ".shardwright"))
    publishing.write_json(f"{job.staging}/attempt.json", {})
    others = written(rows_of(data, keep=[0, 2, 4]), job)
    assert written(rows_of(data, keep=[0, 2, 4]), job) == others
    with pytest.raises(DataError, match=r"00000\.parquet: it holds samples of another export"):
        written(rows_of(data, keep=[1, 3, 5]), job)


@pytest.mark.parametrize("step", [1, 2], ids=["all", "every second"])
def test_write_from_store_to_store_fetches_what_is_kept_and_stays_under_300_mib(
    bucket: Bucket, tmp_path: Path, step: int
) -> None:
    data = source_tar(COUNT)
    rows = rows_of(data, keep=list(range(0, COUNT, step)), per_shard=COUNT)
    job = make_job(tmp_path)
    job = replace(job, dataset_root=upload(bucket, data), output_root=bucket.url("out"))
    bucket.requests()
    work = pickle.dumps((rows.to_batches(max_chunksize=4_096), job, bucket.options))
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=work, capture_output=True, check=True)
    shard_bytes, peak_kib = map(int, done.stdout.split()[:2])
    requests = bucket.requests()
    ranges = [request for request in requests if request.method == "GET" and request.path == "data/source.tar"]
    needed = sum(size for sizes in rows["payload_bytes"].to_pylist() for size in sizes)
    fetched = sum(request.sent_bytes for request in ranges)
    # Of what stands together the headers come along.
    assert needed <= fetched <= (len(data) if step == 1 else 1.05 * needed)
    assert len(ranges) <= (COUNT // 2 + 10 if step == 2 else fetched / 1e6 + 10)
    assert peak_kib < 300 * 1024
    assert shard_bytes > needed
    assert bucket.unfinished_uploads() == []
    print(f"{fetched / needed:.3f} of what is needed, {len(ranges)} ranges, {len(requests)} requests, "
          f"{peak_kib // 1024} MiB, {fetched / 1e6 / float(done.stdout.split()[2]):.0f} MB/s")  # fmt: skip


def test_write_gives_the_bytes_of_a_file_system_also_for_large_members(bucket: Bucket, tmp_path: Path) -> None:
    members = [*sample_members("a", image=bytes(range(256)) * 40_000), *sample_members("b"), ("c.txt", b"")]
    data = tar_bytes(members)
    (tmp_path / "source.tar").write_bytes(data)
    rows = rows_of(data)
    job = make_job(tmp_path)
    expected = written(rows, job)
    there = replace(job, dataset_root=upload(bucket, data), output_root=bucket.url("out"))
    assert written(rows, there) == expected
    for suffix in (".tar", ".parquet"):
        assert (
            files.read_bytes(bucket.url("out", f"00000{suffix}")) == (tmp_path / "out" / f"00000{suffix}").read_bytes()
        )
    assert files.read_bytes(bucket.url("data", "source.tar")) == TarInMemory(data).data


def test_write_does_not_fetch_a_shard_that_is_finished(bucket: Bucket, tmp_path: Path) -> None:
    data = source_tar(10)
    job = make_job(tmp_path)
    there = replace(job, dataset_root=upload(bucket, data), output_root=bucket.url("out"))
    expected = written(rows_of(data, per_shard=10), there)
    bucket.requests()
    assert written(rows_of(data, per_shard=10), there) == expected
    asked = bucket.requests()
    assert not [request for request in asked if request.method in ("PUT", "POST")]
    assert not [request for request in asked if request.method == "GET" and re.search(r"\.tar$", request.path)]
    # One that was written again since is not trusted.
    tar = bucket.url("out", "00000.tar")
    other = files.read_bytes(tar)
    time.sleep(1.1)  # stores count seconds
    with publishing.published(tar, "") as target:
        assert isinstance(target, Upload)
        target.write(bytes(len(other)))
    assert written(rows_of(data, per_shard=10), there) == expected
    assert files.read_bytes(tar) == other
