"""Two exports into one output: one wins, the other is told, and neither harms what the other has written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shardwright import commit, export, plan
from shardwright.errors import RunError
from shardwright.store import output, rows
from shardwright.store.claim import claim_output
from shardwright.store.output import read_plan
from tests.builders import tree_bytes, write_dataset
from tests.conftest import Outcome
from tests.test_lifecycle import KEEP, failing_at

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]
Patch = pytest.MonkeyPatch
OTHER = [*KEEP[:3], 5]


def first(function: Callable[..., Any], meanwhile: Callable[[], object]) -> Callable[..., Any]:
    """Give a function before whose first call something else happens."""
    waiting = [meanwhile]

    def call(*arguments: Any, **named: Any) -> Any:
        if waiting:
            waiting.pop()()
        return function(*arguments, **named)

    return call


def after(function: Callable[..., Any], meanwhile: Callable[[], object]) -> Callable[..., Any]:
    """Give a function behind whose first call something else happens."""
    waiting = [meanwhile]

    def call(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        if waiting:
            waiting.pop()()
        return result

    return call


@pytest.fixture
def whole(run: Run, dataset: Path, tmp_path: Path) -> dict[str, bytes]:
    """What the export writes when nobody disturbs it."""
    assert run("export", dataset, tmp_path / "whole", *KEEP).code == 0
    return dict(tree_bytes(tmp_path / "whole"))


@pytest.mark.parametrize("step", ["make_plan", "claim_output", "_write", "commit_export"])
def test_the_earlier_of_two_runs_reports_what_the_later_one_finished(
    run: Run,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: Patch,
    caplog: pytest.LogCaptureFixture,
    whole: dict[str, bytes],
    step: str,
) -> None:
    words = ["export", dataset, tmp_path / "out", *KEEP]
    later: list[Outcome] = []
    with monkeypatch.context() as patched:
        patched.setattr(export, step, first(getattr(export, step), lambda: later.append(run(*words))))
        done = run(*words)
    assert (done.code, later[0].code) == (0, 0), (done.result, later[0].result)
    assert "another run of this export has finished it" in caplog.text
    assert {**done.result, "seconds": 0} == {**later[0].result, "seconds": 0}
    assert tree_bytes(tmp_path / "out") == whole
    assert (run("verify", tmp_path / "out").code, len(run("history", tmp_path / "out").result["snapshots"])) == (0, 1)
    assert not (tmp_path / "out" / ".shardwright").exists()


@pytest.mark.parametrize("step", ["_write", "commit_export"])
def test_a_run_that_a_later_one_has_taken_over_from_stops_and_commits_nothing(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: Patch, whole: dict[str, bytes], step: str
) -> None:
    out = tmp_path / "out"
    words = ["export", dataset, out, *KEEP]

    def take_over() -> None:
        claim_output(str(out), read_plan(str(out)) or {})

    with monkeypatch.context() as patched:
        patched.setattr(export, step, first(getattr(export, step), take_over))
        done = run(*words)
    error = done.result["error"]
    assert (done.code, f"a later run of this export has taken over (process {os.getpid()}" in error) == (3, True), error
    assert (run("history", f"{out}_tables").code, (out / "manifest.json").exists()) == (2, False)
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert bool(stamps) == (step == "commit_export")
    assert run(*words).code == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.tar") if path in stamps} == stamps
    assert tree_bytes(out) == whole


def test_a_run_that_was_taken_over_from_removes_nothing(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """It found that a shard has changed, which asks for removing all that it wrote."""
    out = tmp_path / "out"
    words = ["export", dataset, out, *KEEP]

    def take_over() -> None:
        claim_output(str(out), read_plan(str(out)) or {})
        os.utime(dataset / "00001.tar")

    with monkeypatch.context() as patched:
        patched.setattr(export, "commit_export", first(commit.commit_export, take_over))
        done = run(*words)
    assert (done.code, "has taken over" in done.result["error"]) == (3, True)
    assert len(list(out.glob("*.tar"))) == 4


@pytest.mark.parametrize("finishes", [True, False])
@pytest.mark.parametrize("step", ["make_plan", "claim_output"])
def test_another_export_that_claims_the_output_first_wins(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: Patch, step: str, *, finishes: bool
) -> None:
    out = tmp_path / "out"

    def begin_other() -> None:
        with monkeypatch.context() as broken:
            if not finishes:
                broken.setattr(commit, "append_rows", failing_at(1, rows.append_rows))
            assert run("export", dataset, out, *OTHER).code == (0 if finishes else 3)

    with monkeypatch.context() as patched:
        patched.setattr(export, step, after(plan.make_plan, begin_other) if step == "make_plan" else first(
            claim_output, begin_other))  # fmt: skip
        done = run("export", dataset, out, *KEEP)
    expected = "samples_per_shard was 5 and now is 4" if finishes else "another export began in this folder meanwhile"
    assert (done.code, expected in done.result["error"]) == (2, True), done.result["error"]
    assert run("export", dataset, out, *OTHER).code == 0
    assert run("export", dataset, tmp_path / "other", *OTHER).code == 0
    assert tree_bytes(out) == tree_bytes(tmp_path / "other")
    assert run("verify", out).code == 0


def test_a_finished_export_that_was_removed_does_not_end_another_one_s_work(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    out = tmp_path / "out"
    assert run("export", dataset, out, *KEEP).code == 0
    shutil.rmtree(out)
    with monkeypatch.context() as patched:
        patched.setattr(commit, "append_rows", failing_at(1, rows.append_rows))
        assert run("export", dataset, out, *OTHER).code == 3
    before = tree_bytes(out, ["*.tar", "*.parquet", ".shardwright/*.json"])
    done = run("export", dataset, out, *KEEP)
    assert (done.code, "holds an unfinished export with other settings" in done.result["error"]) == (2, True)
    assert (tree_bytes(out, ["*.tar", "*.parquet", ".shardwright/*.json"]), (out / "manifest.json").exists()) == (
        before,
        False,
    )


def test_an_export_whose_folder_was_removed_is_written_again_as_the_tables_know_it(
    run: Run, dataset: Path, tmp_path: Path
) -> None:
    tables = tmp_path / "tables"
    words = ["export", dataset, tmp_path / "out", *KEEP, "--tables", tables]
    assert run(*words).code == 0
    shutil.rmtree(tmp_path / "out")
    # The tables go on; the snapshot keeps the versions that it was made from.
    assert run("index", write_dataset(tmp_path / "more"), "--tables", tables).code == 0
    assert run(*words).code == 0
    assert run("verify", tmp_path / "out").code == 0


def test_a_crash_between_manifest_and_the_plan_s_end_leaves_what_the_same_command_tidies(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(output, "forget_attempts", lambda _: None)
        assert run("export", dataset, out, *KEEP).code == 0
    assert json.loads((out / "manifest.json").read_text())
    assert (run("verify", out).code, (out / ".shardwright").exists()) == (0, True)
    assert run("export", dataset, out, *KEEP).code == 0
    assert not (out / ".shardwright").exists()


def test_failing_is_said_as_it_was_where_nobody_else_is_there(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    def fail() -> None:
        raise RunError("storage", "the power went", "Run it again")

    with monkeypatch.context() as patched:
        patched.setattr(export, "commit_export", first(commit.commit_export, fail))
        done = run("export", dataset, tmp_path / "out", *KEEP)
    assert (done.code, done.result["error"]) == (3, "storage: the power went. Run it again")
