"""clean: what verify calls orphans is listed, and removed when asked to; nothing else ever is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shardwright import commit
from shardwright.store import rows
from tests.builders import write_dataset
from tests.conftest import Outcome
from tests.test_lifecycle import failing_at

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]

ORPHANS = [
    "00004.tar",
    "00009.parquet",
    "00009.idx",
    ".00001.tar.Ab3dE6",
    "upload.part",
    "deeper/00000.tar",
    ".shardwright/0123456789abcdef/.00002.tar.77.89abcdef",
    ".shardwright/.plan.json.77.89abcdef",
]
OTHERS = [
    "README.md",
    "notes/kept.txt",
    "wids.json",
    ".nv-meta/split.yaml",
    "00001.idx",
    ".shardwright/plan.json",
    ".shardwright/attempt.json",
]


@pytest.fixture
def output(run: Run, tmp_path: Path) -> Path:
    """Four shards of four samples."""
    done = run("reshard", write_dataset(tmp_path / "data", 2, 8), tmp_path / "out", "--samples-per-shard", 4)
    assert done.code == 0
    return tmp_path / "out"


def put(output: Path, names: list[str]) -> None:
    for name in names:
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_bytes(b"left")


@pytest.mark.parametrize("lost", ["snapshots", "manifest", ""])
def test_clean_removes_nothing_where_the_manifest_lost_shards(run: Run, output: Path, lost: str) -> None:
    shutil.rmtree(Path(f"{output}_tables") / lost)
    manifest = json.loads((output / "manifest.json").read_text())
    (output / "manifest.json").write_text(json.dumps({**manifest, "shards": manifest["shards"][:1]}))
    before = sorted(output.iterdir())
    done = run("clean", output, "--delete")
    assert done.code == 1
    assert "the manifest lists shards of 4 samples, and says that 16 were exported" in done.result["error"]
    assert sorted(output.iterdir()) == before


def test_clean_removes_a_link_that_leads_back_to_itself(run: Run, output: Path) -> None:
    (output / "loop.tar").symlink_to("loop.tar")
    assert [problem["shard"] for problem in run("verify", output).result["problems"]] == ["loop.tar"]
    assert run("clean", output, "--delete").result["deleted"] == 1
    assert run("verify", output).code == 0


def test_clean_lists_what_verify_names_and_removes_it_when_asked(
    run: Run, output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(output, [*ORPHANS, *OTHERS])
    named = {problem["shard"] for problem in run("verify", output).result["problems"]}
    before = files_of(output)
    listed = run("clean", output)
    assert (listed.code, listed.result["deleted"], listed.result["bytes"]) == (0, 0, 4 * len(ORPHANS))
    assert {orphan["path"] for orphan in listed.result["orphans"]} == named == set(ORPHANS)
    assert "nothing was removed; pass --delete" in caplog.text
    assert files_of(output) == before
    removed = run("clean", output, "--delete")
    assert (removed.code, removed.result["deleted"]) == (0, len(ORPHANS))
    assert files_of(output) == before - set(ORPHANS)
    assert not (output / ".shardwright" / "0123456789abcdef").exists()
    assert run("verify", output).code == 0
    again = run("clean", output, "--delete").result
    assert (again["deleted"], again["orphans"]) == (0, [])


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_clean_never_removes_a_shard_that_the_tables_name(run: Run, output: Path) -> None:
    manifest = json.loads((output / "manifest.json").read_text())
    manifest["shards"] = manifest["shards"][:2]
    (output / "manifest.json").write_text(json.dumps(manifest))
    assert ("00003.tar", "orphan") in {
        (problem["shard"], problem["reason"]) for problem in run("verify", output).result["problems"]
    }
    before = files_of(output)
    assert run("clean", output, "--delete").code == 1
    assert files_of(output) == before


def test_clean_refuses_where_manifest_and_tables_speak_of_different_snapshots(run: Run, output: Path) -> None:
    put(output, ["00004.tar"])
    manifest = json.loads((output / "manifest.json").read_text())
    (output / "manifest.json").write_text(json.dumps({**manifest, "snapshot_id": "0" * 16}))
    done = run("clean", output, "--delete")
    assert (done.code, "know no snapshot '0000000000000000'" in done.result["error"]) == (1, True)
    assert (output / "00004.tar").exists()


def test_clean_leaves_an_export_that_is_under_way_and_what_is_no_output(
    run: Run, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(commit, "append_rows", failing_at(1, rows.append_rows))
        assert run("reshard", dataset, out, "--samples-per-shard", 4).code == 3
    put(out, ["00042.tar"])
    before = files_of(out)
    done = run("clean", out, "--delete")
    assert (done.code, "the export in it is not finished" in done.result["error"]) == (2, True)
    assert files_of(out) == before
    assert (run("clean", dataset, "--delete").code, run("clean", tmp_path / "none").code) == (2, 2)
    assert run("clean", out, "--tables", tmp_path / "none").code == 2


def test_clean_leaves_other_outputs_and_what_links_lead_to(
    run: Run, output: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dataset(tmp_path / "elsewhere")
    (output / "linked").symlink_to(tmp_path / "elsewhere")
    shutil.copytree(output, output / "copies" / "first", symlinks=True)
    (output / "00008.tar").symlink_to(tmp_path / "elsewhere" / "00000.tar")
    kept = files_of(tmp_path / "elsewhere"), files_of(output / "copies")
    done = run("clean", output, "--delete")
    assert [orphan["path"] for orphan in done.result["orphans"]] == ["00008.tar"]
    assert (files_of(tmp_path / "elsewhere"), files_of(output / "copies")) == kept
    assert "clean: linked/00000.tar is left: it lies in another output, or behind a link" in caplog.text


def test_clean_works_without_tables(run: Run, output: Path) -> None:
    shutil.rmtree(f"{output}_tables")
    put(output, ["00004.tar"])
    assert run("clean", output, "--delete").result["deleted"] == 1
    assert run("verify", output).code == 0
