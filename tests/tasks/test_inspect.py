"""The look into samples before they are written: names, hashes, images, and what it takes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardwright import files
from shardwright.errors import DataError
from shardwright.local_files import OpenFile
from shardwright.tasks import inspect
from shardwright.tasks.inspect import InspectJob, inspect_samples
from tests.tasks.inspecting import (
    DECODE,
    HEADER,
    NAMES,
    SOUND,
    found,
    rows_of,
    shard,
)


def test_inspect_says_where_the_problem_is(tmp_path: Path) -> None:
    members = [("a.jpg", SOUND["jpg"]), ("b.txt", b"b"), ("b.seg.PNG", b"<html>"), ("b.jpg", b"{}"), ("c.txt", b"c")]
    path = shard(tmp_path, members)
    rows = rows_of(path, shard_index=7)
    assert found(rows) == [
        {
            "shard_index": 7,
            "shard_path": str(path),
            "position": 1,
            "key": "b",
            "offset": rows["payload_offsets"][1].as_py()[1],
            "reason": "not_an_image",
            "detail": "it looks like an HTML page: b'<html>'",
        }
    ]


@pytest.mark.parametrize("job", [HEADER, InspectJob(None)])
def test_inspect_does_not_read_huge_payloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: InspectJob) -> None:
    path = shard(tmp_path, [("a.jpg", SOUND["jpg"]), ("b.jpg", SOUND["jpg"])])
    sizes = [[inspect.MAX_IMAGE_BYTES], [inspect.MAX_IMAGE_BYTES + 1]]
    rows = rows_of(path, hash=["0" * 32] * 2)
    rows = rows.set_column(rows.column_names.index("payload_bytes"), "payload_bytes", [sizes]).slice(1)
    monkeypatch.setattr(OpenFile, "read", lambda *_: pytest.fail("it was read"))
    assert [(row["reason"], row["detail"]) for row in found(rows, job)] == [
        ("image_too_large", "it has 268,435,457 bytes, at most 268,435,456 are read")
    ]


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "sha512"])
def test_inspect_compares_the_first_images_hash(tmp_path: Path, algorithm: Literal["md5", "sha256", "sha512"]) -> None:
    payload = b"need not be an image"
    path = shard(
        tmp_path, [(f"{key}.{ext}", payload + ext.encode()) for key in "abcde" for ext in ("txt", "x.JPG", "png")]
    )
    right = hashlib.new(algorithm, payload + b"x.JPG").hexdigest()
    rows = rows_of(path, hash=[right, right.upper(), "0" * len(right), None, "\x1b[31m"])
    problems = found(rows, InspectJob(None))
    assert [(row["key"], row["reason"], row["detail"]) for row in problems] == [
        ("c", "wrong_hash", f"its {algorithm} is {right[:12]}…, the row's hash is '000000000000'…"),
        ("e", "wrong_hash", "the row has '\\x1b[31m'…, no hex of MD5, SHA-256 or SHA-512"),
    ]
    assert [row["offset"] for row in problems] == [rows["payload_offsets"][row].as_py()[1] for row in (2, 4)]


def test_inspect_needs_no_hash_of_samples_without_images(tmp_path: Path) -> None:
    assert found(rows_of(shard(tmp_path, [("a.txt", b"a")]), hash=["0"]), InspectJob("decode")) == []


def test_inspect_gives_one_row_a_sample_names_before_hashes_before_images(tmp_path: Path) -> None:
    path = shard(tmp_path, [(f"{key}.{ext}", b"<html>") for key in "abc" for ext in ("jpg", "png")])
    right = hashlib.md5(b"<html>").hexdigest()
    rows = rows_of(path, new_keys={"a": "a" * 97}, hash=["0" * 32, "0" * 32, right])
    problems = found(rows, InspectJob("decode"))
    assert [(row["key"], row["offset"] is None, row["reason"]) for row in problems] == [
        ("a", True, "long_name"),
        ("b", False, "wrong_hash"),
        ("c", False, "not_an_image"),
    ]
    assert problems[0]["detail"] == f"ustar can't hold the name '{'a' * 60}…'"


def test_inspect_takes_names_that_fit(tmp_path: Path) -> None:
    path = shard(tmp_path, [("a.jpg", b""), ("b.jpg", b"")])
    assert found(rows_of(path, new_keys={"a": "a" * 96, "b": "d" * 100 + "/" + "b" * 96}), NAMES) == []


@settings(max_examples=20)
@given(st.permutations(range(12)), st.integers(1, 12))
def test_inspect_gives_the_same_rows_however_they_are_mixed(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], batch_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("mixed")
    shards = [
        rows_of(shard(folder, [(f"{s}{n}.jpg", SOUND["jpg"] if n % 3 else b"") for n in range(4)], f"{s}.tar"), s)
        for s in range(3)
    ]
    rows = pa.concat_tables(shards).take(order)
    batches = [
        batch
        for begin in range(0, 12, batch_rows)
        for batch in rows.slice(begin, batch_rows).combine_chunks().to_batches()
    ]
    problems = [row for batch in inspect_samples(batches, DECODE) for row in batch.to_pylist()]
    assert sorted((row["shard_index"], row["shard_path"], row["key"], row["reason"]) for row in problems) == [
        (s, str(folder / f"{s}.tar"), f"{s}{n}", "not_an_image") for s in range(3) for n in (0, 3)
    ]


def test_inspect_opens_each_tar_once_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [shard(tmp_path, [(f"{n}.jpg", SOUND["jpg"]) for n in range(4)], f"{s}.tar") for s in range(2)]
    rows = pa.concat_tables([rows_of(path) for path in paths]).take([0, 4, 1, 5, 2, 6, 3, 7]).combine_chunks()
    opened: list[str] = []

    class Counting(OpenFile):
        def __init__(self, path: str) -> None:
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(files, "open_file", Counting)
    assert found(rows) == []
    assert opened == [str(path) for path in paths]


def test_inspect_stops_where_a_shard_changed(tmp_path: Path) -> None:
    path = shard(tmp_path, [("a.jpg", SOUND["jpg"])])
    rows = rows_of(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match=r"source\.tar at byte 512: .* 88 are there; the shard changed"):
        found(rows)


def test_inspect_holds_one_payload_and_imports_pillow_only_for_images(tmp_path: Path) -> None:
    """200 payloads of 2 MiB in one batch, hashed and looked at."""
    program = textwrap.dedent(
        """
        import os, re, sys
        import pyarrow as pa
        from shardwright.tasks.inspect import InspectJob, inspect_samples

        def peak():
            return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

        with open(sys.argv[1], "wb") as file:
            file.truncate(200 * (2 << 20))
        rows = pa.RecordBatch.from_pylist([
            {"shard_index": 0, "shard_path": sys.argv[1], "position": n, "key": str(n), "new_key": str(n), "hash": "0",
             "member_exts": ["jpg"], "payload_offsets": [n * (2 << 20)], "payload_bytes": [2 << 20]}
            for n in range(200)])
        hashed = list(inspect_samples([rows], InspectJob(None)))
        imported = "PIL" in sys.modules
        list(inspect_samples([rows.slice(0, 1)], InspectJob("decode")))
        before = peak()
        count = sum(batch.num_rows for batch in inspect_samples([rows], InspectJob("decode")))
        count += sum(batch.num_rows for batch in inspect_samples([rows], InspectJob("decode")))
        print(len(hashed), imported, count, peak() - before)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.tar")], capture_output=True, text=True, check=True
    )
    hashed, imported, count, growth_kib = done.stdout.split()
    assert (hashed, imported, count) == ("1", "False", "400")
    assert int(growth_kib) < 16 << 10
