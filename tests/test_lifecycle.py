"""An export's life: planned, written, interrupted, completed, reported, exported again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardwright import export, plan
from shardwright.errors import RunError
from shardwright.store import output, tables
from tests.builders import (
    NULL_VECTOR,
    read_rows,
    read_samples,
    sample_members,
    tree_bytes,
    write_dataset,
    write_shard,
)
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]
KEEP = ["--where", "aesthetic_score >= 0.5", "--samples-per-shard", 4]


def test_dry_run_counts_as_the_export_does_and_writes_nothing(run: Run, dataset: Path, tmp_path: Path) -> None:
    planned = run("export", dataset, tmp_path / "out", *KEEP, "--no-json-id", "--dry-run").result
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    written = run("export", dataset, tmp_path / "out", *KEEP, "--no-json-id").result
    names = ("snapshot_id", "shards", "indexed", "kept", "dropped", "rejected", "drops")
    assert {name: planned[name] for name in names} == {name: written[name] for name in names}
    payload = sum(
        len(member) + -len(member) % 512 + 512
        for sample in read_samples(tmp_path / "out").values()
        for member in sample.values()
    )
    assert (planned["bytes"], planned["exported"]) == (payload, 0)
    assert run("export", dataset, tmp_path / "again", *KEEP, "--dry-run").result["kept"] == 15


def test_the_same_export_again_writes_nothing_and_other_settings_are_refused(
    run: Run, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = run("export", dataset, out, *KEEP)
    stamps = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = run("export", dataset, out, *KEEP)
    assert (again.code, {**again.result, "seconds": 0}) == (0, {**first.result, "seconds": 0})
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == stamps
    other = run("export", dataset, out, *KEEP[:2], "--samples-per-shard", 5)
    assert (other.code, "samples_per_shard was 4 and now is 5" in other.result["error"]) == (2, True)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").unlink()
    assert run("export", dataset, out, *KEEP).code == 0
    found = json.loads((out / "manifest.json").read_text())
    assert {name: value for name, value in found.items() if not name.endswith("_at")} == {
        name: value for name, value in manifest.items() if not name.endswith("_at")
    }
    os.utime(dataset / "00001.tar")
    changed = run("export", dataset, out, *KEEP)
    assert (changed.code, "with other inputs: shards was" in changed.result["error"]) == (2, True)


def test_an_export_that_fails_at_any_step_is_completed_by_the_same_command(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("export", dataset, tmp_path / "whole", *KEEP).code == 0
    whole = tree_bytes(tmp_path / "whole")
    steps: list[tuple[ModuleType, str, int]] = [
        (plan, "append", 1),
        (export, "begin_output", 1),
        (output, "write_json", 1),
        (export, "_write", 1),
        (export, "append_rows", 1),
        (export, "append_rows", 2),
        (export, "finish_output", 1),
        (output, "write_json", 2),
        (output, "remove_folder", 1),
    ]
    for number, (module, name, call) in enumerate(steps):
        out = tmp_path / f"out{number}"
        with monkeypatch.context() as patched:
            patched.setattr(module, name, failing_at(call, getattr(module, name)))
            assert run("export", dataset, out, *KEEP).code == 3, (name, call)
        assert (out / "manifest.json").exists() == (name == "remove_folder")
        stamps = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
        assert bool(stamps) == (number > 3)
        done = run("export", dataset, out, *KEEP)
        assert (done.code, done.result["exported"]) == (0, 15), (name, call)
        assert {path: path.stat().st_mtime_ns for path in out.glob("*.tar") if path in stamps} == stamps
        assert tree_bytes(out) == whole
        assert len(run("history", out).result["snapshots"]) == 1
    assert run("verify", out).code == 0


def failing_at(call: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function that fails instead of its n-th call."""
    calls = count(1)

    def call_or_fail(*arguments: Any, **named: Any) -> Any:
        if next(calls) == call:
            raise RunError("storage", "the power went", "Run it again")
        return function(*arguments, **named)

    return call_or_fail


def test_shards_that_a_crash_of_the_machine_spoilt_are_written_again(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(export, "append_rows", failing_at(1, tables.append_rows))
        assert run("export", dataset, out, *KEEP).code == 3
    whole = tree_bytes(out)
    tar = out / "00001.tar"
    tar.write_bytes(bytes(tar.stat().st_size))
    (out / "00002.parquet").write_bytes(whole["00002.parquet"][:100])
    assert run("export", dataset, out, *KEEP).code == 0
    assert tree_bytes(out) == whole


def test_a_shard_that_changes_during_an_export_is_never_committed(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_and_touch(*words: Any) -> None:
        output.begin_output(*words)
        os.utime(dataset / "00001.tar")

    with monkeypatch.context() as patched:
        patched.setattr(export, "begin_output", begin_and_touch)
        done = run("export", dataset, tmp_path / "out", *KEEP)
    assert (done.code, "00001.tar: the shard changed while it was exported" in done.result["error"]) == (1, True)
    assert not (tmp_path / "out").exists()
    assert run("history", tmp_path / "out_tables").code == 2


@pytest.mark.parametrize("seconds", [0.6, 1.2, 2.0, 4.0])
def test_an_interrupt_while_spark_starts_leaves_no_process_behind(tmp_path: Path, seconds: float) -> None:
    """Whenever it comes, the code is the same and the JVM ends too."""
    dataset = write_dataset(tmp_path / "data", 1, 400)
    words = ["reshard", str(dataset), str(tmp_path / "out"), "--samples-per-shard", "1"]
    program = [sys.executable, "-m", "shardwright", *words]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)  # ends when all who hold stderr have ended
    assert (process.returncode, "interrupted by signal 2" in stderr, "Exception" in stderr) == (130, True, False)
    deadline = time.monotonic() + 60
    while has_processes(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not has_processes(process.pid)


def has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_process_leaves_what_the_same_command_completes(
    run: Run, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    dataset = write_dataset(tmp_path / "data", 2, 60)
    out = tmp_path / "out"
    words = ["reshard", str(dataset), str(out), "--samples-per-shard", "2", "--json"]
    program = [sys.executable, "-m", "shardwright", *words]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob("*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(sent)
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == code
    if code > 0:
        assert json.loads(stdout)["exit_code"] == code
    assert not (out / "manifest.json").exists()
    done = run(*words[:-1])
    assert (done.code, done.result["exported"], done.result["shards"]) == (0, 120, 60)
    assert run("verify", out).code == 0
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


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


def test_filter_stores_decisions_that_export_takes(run: Run, dataset: Path, tmp_path: Path) -> None:
    rules = ["--rule", "high=aesthetic_score >= 0.5", "--rule", "safe=nsfw_score < 0.5"]
    first = run("filter", dataset, *rules).result
    assert (first["indexed"], first["kept"], first["dropped"]) == (30, 6, 24)
    assert first["drops"] == {"high": 15, "safe": 9}
    assert run("filter", dataset, *rules).result["snapshot_id"] == first["snapshot_id"]
    second = run("filter", dataset, "--where", "aesthetic_score < 0.1").result
    latest = run("export", dataset, tmp_path / "latest", "--decisions", "latest").result
    by_id = run("export", dataset, tmp_path / "by_id", "--decisions", first["snapshot_id"]).result
    direct = run("export", dataset, tmp_path / "direct", *rules).result
    assert (latest["kept"], by_id["kept"]) == (second["kept"], first["kept"]) == (3, 6)
    assert by_id["drops"] == direct["drops"]
    assert tree_bytes(tmp_path / "by_id") == tree_bytes(tmp_path / "direct")
    os.utime(dataset / "00000.tar")
    stale = run("export", dataset, tmp_path / "stale", "--decisions", first["snapshot_id"])
    assert (stale.code, "of this dataset as it is now" in stale.result["error"]) == (2, True)
    operations = [row["operation"] for row in run("history", dataset).result["snapshots"]]
    assert operations == ["filter", "filter", "index"]
    assert run("filter", dataset, *rules).result["snapshot_id"] not in (first["snapshot_id"], second["snapshot_id"])


def test_nan_and_null_do_not_meet_a_condition_and_are_written_as_they_are(run: Run, tmp_path: Path) -> None:
    keys = ["nan", "null", "low", "high"]
    table = pa.table({"key": keys, "score": [float("nan"), None, 0.1, 0.9], "flag": [1, None, 0, 1]})
    write_shard(tmp_path / "data", "s", [member for key in keys for member in sample_members(key)], table)
    kept = {}
    for name, words in {
        "above": ["--where", "score > 0.5"],
        "not_below": ["--where", "NOT (score < 0.5)"],
        "isnan": ["--where", "isnan(score) OR score > 0.5"],
        "nanvl": ["--where", "nanvl(score, 1) > 0.5"],
        "text": ["--where", "'isnan(score)' = 'isnan(score)'"],
        "flag": ["--filter-column", "flag"],
    }.items():
        assert run("export", tmp_path / "data", tmp_path / name, *words).code == 0
        kept[name] = [row["source_key"] for row in read_rows(tmp_path / name)]
    assert kept == {
        "above": ["high"],
        "not_below": ["high"],
        "isnan": ["nan", "high"],
        "nanvl": ["nan", "high"],
        "text": keys,
        "flag": ["nan", "high"],
    }
    assert str(read_rows(tmp_path / "text")[0]["score"]) == "nan"


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


def test_an_output_is_exported_again_with_its_immediate_source(run: Run, dataset: Path, tmp_path: Path) -> None:
    assert run("export", dataset, tmp_path / "one", *KEEP).code == 0
    assert run("reshard", tmp_path / "one", tmp_path / "two", "--samples-per-shard", 6).code == 0
    first, second = read_rows(tmp_path / "one"), read_rows(tmp_path / "two")
    assert [row["source_key"] for row in second] == [row["key"] for row in first]
    assert list(second[0]) == list(first[0])
    rows = [{"key": "a", "source_key": "mine"}]
    write_shard(tmp_path / "own", "s", sample_members("a"), rows)
    refused = run("reshard", tmp_path / "own", tmp_path / "three", "--samples-per-shard", 6)
    assert (refused.code, "Pass another --source-key-col" in refused.result["error"]) == (2, True)
    done = run(
        "reshard", tmp_path / "own", tmp_path / "three", "--samples-per-shard", 6, "--source-key-col", "from_key"
    )
    assert done.code == 0
    assert [(row["source_key"], row["from_key"]) for row in read_rows(tmp_path / "three")] == [("mine", "a")]


def test_a_dataset_without_sidecars_is_resharded(run: Run, tmp_path: Path) -> None:
    write_shard(tmp_path / "data", "s", [*sample_members("a"), *sample_members("b")], None)
    assert run("reshard", tmp_path / "data", tmp_path / "out", "--samples-per-shard", 1).code == 0
    assert read_rows(tmp_path / "out") == [
        {"key": "00000", "source_key": "a", "source_shard": "s.tar"},
        {"key": "00001", "source_key": "b", "source_shard": "s.tar"},
    ]
    assert run("verify", tmp_path / "out", "--deep").code == 0
