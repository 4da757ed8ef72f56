"""verify: every planted fault is found and named; nothing is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from tests.builders import tree_bytes, write_dataset
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]


@pytest.fixture
def output(run: Run, tmp_path: Path) -> Path:
    """Four shards of four samples."""
    done = run("reshard", write_dataset(tmp_path / "data", 2, 8), tmp_path / "out", "--samples-per-shard", 4)
    assert done.code == 0
    return tmp_path / "out"


def found(done: Outcome) -> set[tuple[str, str]]:
    return {(problem["shard"], problem["reason"]) for problem in done.result["problems"]}


def test_verify_passes_what_export_wrote_and_writes_nothing(run: Run, output: Path) -> None:
    before = tree_bytes(output, ["*"])
    for words in ([], ["--deep"]):
        done = run("verify", output, *words)
        assert (done.code, done.result["problems"], done.result["shards"], done.result["exported"]) == (0, 0, 4, 16)
        assert done.result["tables"] == f"{output}_tables"
    shutil.rmtree(f"{output}_tables")
    done = run("verify", output)
    assert (done.code, done.result["tables"]) == (0, None)
    assert tree_bytes(output, ["*"]) == before


def test_verify_names_every_planted_fault(run: Run, output: Path) -> None:
    flipped = bytearray((output / "00000.tar").read_bytes())
    flipped[600] ^= 1
    (output / "00000.tar").write_bytes(flipped)
    (output / "00001.tar").write_bytes((output / "00001.tar").read_bytes()[:2000])
    (output / "00002.tar").unlink()
    sidecar = pq.read_table(output / "00003.parquet")
    pq.write_table(sidecar.set_column(1, "caption", pa.array(["changed"] * 4)), output / "00003.parquet")
    (output / "00007.tar").write_bytes(b"")
    done = run("verify", output)
    assert done.code == 1
    assert found(done) == {
        ("00000.tar", "wrong_checksum"),
        ("00001.tar", "wrong_size"),
        ("00002.tar", "missing_file"),
        ("00003.parquet", "wrong_size"),
        ("00003.parquet", "wrong_pair"),
        ("00007.tar", "orphan"),
    }
    deep = run("verify", output, "--deep")
    assert found(deep) == {
        *found(done),
        ("00001.tar", "truncated"),
        ("00001.tar", "wrong_count"),
        ("00001.tar", "wrong_key"),
        ("00003.parquet", "wrong_value"),
    }
    assert (
        next(problem for problem in deep.result["problems"] if problem["reason"] == "truncated")["offset"] is not None
    )


def test_verify_finds_sidecars_that_changed_places(run: Run, output: Path) -> None:
    first, second = output / "00000.parquet", output / "00001.parquet"
    first.rename(output / "x")
    second.rename(first)
    (output / "x").rename(second)
    reasons = found(run("verify", output, "--deep"))
    assert {("00000.parquet", "wrong_key"), ("00001.parquet", "wrong_key"), ("00000.tar", "wrong_key")} <= reasons


def test_verify_finds_a_manifest_that_disagrees_with_files_and_tables(run: Run, output: Path) -> None:
    path = output / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["shards"][0]["sample_count"] += 1
    manifest["kept"] += 1
    path.write_text(json.dumps(manifest))
    assert found(run("verify", output)) >= {
        ("manifest.json", "wrong_count"),
        ("00000.parquet", "wrong_count"),
        ("00000", "wrong_manifest"),
    }
    manifest["snapshot_id"] = "0" * 16
    path.write_text(json.dumps(manifest))
    assert "missing_snapshot" in {reason for _, reason in found(run("verify", output))}


def test_verify_compares_rows_with_the_exports_table(run: Run, output: Path) -> None:
    path = output / "00002.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("source_key")
    pq.write_table(table.set_column(place, "source_key", pa.array(["other"] * 4)), path)
    problems = run("verify", output).result["problems"]
    assert ("00002.parquet", "wrong_key") in {(problem["shard"], problem["reason"]) for problem in problems}
    assert any("column 'source_key': the exports table has '000010000'" in problem["detail"] for problem in problems)


def test_verify_misses_rows_and_tables_that_are_gone(run: Run, output: Path) -> None:
    tables = Path(json.loads((output / "manifest.json").read_text())["tables"])
    DeltaTable(tables / "exports").delete("shard_id = 2")
    assert found(run("verify", output)) == {("00002", "wrong_count")}
    shutil.rmtree(tables / "manifest")
    assert {reason for _, reason in found(run("verify", output))} == {"missing_file"}


def test_verify_says_when_an_export_is_unfinished(run: Run, output: Path) -> None:
    manifest = json.loads((output / "manifest.json").read_text())
    (output / "manifest.json").unlink()
    (output / ".shardwright").mkdir()
    (output / ".shardwright" / "plan.json").write_text("{}")
    done = run("verify", output)
    assert (done.code, "there is no manifest.json" in done.result["error"]) == (2, True)
    plan = {**manifest, "shard_count": len(manifest["shards"]), "planned_bytes": 1}
    (output / ".shardwright" / "plan.json").write_text(json.dumps(plan))
    done = run("verify", output)
    assert (done.code, "the export in it is not finished" in done.result["error"]) == (2, True)
