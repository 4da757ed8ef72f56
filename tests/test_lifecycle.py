"""An export's life: planned, written, interrupted, completed, reported, exported again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyspark.sql import Row

from shardwright import commit, export, plan
from shardwright.errors import RunError
from shardwright.store import claim, output, rows
from tests.builders import (
    read_rows,
    read_samples,
    sample_members,
    tree_bytes,
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


@pytest.mark.proof
def test_an_export_that_fails_at_any_step_is_completed_by_the_same_command(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("export", dataset, tmp_path / "whole", *KEEP).code == 0
    whole = tree_bytes(tmp_path / "whole")
    steps: list[tuple[ModuleType, str, int]] = [
        (plan, "append", 1),
        (export, "claim_output", 1),
        (claim, "write_new_json", 1),
        (export, "_write", 1),
        (commit, "append_rows", 1),
        (commit, "append_rows", 2),
        (commit, "finish_output", 1),
        (output, "write_json", 1),
    ]
    for number, (module, name, call) in enumerate(steps):
        out = tmp_path / f"out{number}"
        with monkeypatch.context() as patched:
            patched.setattr(module, name, failing_at(call, getattr(module, name)))
            assert run("export", dataset, out, *KEEP).code == 3, (name, call)
        assert not (out / "manifest.json").exists()
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


def test_a_dry_run_of_an_unfinished_export_counts_as_a_new_one_does(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("export", dataset, tmp_path / "out", *KEEP)
    planned = run(*words, "--dry-run").result
    with monkeypatch.context() as patched:
        patched.setattr(export, "_write", failing_at(1, export._write))  # noqa: SLF001 - between the plan and the shards
        assert run(*words).code == 3
    again = run(*words, "--dry-run").result
    assert {**again, "seconds": 0} == {**planned, "seconds": 0}
    assert again["bytes"] < sum(path.stat().st_size for path in dataset.glob("*.tar"))


def test_a_shard_with_other_samples_than_the_layout_places_is_named_and_nothing_is_committed(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = export._write  # noqa: SLF001 - what executors report

    def one_less(*words: Any) -> list[Row]:
        shards = write(*words)
        return [Row(**{**row.asDict(), "sample_count": row["sample_count"] - (row["shard_id"] == 1)}) for row in shards]

    monkeypatch.setattr(export, "_write", one_less)
    done = run("export", dataset, tmp_path / "out", *KEEP)
    assert (done.code, "export: shard 1: written were 3 samples, the layout places 4" in done.result["error"]) == (
        1,
        True,
    )
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("damage", [{"drops": None}, {"kept": "15"}, {"settings": []}])
def test_a_plan_that_was_damaged_explains_no_folder(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(commit, "append_rows", failing_at(1, rows.append_rows))
        assert run("export", dataset, out, *KEEP).code == 3
    path = out / ".shardwright" / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    done = run("export", dataset, out, *KEEP)
    assert (done.code, "the output folder is not empty" in done.result["error"]) == (2, True)


def test_shards_that_a_crash_of_the_machine_spoilt_are_written_again(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(commit, "append_rows", failing_at(1, rows.append_rows))
        assert run("export", dataset, out, *KEEP).code == 3
    whole = tree_bytes(out)
    tar = out / "00001.tar"
    tar.write_bytes(bytes(tar.stat().st_size))
    (out / "00002.parquet").write_bytes(whole["00002.parquet"][:100])
    lost = whole["00003.parquet"]
    (out / "00003.parquet").write_bytes(lost[:4] + bytes(200) + lost[204:])  # its end is sound
    assert run("export", dataset, out, *KEEP).code == 0
    assert tree_bytes(out) == whole


def test_an_export_needs_room_for_what_it_writes_and_no_more(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("export", dataset, tmp_path / "out", "--where", "aesthetic_score >= 0.9", "--samples-per-shard", 1)
    # The tars of the dataset would fit, and what is kept of them in shards of their own does.
    source_bytes = sum(path.stat().st_size for path in dataset.glob("*.tar"))
    monkeypatch.setattr(plan, "free_bytes", lambda _: source_bytes + 1)
    assert run(*words).code == 0
    monkeypatch.setattr(plan, "free_bytes", lambda _: 30_000)
    done = run("export", dataset, tmp_path / "other", *words[3:])
    assert (done.code, "bytes, 30,000 are free" in done.result["error"]) == (3, True)


def test_a_table_of_which_a_crash_left_an_empty_log_is_made_anew(run: Run, dataset: Path, tmp_path: Path) -> None:
    for table in ("out_tables/exports", f"{dataset.name}_tables/samples"):
        (tmp_path / table / "_delta_log").mkdir(parents=True)
    assert run("export", dataset, tmp_path / "out", *KEEP).result["exported"] == 15


def test_a_shard_that_changes_during_an_export_is_never_committed(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_and_touch(*words: Any) -> claim.Claim:
        claimed = claim.claim_output(*words)
        os.utime(dataset / "00001.tar")
        return claimed

    with monkeypatch.context() as patched:
        patched.setattr(export, "claim_output", begin_and_touch)
        done = run("export", dataset, tmp_path / "out", *KEEP)
    assert (done.code, "00001.tar: it changed since it was listed" in done.result["error"]) == (1, True)
    assert not (tmp_path / "out").exists()
    assert run("history", tmp_path / "out_tables").code == 2


def test_an_export_of_a_dataset_that_was_restored_is_the_same_export(run: Run, dataset: Path, tmp_path: Path) -> None:
    first = run("export", dataset, tmp_path / "out", *KEEP)
    shutil.copytree(dataset, tmp_path / "copy")
    shutil.rmtree(dataset)
    shutil.copytree(tmp_path / "copy", dataset)
    again = run("export", dataset, tmp_path / "out", *KEEP)
    assert (again.code, again.result["snapshot_id"]) == (0, first.result["snapshot_id"])


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


def test_a_finished_export_whose_files_are_gone_is_not_reported_as_done(
    run: Run, dataset: Path, tmp_path: Path
) -> None:
    words = ["export", dataset, tmp_path / "out", "--where", "true"]
    assert run(*words).code == 0
    (tmp_path / "out" / "00000.parquet").unlink()
    done = run(*words)
    assert (
        done.code,
        "00000.parquet: the shard was finished, and now the file is missing" in done.result["error"],
    ) == (
        1,
        True,
    )
    shutil.rmtree(tmp_path / "out")
    assert (run(*words).code, run("verify", tmp_path / "out").code) == (0, 0)


def test_rules_in_another_order_are_another_export(run: Run, dataset: Path, tmp_path: Path) -> None:
    rules = [["--rule", "a=aesthetic_score > 0.1"], ["--rule", "b=aesthetic_score > 0.2"]]
    assert run("export", dataset, tmp_path / "out", *rules[0], *rules[1]).code == 0
    done = run("export", dataset, tmp_path / "out", *rules[1], *rules[0])
    assert (done.code, "with other settings: rules was" in done.result["error"]) == (2, True)
