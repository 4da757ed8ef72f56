"""Objects as files, against a real S3 server: lists, ranges, uploads, and what stays behind."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardwright import files, object_files, object_store, publishing
from shardwright.errors import ChangedError, RequestError, RunError
from shardwright.format.loader_index import dali_lines, energon_offsets, header_runs
from shardwright.format.scan import scan_tar
from shardwright.locations import storage_options
from shardwright.object_files import Forwards, StoreFile
from shardwright.object_store import PART_BYTES, put
from shardwright.uploads import Upload
from tests.builders import TarInMemory, sample_members, tar_bytes
from tests.stores import SECRET, Bucket

pytestmark = pytest.mark.stores


def test_a_store_lists_files_as_a_file_system_does(bucket: Bucket, tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "sub/c.tar", ".hidden/d.tar", "sub/.e.tar", "ä b.tar"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    url = bucket.upload(tmp_path / "data", "data")
    bucket.upload(tmp_path / "data", "data2")
    for recursive in (False, True):
        here = [
            (file.path.removeprefix(str(tmp_path / "data")), file.size_bytes)
            for file in files.list_files(str(tmp_path / "data"), recursive=recursive)
        ]
        there = [(file.path.removeprefix(url), file.size_bytes) for file in files.list_files(url, recursive=recursive)]
        assert there == here
    assert sorted(files.list_names(url)) == sorted(files.list_names(str(tmp_path / "data")))
    assert files.is_folder(url)
    assert files.is_folder(f"{url}/sub")
    assert not files.is_folder(f"{url}/b.tar")
    assert files.is_file(f"{url}/b.tar")
    assert not files.exists(f"{url}/z")
    assert files.list_names(f"{url}/z") == []


def test_a_list_of_many_objects_takes_a_request_a_thousand(bucket: Bucket) -> None:
    for number in range(1_001):
        put(bucket.url("data", f"{number:05d}.txt"), b"x")
    bucket.requests()
    assert len(files.list_files(bucket.url("data"))) == 1_001
    assert len(bucket.requests()) == 2


def test_ranges_are_those_of_the_object(bucket: Bucket) -> None:
    data = random.Random(0).randbytes(100_000)
    put(bucket.url("x"), data)
    with files.open_file(bucket.url("x")) as file:
        assert file.size_bytes == len(data)
        assert file.read(10, 20) == data[10:30]
        assert file.read(99_990, 20) == data[99_990:]
        assert file.read(100_000, 20) == b""
    with pytest.raises(FileNotFoundError):
        files.open_file(bucket.url("y"))
    assert files.read_bytes(bucket.url("x")) == data
    assert b"".join(files.read_chunks(bucket.url("x"))) == data
    with files.open_stream(bucket.url("x")) as stream:
        stream.seek(-5, 2)
        assert stream.read() == data[-5:]


@pytest.mark.parametrize("size", [100_000, 100_001])
def test_an_object_that_changes_is_an_error_that_names_it(bucket: Bucket, size: int) -> None:
    put(bucket.url("x"), bytes(100_000))
    (listed,) = files.list_files(bucket.url())
    with files.open_file(bucket.url("x"), listed) as file:
        assert file.read(0, 10) == bytes(10)
        put(bucket.url("x"), b"\1" * size)
        with pytest.raises(ChangedError, match=r"s3://.*/x: it changed since it was listed"):
            file.read(10, 10)


@pytest.mark.parametrize("step", [60_000, 30_000_000])
def test_reads_that_go_forwards_read_through_or_hop(bucket: Bucket, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_files.Pace, "request_bytes", 1_000_000)
    size = 20 * step if step < 1_000_000 else 4 * step
    with publishing.published(bucket.url("x"), "") as upload:
        assert isinstance(upload, Upload)
        for number in range(size // 10_000):
            upload.write(number.to_bytes(8, "big") * 1_250)
    bucket.requests()
    with files.open_forwards(bucket.url("x")) as file:
        assert isinstance(file, Forwards)
        for offset in range(0, size, step):
            assert file.read(offset, 8) == (offset // 10_000).to_bytes(8, "big")
    sent = [request.sent_bytes for request in bucket.requests() if request.method == "GET"]
    if step < 1_000_000:
        assert sum(sent) == size
        assert len(sent) == 1
    else:
        assert sum(sent) < size / 2


def test_an_index_tells_where_to_look_and_is_not_believed(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_files.Pace, "request_bytes", 1_000)
    members = [
        (name, bytes(1_000_000) if name.endswith("jpg") else payload)
        for number in range(40)
        for name, payload in sample_members(f"{number:05d}")
    ]
    data = tar_bytes(members)
    put(bucket.url("x.tar"), data)
    samples = scan_tar(TarInMemory(data), "x").samples
    lines = dali_lines(samples, "v1.2")
    shifted = [re.sub(r"\d{4,}", lambda found: str(int(found[0]) + 1_024), line) for line in lines]
    indexes = {
        "x.idx": "\n".join(lines).encode(),
        "x.tar.idx": energon_offsets(samples).astype("<u8").tobytes(),
        "wrong/x.idx": "\n".join(shifted).encode(),
        "other/x.idx": b"v1.2 7\njpg here",
    }
    requests = {}
    for name, index in {"": b"", **indexes}.items():
        bucket.requests()
        runs = header_runs(name, index)
        with files.open_forwards(bucket.url("x.tar"), pieces=lambda runs=runs: runs) as tar:  # type: ignore[misc]
            assert scan_tar(tar, "x").samples.equals(samples)
        requests[name] = [request.sent_bytes for request in bucket.requests() if request.method == "GET"]
    assert header_runs("other/x.idx", indexes["other/x.idx"]) == []
    assert len(header_runs("x.idx", indexes["x.idx"])) == 41
    # As many bytes as without, and all are asked for at once.
    assert all(sum(sent) < len(data) / 5 for sent in requests.values())
    assert len(requests["x.idx"]) <= len(requests[""]) + 2


def test_an_upload_appears_whole_or_not_at_all(bucket: Bucket) -> None:
    data = random.Random(0).randbytes(2 * PART_BYTES + 5)
    for size in (0, 5, len(data)):
        with publishing.published(bucket.url("x"), "") as upload:
            assert isinstance(upload, Upload)
            upload.write(data[:size])
            assert bucket.all_keys() == ([] if size == 0 else ["x"])
        assert files.read_bytes(bucket.url("x")) == data[:size]
    assert bucket.unfinished_uploads() == []


def test_an_upload_that_fails_leaves_nothing(bucket: Bucket) -> None:
    def fail() -> None:
        with publishing.published(bucket.url("x"), "") as upload:
            assert isinstance(upload, Upload)
            for _ in range(5):
                upload.write(bytes(PART_BYTES))
            assert bucket.unfinished_uploads()
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        fail()
    assert bucket.all_keys() == []
    assert bucket.unfinished_uploads() == []


def test_parquet_is_written_and_read_as_on_a_file_system(bucket: Bucket, tmp_path: Path) -> None:
    table = pa.table({"a": range(100_000), "b": ["x"] * 100_000})
    pq.write_table(table, tmp_path / "x.parquet")
    with publishing.published(bucket.url("x.parquet"), "") as target, pq.ParquetWriter(target, table.schema) as writer:
        writer.write_table(table)
    assert files.read_bytes(bucket.url("x.parquet")) == (tmp_path / "x.parquet").read_bytes()
    bucket.requests()
    assert pq.read_schema(files.readable(bucket.url("x.parquet"))) == table.schema
    assert sum(request.sent_bytes for request in bucket.requests()) < 100_000
    assert pq.read_table(files.readable(bucket.url("x.parquet"))) == table


def test_small_files_are_written_moved_and_removed(bucket: Bucket) -> None:
    publishing.write_json(bucket.url("out", "plan.json"), {"a": 1})
    assert files.read_json(bucket.url("out", "plan.json")) == {"a": 1}
    assert files.read_json(bucket.url("out", "other.json")) is None
    files.move_file(bucket.url("out", "plan.json"), bucket.url("out", "done.json"))
    assert bucket.all_keys() == ["out/done.json"]
    files.remove_files([bucket.url("out", "done.json"), bucket.url("out", "none.json")])
    files.remove_folder(bucket.url("out"))
    assert bucket.all_keys() == []


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"secret_access_key": "planted-wrong-secret"}, RunError, "access was refused"),
        ({"no_such_option": "planted-value"}, RequestError, "have no option 'no_such_option'"),
        ({"endpoint": "http://127.0.0.1:9", "max_retries": "0"}, RunError, "Run the same command again"),
        ({"max_retries": "planted-number"}, RequestError, "it is no number"),
    ],
)
def test_what_a_store_refuses_is_said_without_a_secret(
    bucket: Bucket, option: dict[str, str], error: type[Exception], message: str
) -> None:
    with storage_options({**bucket.options, **option}), pytest.raises(error, match=message) as refused:
        files.list_files(bucket.url("x"))
    assert "planted" not in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_said() -> None:
    with pytest.raises(RequestError, match="s3://none-of-this-name/x: no such bucket"):
        files.list_files("s3://none-of-this-name/x")
    with pytest.raises(RequestError, match="no such bucket"):
        put("s3://none-of-this-name/x", b"")


def test_requests_that_fail_are_tried_again_and_not_for_ever(bucket: Bucket) -> None:
    put(bucket.url("x"), bytes(10))
    bucket.requests()
    with bucket.failing("GET", times=2):
        assert files.read_bytes(bucket.url("x")) == bytes(10)
    assert [request.status for request in bucket.requests() if request.method == "GET"] == [0, 0, 206]
    budget = storage_options({**bucket.options, "max_retries": "2"})
    with budget, bucket.failing("GET", times=100), pytest.raises(RunError, match="503"):
        files.read_bytes(bucket.url("x"))
    assert len([request for request in bucket.requests() if request.method == "GET"]) == 3


@pytest.mark.skipif(sys.version_info < (3, 11), reason="obstore's newest version for Python 3.10 does not abort these")
def test_an_upload_whose_parts_the_store_refuses_leaves_nothing(bucket: Bucket) -> None:
    def upload_six_parts() -> None:
        with publishing.published(bucket.url("x"), "") as upload:
            assert isinstance(upload, Upload)
            for _ in range(6):
                upload.write(bytes(PART_BYTES))

    options = storage_options({**bucket.options, "max_retries": "2"})
    refused = bucket.failing("partNumber=3", times=100)
    with options, refused, pytest.raises(RunError, match="partNumber=3"):
        upload_six_parts()
    assert bucket.all_keys() == []
    assert bucket.unfinished_uploads() == []


def test_requests_are_many_at_once(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bucket.url("x"), bytes(1_000_000))
    most = now = 0
    get = object_store.get_range

    def counted(*words: Any) -> Any:
        nonlocal most, now
        now += 1
        most = max(most, now)
        answer = get(*words)
        now -= 1
        return answer

    monkeypatch.setattr(object_files, "get_range", counted)
    with StoreFile(bucket.url("x")) as file:
        asked = [file.submit(offset, 10) for offset in range(0, 1_000_000, 1_000)]
        assert all(len(answer.result()) == 10 for answer in asked)
    assert object_files.REQUESTS_IN_FLIGHT // 2 < most <= object_files.REQUESTS_IN_FLIGHT
