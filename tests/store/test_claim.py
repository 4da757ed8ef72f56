"""A claim to an output: one plan, and of its runs the last that came."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shardwright.errors import RequestError, RunError, ShardwrightError
from shardwright.publishing import write_new_json
from shardwright.store.claim import Claim, claim_output
from shardwright.store.output import read_plan


def plan_of(snapshot_id: str) -> dict[str, Any]:
    names = ("settings", "inputs", "columns", "drops", "rejects", "unpaired_rows", "joins")
    texts: dict[str, Any] = {name: {} for name in names}
    counts = dict.fromkeys(("indexed", "kept", "dropped", "rejected", "shard_count", "planned_bytes"), 1)
    return {"snapshot_id": snapshot_id, **texts, **counts}


def outcome(function: Callable[[], object]) -> str:
    try:
        function()
    except ShardwrightError as error:
        return str(error)
    return "done"


def test_a_later_run_takes_over_and_the_earlier_one_is_told(tmp_path: Path) -> None:
    first = claim_output(str(tmp_path), plan_of("a"))
    Path(first.folder, "unfinished").touch()
    first.require()
    second = claim_output(str(tmp_path), plan_of("a"))
    second.require()
    assert not Path(first.folder).exists()
    with pytest.raises(RunError, match=rf"a later run of this export has taken over \(process {os.getpid()} on "):
        first.require()


def test_another_plan_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    first = claim_output(str(tmp_path), plan_of("a"))
    with pytest.raises(RequestError, match="another export began in this folder meanwhile"):
        claim_output(str(tmp_path), plan_of("b"))
    first.require()
    assert {path.name for path in (tmp_path / ".shardwright").iterdir()} == {"attempt.json", "plan.json", first.attempt}


def test_a_claim_ends_with_its_files(tmp_path: Path) -> None:
    claim = claim_output(str(tmp_path), plan_of("a"))
    (tmp_path / ".shardwright" / "plan.json").unlink()
    with pytest.raises(RunError, match="the export's files were removed while it ran"):
        claim.require()


def test_what_a_crash_of_the_machine_cut_short_is_no_plan_and_no_owner(tmp_path: Path) -> None:
    folder = tmp_path / ".shardwright"
    folder.mkdir()
    (folder / "plan.json").write_text('{"snapshot_id"')
    (folder / "attempt.json").write_text("")
    claim_output(str(tmp_path), plan_of("b")).require()


def has_no_links(_: str, path: str) -> None:
    raise OSError(errno.ENOTSUP, "no links here", path)


@pytest.mark.parametrize("has_links", [True, False])
def test_of_many_plans_at_once_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", has_no_links)
    for turn in range(20):
        path = str(tmp_path / f"{turn}.json")
        with ThreadPoolExecutor(8) as pool:
            wrote = list(pool.map(lambda number, path=path: write_new_json(path, {"number": number}), range(8)))
        assert wrote.count(True) == 1
        assert f'"number": {wrote.index(True)}' in Path(path).read_text()
    assert not list(tmp_path.glob(".*"))


def claim_at_once(output: str, plans: str) -> tuple[list[str], list[Claim]]:
    """Claim an output for several plans in threads; give what each was told, and the claims."""
    claims: list[Claim] = []
    with ThreadPoolExecutor(len(plans)) as pool:
        told = list(pool.map(lambda name: outcome(lambda: claims.append(claim_output(output, plan_of(name)))), plans))
    return told, claims


def test_of_many_exports_at_once_one_claims(tmp_path: Path) -> None:
    for turn in range(20):
        output = str(tmp_path / str(turn))
        told, claims = claim_at_once(output, "abcdefgh")
        assert told.count("done") == len(claims) == 1
        claims[0].require()
        assert read_plan(output) == plan_of(claims[0].snapshot_id)


def test_of_many_runs_of_one_export_at_once_at_most_one_goes_on(tmp_path: Path) -> None:
    """Where all of them meet at one moment, the same command again goes on."""
    for turn in range(20):
        output = str(tmp_path / str(turn))
        told, claims = claim_at_once(output, "aaaaaaaa")
        assert [
            text for text in told if text != "done" and "taken over" not in text and "same moment" not in text
        ] == []
        assert [outcome(claim.require) for claim in claims].count("done") <= 1
        last = claim_output(output, plan_of("a"))
        last.require()
        assert Path(last.folder).is_dir()
