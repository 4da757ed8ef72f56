"""The shard writer, without Spark: rows of ``exports`` in, a tar and a sidecar out."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from shardwright.errors import DataError
from shardwright.format.scan import scan_tar
from shardwright.format.sidecar import read_receipt
from shardwright.tasks import tar_writer
from shardwright.tasks.write import write_shards
from tests.builders import TarInMemory, read_tar, sample_members, tar_bytes
from tests.tasks.writing import make_job, rows_of, written

KEYS = [f"k{number}" for number in range(7)]
MEMBERS = [member for key in KEYS for member in sample_members(key)]


def output_bytes(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "out").iterdir()) if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "source.tar").write_bytes(tar_bytes(MEMBERS))
    return tmp_path


def test_write_renames_members_and_changes_nothing_else_but_the_json_id(root: Path) -> None:
    manifest = written(rows_of(tar_bytes(MEMBERS), keep=[0, 2, 3, 6]), make_job(root))
    source = dict(MEMBERS)
    found = [member for name in ("00000", "00001") for member in read_tar(root / "out" / f"{name}.tar")]
    expected = []
    for key, old in zip(["000", "001", "002", "003"], ["k0", "k2", "k3", "k6"], strict=True):
        text = json.dumps({**json.loads(source[f"{old}.json"]), "key": key}).encode()
        expected += [(f"{key}.jpg", source[f"{old}.jpg"]), (f"{key}.txt", source[f"{old}.txt"]), (f"{key}.json", text)]
    assert found == expected
    sidecar = pq.read_table(root / "out" / "00000.parquet")
    assert sidecar.to_pylist() == [
        {"key": f"00{rank}", "score": rank / 2, "source_key": old} for rank, old in enumerate(["k0", "k2", "k3"])
    ]
    assert sidecar.schema.field("score").type == pa.float32()
    for row in manifest:
        tar = (root / "out" / f"{row['shard_name']}.tar").read_bytes()
        assert (row["shard_bytes"], row["checksum"]) == (len(tar), f"xxh3-128:{xxhash.xxh3_128(tar).hexdigest()}")
        assert len(tar) % 10_240 == 0
        assert tar.endswith(bytes(1024))
        receipt = read_receipt(pq.read_metadata(root / "out" / f"{row['shard_name']}.parquet").metadata)
        assert receipt is not None
        assert (receipt.sample_count, receipt.shard_bytes, receipt.checksum) == (
            row["sample_count"],
            row["shard_bytes"],
            row["checksum"],
        )
    assert [(row["shard_id"], row["sample_count"]) for row in manifest] == [(0, 3), (1, 1)]


def test_write_equals_tarfile_byte_for_byte_where_no_json_changes(root: Path) -> None:
    rows = rows_of(tar_bytes(MEMBERS), per_shard=100)
    written(rows, make_job(root, json_id_field=None))
    renamed = [(f"{KEYS.index(name.split('.')[0]):03d}.{name.split('.', 1)[1]}", payload) for name, payload in MEMBERS]
    assert (root / "out" / "00000.tar").read_bytes() == tar_bytes(renamed)


def test_write_makes_the_golden_shard(root: Path) -> None:
    """Bytes of tars are a promise: whoever changes them changes checksums everywhere."""
    members = [("a.jpg", b"\xff\xd8image"), ("a.json", b'{"key": "a", "n": 1}'), ("b.txt", b"")]
    (root / "source.tar").write_bytes(tar_bytes(members))
    written(rows_of(tar_bytes(members)), make_job(root))
    golden = Path(__file__).parents[1] / "golden" / "00000.tar"
    assert (root / "out" / "00000.tar").read_bytes() == golden.read_bytes()


@settings(max_examples=15)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=7))
def test_write_gives_the_same_bytes_however_rows_are_batched(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    outputs = []
    for batches in ([100], sizes):
        root = tmp_path_factory.mktemp("batched")
        (root / "source.tar").write_bytes(tar_bytes(MEMBERS))
        table = rows_of(tar_bytes(MEMBERS))

        def cut(table: pa.Table = table, batches: list[int] = batches) -> Iterator[pa.RecordBatch]:
            done = 0
            while done < len(table):
                for size in batches:
                    yield from table.slice(done, size).to_batches()
                    done += size

        list(write_shards(cut(), make_job(root)))
        outputs.append(output_bytes(root))
    assert outputs[0] == outputs[1]


def test_write_gives_the_same_bytes_for_every_dialect_of_the_source(tmp_path_factory: pytest.TempPathFactory) -> None:
    outputs = []
    for tar_format, mtime in ((tarfile.USTAR_FORMAT, 0), (tarfile.GNU_FORMAT, 7), (tarfile.PAX_FORMAT, 1.5)):
        other = tmp_path_factory.mktemp("dialect")
        data = tar_bytes(MEMBERS, tar_format, mtime)
        (other / "source.tar").write_bytes(data)
        written(rows_of(data), make_job(other))
        outputs.append(output_bytes(other))
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.parametrize("buffer_bytes", [512, 1024, 4096])
def test_write_copies_members_larger_than_its_buffer(
    root: Path, monkeypatch: pytest.MonkeyPatch, buffer_bytes: int
) -> None:
    written(rows_of(tar_bytes(MEMBERS)), make_job(root))
    expected = output_bytes(root)
    for path in (root / "out").glob("0*"):
        path.unlink()
    monkeypatch.setattr(tar_writer, "BUFFER_BYTES", buffer_bytes)
    written(rows_of(tar_bytes(MEMBERS)), make_job(root))
    assert output_bytes(root) == expected


def test_write_does_not_copy_what_stands_in_the_sources_padding(root: Path) -> None:
    clean = tar_bytes(MEMBERS)
    dirty = bytearray(clean)
    for row in scan_tar(TarInMemory(clean), "").samples.to_pylist():
        for offset, size in zip(row["payload_offsets"], row["payload_bytes"], strict=True):
            dirty[offset + size : offset + size + -size % 512] = b"!" * (-size % 512)
    written(rows_of(clean), make_job(root))
    expected = output_bytes(root)
    for path in (root / "out").glob("0*"):
        path.unlink()
    (root / "source.tar").write_bytes(dirty)
    written(rows_of(clean), make_job(root))
    assert output_bytes(root) == expected


def test_write_leaves_nothing_behind_when_it_fails(root: Path) -> None:
    rows = rows_of(tar_bytes(MEMBERS))
    (root / "source.tar").write_bytes(tar_bytes(MEMBERS)[:3000])
    with pytest.raises(DataError, match="changed since it was indexed"):
        written(rows, make_job(root))
    assert list((root / "out").iterdir()) == [root / "out" / ".staging"]
    assert not list((root / "out" / ".staging").iterdir())


def test_write_names_the_json_member_that_is_no_object(root: Path) -> None:
    members = [("a.jpg", b"1"), ("a.json", b"[1]")]
    (root / "source.tar").write_bytes(tar_bytes(members))
    with pytest.raises(DataError, match=r"source\.tar: JSON member at byte 1,536: bad_json"):
        written(rows_of(tar_bytes(members)), make_job(root))


def test_write_does_not_write_a_finished_tar_again(root: Path) -> None:
    first = written(rows_of(tar_bytes(MEMBERS)), make_job(root))
    stamps = {path: path.stat().st_mtime_ns for path in (root / "out").glob("0*")}
    (root / "out" / "00001.parquet").unlink()
    assert written(rows_of(tar_bytes(MEMBERS)), make_job(root)) == first
    again = {path.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    # Of sidecars that were there, only the end is known to be sound.
    assert again == {"00001.tar", "00000.parquet", "00001.parquet", "00002.parquet"}


@pytest.mark.input(39, "an executor killed while it writes, and its twin beside it")
def test_write_is_finished_by_whoever_lives(root: Path) -> None:
    expected = written(rows_of(tar_bytes(MEMBERS)), make_job(root))
    whole = output_bytes(root)
    for file in (root / "out").glob("0*"):
        file.unlink()
    program = textwrap.dedent(
        """
        import os, pickle, signal, sys
        from shardwright import local_files
        from shardwright.tasks import write

        rows, job, countdown = pickle.load(sys.stdin.buffer)
        really_write = local_files.write_all

        def dying(descriptor, data):
            global countdown
            countdown -= 1
            really_write(descriptor, data[: len(data) // 2] if not countdown else data)
            if not countdown:
                os.kill(os.getpid(), signal.SIGKILL)

        local_files.write_all = dying
        list(write.write_shards(rows, job))
        """
    )
    rows = rows_of(tar_bytes(MEMBERS))
    for countdowns in ((1,), (2,), (3,), (4,), (0, 0)):
        writers = [subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) for _ in countdowns]
        for writer, countdown in zip(writers, countdowns, strict=True):
            writer.communicate(pickle.dumps((rows.to_batches(), make_job(root), countdown)))
            assert writer.returncode == (-signal.SIGKILL if countdown else 0)
        assert output_bytes(root).items() <= whole.items()
    assert output_bytes(root) == whole
    assert written(rows, make_job(root)) == expected


def test_write_keeps_whole_exts_and_empty_payloads(root: Path) -> None:
    members = [("x.seg.png", b"1"), ("x.depth.png", b""), ("x.JPG", b"3")]
    (root / "source.tar").write_bytes(tar_bytes(members))
    written(rows_of(tar_bytes(members)), make_job(root))
    assert read_tar(root / "out" / "00000.tar") == [("000.seg.png", b"1"), ("000.depth.png", b""), ("000.JPG", b"3")]


@pytest.mark.input(41, "a tar of many gigabytes against a small executor")
def test_write_stays_under_300_mib_for_a_5_gb_shard(tmp_path: Path) -> None:
    """99,000 members of 50 kB from a sparse source; only the last step, the write to disk, is left out."""
    program = textwrap.dedent(
        """
        import os, re, sys
        import pyarrow as pa
        from shardwright import local_files
        from shardwright.tasks import write
        from shardwright.format.sidecar import SidecarColumn

        root = sys.argv[1]
        with open(os.path.join(root, "source.tar"), "wb") as file:
            file.truncate(99_000 * 50_176 + 1024)
        os.makedirs(os.path.join(root, "out", ".staging"))
        local_files.write_all = lambda descriptor, data: None  # the disk is not what is measured
        rows = pa.RecordBatch.from_pylist([
            {"shard_id": 0, "key": f"{n:03d}", "source_shard": "source.tar", "member_exts": ["jpg"] * 1000,
             "payload_offsets": [(n * 1000 + i) * 50_176 + 512 for i in range(1000)], "payload_bytes": [50_000] * 1000}
            for n in range(99)])
        columns = (SidecarColumn("key", "key", pa.field("key", pa.string())),)
        out = os.path.join(root, "out")
        job = write.WriteJob(root, out, os.path.join(out, ".staging"), 5, None, columns, "k", "s")
        (manifest,) = [row for batch in write.write_shards([rows], job) for row in batch.to_pylist()]
        # Not getrusage: its peak counts the process that started this one.
        peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
        print(manifest["shard_bytes"], peak[1])
        """
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    shard_bytes, peak_kib = map(int, done.stdout.split())
    assert shard_bytes > 4_900_000_000
    assert peak_kib < 300 * 1024
