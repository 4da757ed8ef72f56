"""What the shard writer reads of source tars: what is kept, in few calls, whatever lies between."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardwright.format.headers import BLOCK_BYTES
from shardwright.local_files import read_range
from shardwright.tasks.sources import BUFFER_BYTES
from tests.builders import sample_members, tar_bytes
from tests.tasks.writing import make_job, rows_of, written

COUNT = 200
IMAGE = bytes(50_000)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each read of a source tar gave."""
    given: list[int] = []

    def counted(descriptor: int, offset: int, into: memoryview) -> int:
        given.append(read_range(descriptor, offset, into))
        return given[-1]

    monkeypatch.setattr("shardwright.tasks.sources.read_range", counted)
    return given


@pytest.mark.parametrize(
    ("keep", "runs"),
    [
        (list(range(COUNT)), 1),
        (list(range(0, COUNT, 2)), COUNT // 2),
        ([number for number in range(COUNT) if number % 10 < 5], COUNT // 10),
    ],
    ids=["all", "every second", "five of ten"],
)
def test_write_reads_each_run_of_kept_samples_at_once_and_nothing_else(
    tmp_path: Path, reads: list[int], keep: list[int], runs: int
) -> None:
    members = [
        (name, IMAGE if name.endswith("jpg") else payload)
        for number in range(COUNT)
        for name, payload in sample_members(f"{number:05d}")
    ]
    data = tar_bytes(members)
    (tmp_path / "source.tar").write_bytes(data)
    rows = rows_of(data, keep=keep, per_shard=COUNT)
    written(rows, make_job(tmp_path))
    needed = sum(size for sizes in rows["payload_bytes"].to_pylist() for size in sizes)
    # The headers between the members of a run come with them.
    assert needed <= sum(reads) <= needed + len(keep) * 6 * BLOCK_BYTES
    # A run that is longer than the buffer is read in pieces.
    assert runs <= len(reads) <= runs + sum(reads) // BUFFER_BYTES + 1


def test_write_reads_through_small_gaps(tmp_path: Path, reads: list[int]) -> None:
    members = [member for number in range(COUNT) for member in sample_members(f"{number:05d}")]
    data = tar_bytes(members)
    (tmp_path / "source.tar").write_bytes(data)
    written(rows_of(data, keep=list(range(0, COUNT, 2)), per_shard=COUNT), make_job(tmp_path))
    assert len(reads) == 1
    assert sum(reads) < len(data)
