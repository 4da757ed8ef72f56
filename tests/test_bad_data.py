"""Data at fault: exit 1, every problem listed with its place, and nothing under OUTPUT."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from shardwright.errors import RowReason, reasons_of
from tests.builders import AB, ROWS, write_dataset, write_shard
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]


def test_a_failed_download_that_is_listed_twice_is_no_problem_however_samples_and_rows_are_paired(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = [{"key": "x", "score": 0.0, "status": "failed_to_download"}] * 2
    rows = [*({**row, "status": "success"} for row in ROWS), *failed]
    write_shard(tmp_path / "data", "s", AB, rows)
    words = ("export", tmp_path / "data", tmp_path / "out", "--where", "true", "--dry-run")
    proven = run(*words).result
    monkeypatch.setattr("shardwright.pairing.prove_pairs", lambda *_, **__: None)
    by_key = run(*words).result
    assert {**proven, "seconds": 0} == {**by_key, "seconds": 0}
    assert proven["unpaired_rows"] == {"failed_download": 2}


@pytest.mark.parametrize(
    ("rows", "problems"),
    [
        ([*ROWS, {"key": "a", "score": 3.0}], [("a", "duplicate_row")]),
        (ROWS[:1], [("b", "missing_row")]),
        ([*ROWS, {"key": "c", "score": 3.0}], [("c", "unmatched_row")]),
        ([*ROWS, {"key": None, "score": 3.0}], [(None, "null_id")]),
        ([{"key": "c", "score": 3.0}], [("a", "missing_row"), ("b", "missing_row"), ("c", "unmatched_row")]),
    ],
)
def test_rows_that_do_not_pair_exit_1(
    run: Run, tmp_path: Path, rows: list[dict[str, object]], problems: list[object]
) -> None:
    write_shard(tmp_path / "data", "s", AB, rows)
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "true")
    assert done.code == 1
    assert sorted(((found["key"], found["reason"]) for found in done.result["problems"]), key=str) == problems
    # A sample is named by its tar, a row without one by its sidecar.
    row_reasons = reasons_of(RowReason)
    for found in done.result["problems"]:
        assert found["shard"] == f"{tmp_path}/data/s.{'parquet' if found['reason'] in row_reasons else 'tar'}"
    assert not (tmp_path / "out").exists()


def test_rows_without_a_sample_are_counted_where_that_is_normal(run: Run, tmp_path: Path) -> None:
    failed = {"key": "c", "score": 3.0, "status": "failed_to_download"}
    rows = [{**row, "status": "success"} for row in ROWS]
    write_shard(tmp_path / "data", "s", AB, [failed, *rows])
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "score > 1")
    assert (done.code, done.result["kept"], done.result["dropped"]) == (0, 1, 1)
    assert done.result["unpaired_rows"] == {"failed_download": 1}
    write_shard(tmp_path / "more", "s", AB, [{"key": "c", "score": 3.0}, *ROWS])
    done = run("export", tmp_path / "more", tmp_path / "out2", "--where", "true", "--unmatched-rows", "ignore")
    assert (done.code, done.result["exported"], done.result["unpaired_rows"]) == (0, 2, {"unmatched_row": 1})


def test_damaged_tars_exit_1_all_in_one_pass(run: Run, dataset: Path, tmp_path: Path) -> None:
    tars = sorted(dataset.glob("*.tar"))
    whole = [tar.read_bytes() for tar in tars]
    tars[0].write_bytes(whole[0][:4000])
    tars[1].write_bytes(gzip.compress(whole[1]))
    tars[2].write_bytes(whole[2] + whole[2])
    expected = [
        (str(tars[0]), 3584, "truncated"),
        (str(tars[1]), 0, "compressed"),
        (str(tars[2]), len(whole[2]), "trailing_data"),
    ]
    for words in (["index", dataset], ["export", dataset, tmp_path / "out", "--where", "true"]):
        done = run(*words)
        assert done.code == 1
        assert (
            sorted((found["shard"], found["offset"], found["reason"]) for found in done.result["problems"]) == expected
        )
    assert not (tmp_path / "out").exists()
    for tar, data in zip(tars, whole, strict=True):
        tar.write_bytes(data)
    assert run("export", dataset, tmp_path / "out", "--where", "true").code == 0


def test_an_export_that_keeps_nothing_needs_permission(run: Run, dataset: Path, tmp_path: Path) -> None:
    done = run("export", dataset, tmp_path / "out", "--where", "aesthetic_score > 2")
    assert (done.code, "no sample would be kept of 30 (where: 30)" in done.result["error"]) == (1, True)
    assert not (tmp_path / "out").exists()
    done = run("export", dataset, tmp_path / "out", "--where", "aesthetic_score > 2", "--allow-empty")
    assert (done.code, done.result["shards"], done.result["exported"]) == (0, 0, 0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]
    assert run("verify", tmp_path / "out").code == 0


def test_a_rule_that_is_null_for_every_row_is_named(
    run: Run, dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    near, far, any_ = "near=get(embedding, 100) > 0.5 -- of 768", "far=element_at(embedding, 1) > 1e9", "any=true"
    for rules, named in [((near, far), "near"), ((any_, near), "near"), ((far, near), None), ((any_, far), None)]:
        for verb in (["export", dataset, tmp_path / "out"], ["filter", dataset]):
            caplog.clear()
            run(*verb, *(word for rule in rules for word in ("--rule", rule)))
            assert re.findall(r"rule '(\w+)' is null for every row", caplog.text) == ([named] if named else [])


def test_a_rule_that_an_earlier_one_guards_is_not_run_alone(run: Run, dataset: Path, tmp_path: Path) -> None:
    words = ["--rule", "safe=size(embedding) > 9", "--rule", "ratio=1 / (size(embedding) - 2) > 0"]
    done = run("export", dataset, tmp_path / "out", *words)
    assert (done.code, "no sample would be kept of 30 (safe: 30)" in done.result["error"]) == (1, True)


def test_bad_json_leaves_nothing_and_names_the_way_out(run: Run, tmp_path: Path) -> None:
    broken = [(name, b"[1]" if name == "b.json" else payload) for name, payload in AB]
    write_shard(tmp_path / "data", "s", broken, ROWS)
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "true")
    assert (done.code, [problem["key"] for problem in done.result["problems"]]) == (1, ["b"])
    assert "bad_json: Repair the JSON, or pass --no-json-id" in done.result["error"]
    assert not (tmp_path / "out").exists()
    assert run("export", tmp_path / "data", tmp_path / "out", "--where", "true", "--no-json-id").code == 0


def test_a_sidecar_that_is_no_parquet_exits_1_and_every_one_is_listed(run: Run, dataset: Path, tmp_path: Path) -> None:
    for name in ("00000", "00002"):
        (dataset / f"{name}.parquet").write_bytes(b"no parquet")
    done = run("export", dataset, tmp_path / "out", "--where", "true")
    found = [(Path(problem["shard"]).name, problem["reason"]) for problem in done.result["problems"]]
    assert (done.code, found) == (1, [("00000.parquet", "unreadable"), ("00002.parquet", "unreadable")])
    assert not (tmp_path / "out").exists()


def test_a_sidecar_with_a_damaged_page_is_named(run: Run, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "da ta", 2)
    path = dataset / "00001.parquet"
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)  # the first column's pages; rules read others
    path.write_bytes(data)
    done = run("export", dataset, tmp_path / "out", "--where", "aesthetic_score > 0.5")
    found = [(problem["shard"], problem["reason"]) for problem in done.result["problems"]]
    assert (done.code, found) == (1, [(str(path), "unreadable")])
    assert not (tmp_path / "out").exists()
