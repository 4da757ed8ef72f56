"""An index that is kept: what of it is read anew, and what it says of shards when others come and go."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.builders import read_rows, sample_members, write_shard
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]


def test_a_shard_of_the_same_size_and_time_as_the_one_before_is_scanned_again(run: Run, dataset: Path) -> None:
    shard = dataset / "00001.tar"
    assert run("index", dataset).result["scanned_shards"] == 3
    status, data = shard.stat(), shard.read_bytes()
    other = shard.with_suffix(".new")
    other.write_bytes(data.replace(b"caption of 000010003", b"caption of 000010033"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(shard)
    assert (shard.stat().st_size, shard.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert run("index", dataset).result["scanned_shards"] == 1


def test_an_unchanged_shard_is_not_scanned_twice(run: Run, dataset: Path) -> None:
    scanned = [run("index", dataset).result["scanned_shards"], run("index", dataset).result["scanned_shards"]]
    shard = dataset / "00001.tar"
    shard.write_bytes(shard.read_bytes() + bytes(10_240))
    changed = run("index", dataset).result
    assert changed.get("indexed") == 30, changed
    (dataset / "00002.tar").unlink()
    (dataset / "00002.parquet").unlink()
    fewer = run("index", dataset).result
    assert [*scanned, changed["scanned_shards"], fewer["scanned_shards"]] == [3, 0, 1, 0]
    assert (changed["indexed"], fewer["indexed"], fewer["shards"]) == (30, 20, 2)
    rules = ["--where", "aesthetic_score < 0.2", "--samples-per-shard", 9]
    done = run("export", dataset, dataset.parent / "out", *rules)
    assert (done.code, done.result["indexed"], done.result["kept"]) == (0, 20, 4)


def test_shards_keep_their_own_metadata_where_others_come_and_go(run: Run, tmp_path: Path) -> None:
    """The index is found, not made: the ranks that it was made with are of another time."""
    data = tmp_path / "data"
    for name in ("b", "c", "a"):  # alike but for their metadata
        keys = [f"{number}" for number in range(3)]
        rows = pa.table({"key": keys, "caption": [f"{name}.tar {key}" for key in keys]})
        write_shard(data, name, [member for key in keys for member in sample_members(key)], rows)
        assert run("index", data).result["scanned_shards"] == 1
    for number, names in enumerate((["a", "b", "c"], ["b", "c"], ["c"])):
        for path in set(data.iterdir()) - {data / f"{name}.{kind}" for name in names for kind in ("tar", "parquet")}:
            path.unlink()
        assert run("index", data).result["scanned_shards"] == 0
        out = tmp_path / f"out{number}"
        assert run("reshard", data, out, "--samples-per-shard", 4).result["exported"] == 3 * len(names)
        placed = {f"{row['source_shard']} {row['source_key']}": row["caption"] for row in read_rows(out)}
        assert placed == {f"{name}.tar {key}": f"{name}.tar {key}" for name in names for key in keys}
