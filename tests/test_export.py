"""export, end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders import AB, NULL_VECTOR, ROWS, read_rows, read_samples, sample_members, write_shard
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]


def test_export_writes_the_kept_samples_under_new_keys(run: Run, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("export", dataset, out, "--where", "aesthetic_score >= 0.5", "--samples-per-shard", 4)
    assert done.code == 0, done.stderr
    counts = {"shards": 4, "indexed": 30, "kept": 15, "dropped": 15, "rejected": 0, "exported": 15}
    assert {name: done.result[name] for name in counts} == counts
    assert done.result["drops"] == {"where": 15}
    source, written, rows = read_samples(dataset), read_samples(out), read_rows(out)
    assert (
        list(written) == [row["key"] for row in rows] == [f"{s}{p}".zfill(6) for s in range(4) for p in range(4)][:15]
    )
    assert [row["source_key"] for row in rows] == [f"{s * 10_000 + p:09d}" for s in range(3) for p in range(5, 10)]
    for row in rows:
        old, new = source[row["source_key"]], written[row["key"]]
        assert (new["jpg"], new["txt"]) == (old["jpg"], old["txt"])
        assert json.loads(new["json"]) == {**json.loads(old["json"]), "key": row["key"]}
        assert row["caption"] == old["txt"].decode()


def test_arrow_types_and_odd_names_survive(run: Run, tmp_path: Path) -> None:
    key = pa.array(["a", "b"])
    columns = {
        "key": key,
        "u8": pa.array([1, None], pa.uint8()),
        "u64": pa.array([2**64 - 1, 0], pa.uint64()),
        "half": pa.array([1.5, None], pa.float32()),
        "label": pa.array(["x", None]).dictionary_encode(),
        "vector": pa.array([[1.0, 2.0], NULL_VECTOR], pa.list_(pa.float32(), 2)),
        "naive": pa.array([1, None], pa.timestamp("ms")),
        "zoned": pa.array([1, None], pa.timestamp("us", "Europe/Berlin")),
        "day": pa.array([1, None], pa.date32()),
        "price": pa.array([None, None], pa.decimal128(9, 2)),
        "nothing": pa.nulls(2),
        "big": pa.array(["y", "z"], pa.large_string()),
        "raw": pa.array([b"\xff", None], pa.binary()),
        "nested": pa.array([{"a": [1], "b": {"c": "d"}}, None]),
        "with space, comma": pa.array([1, 2]),
        "a.dot": pa.array([3, 4]),
        "Position": pa.array([5, 6]),
        "shard_path": pa.array(["p", "q"]),
    }
    table = pa.table(columns)
    write_shard(tmp_path / "data", "s", [*sample_members("a"), *sample_members("b")], table)
    done = run(
        "export",
        tmp_path / "data",
        tmp_path / "out",
        "--where",
        "`with space, comma` > 0 AND `a.dot` > 0 AND Position > 0",
    )
    assert done.code == 0, done.result
    found = pq.read_table(tmp_path / "out" / "00000.parquet")
    assert found.drop_columns(["key", "source_key", "source_shard"]).equals(table.drop_columns(["key"]))
    mapping = json.loads((tmp_path / "out" / "manifest.json").read_text())["columns"]
    assert {name: mapping[name] for name in ("with space, comma", "a.dot", "Position", "shard_path")} == {
        "with space, comma": "meta_with_space__comma",
        "a.dot": "meta_a_dot",
        "Position": "meta_Position",
        "shard_path": "meta_shard_path",
    }
    kept = run("export", tmp_path / "data", tmp_path / "kept", "--where", "true", "--keys", "source")
    assert kept.code == 0, kept.result
    same = pq.read_table(tmp_path / "kept" / "00000.parquet")
    assert same.select(table.column_names).equals(table)
    assert read_samples(tmp_path / "kept") == read_samples(tmp_path / "data")


def test_a_dataset_without_sidecars_is_resharded(run: Run, tmp_path: Path) -> None:
    write_shard(tmp_path / "data", "s", [*sample_members("a"), *sample_members("b")], None)
    assert run("reshard", tmp_path / "data", tmp_path / "out", "--samples-per-shard", 1).code == 0
    assert read_rows(tmp_path / "out") == [
        {"key": "00000", "source_key": "a", "source_shard": "s.tar"},
        {"key": "00001", "source_key": "b", "source_shard": "s.tar"},
    ]
    assert run("verify", tmp_path / "out", "--deep").code == 0


def test_a_users_own_shard_stem_stays_where_keys_repeat(run: Run, tmp_path: Path) -> None:
    for shard in ("00000", "00001"):
        write_shard(tmp_path / "data", shard, AB, [{**row, "shard_stem": f"{shard}x"} for row in ROWS])
    out = tmp_path / "out"
    assert run("export", tmp_path / "data", out, "--where", "shard_stem = '00001x'").code == 0
    assert [row["shard_stem"] for row in read_rows(out)] == ["00001x"] * 2


def test_keys_that_repeat_between_shards_pair_with_their_own_rows(run: Run, tmp_path: Path) -> None:
    write_shard(tmp_path / "data", "s 1+%", AB, ROWS)
    write_shard(tmp_path / "data", "s2", AB, [{"key": "b", "score": 20.0}, {"key": "a", "score": 10.0}])
    assert run("export", tmp_path / "data", tmp_path / "out", "--where", "true").code == 0
    found = [(row["source_shard"], row["source_key"], row["score"]) for row in read_rows(tmp_path / "out")]
    assert found == [("s 1+%.tar", "a", 1.0), ("s 1+%.tar", "b", 2.0), ("s2.tar", "a", 10.0), ("s2.tar", "b", 20.0)]
    done = run("export", tmp_path / "data", tmp_path / "out2", "--where", "true", "--keys", "source")
    assert (done.code, [found["reason"] for found in done.result["problems"]]) == (1, ["duplicate_key"] * 2)
    done = run("export", tmp_path / "data", tmp_path / "out3", "--where", "score < 3", "--keys", "source")
    assert (done.code, done.result["exported"]) == (0, 2)
