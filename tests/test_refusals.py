"""What is refused: one clear message, the right exit code, and nothing under OUTPUT."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.builders import read_rows, sample_members, write_dataset, write_shard
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]
AB = [*sample_members("a"), *sample_members("b")]
ROWS = [{"key": "a", "score": 1.0}, {"key": "b", "score": 2.0}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing says which samples to keep. Pass --where, or use reshard"),
        (
            ["--where", "aesthetic_scor > 0.5"],
            "rule 'where': no column 'aesthetic_scor'. Did you mean 'aesthetic_score'?",
        ),
        (["--where", "aesthetic_score >"], "rule 'where': 'aesthetic_score >' does not parse as SQL"),
        (["--rule", "r=aesthetic_score"], "rule 'r': 'aesthetic_score' is double, not a condition"),
        (["--rule", "r=cast(caption as int) > 1"], "rule 'r': 'cast(caption as int) > 1' raises an error"),
        (["--rule", "r"], "Write NAME=SQL"),
        (["--rule", "r=true", "--rule", "r=false"], "the name 'r' is given twice"),
        (["--filter-column", "caption"], "column 'caption' is string. A flag is boolean"),
        (["--filter-column", "keeep"], "no column 'keeep' in the metadata"),
        (["--filter-column", "k", "--where", "true"], "--where/--rule and --filter-column contradict each other"),
        (["--decisions", "latest"], "no filter 'latest' of this dataset as it is now"),
        (["--where", "true", "--id-col", "nope"], "no column 'nope' that could hold the key"),
        (["--where", "true", "--id-col", "nsfw_score"], "column 'nsfw_score' is double, keys are compared as text"),
        (["--where", "true", "--samples-per-shard", "0"], "--samples-per-shard: it is 0"),
        (["--where", "true", "--samples-per-shard", "1", "--shard-digits", "1"], "Pass --shard-digits 2"),
        (["--where", "true", "--keys", "source", "--json-id"], "--json-id and --keys source contradict each other"),
        (["--where", "true", "--source-key-col", "caption"], "the metadata has a column 'caption' of its own"),
        (["--where", "true", "--bogus"], "No such option '--bogus'"),
        (["--where", "true", "--keys", "new"], "'new' is not one of 'renumber', 'source'"),
    ],
)
def test_wrong_requests_exit_2(run: Run, dataset: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = run("export", dataset, tmp_path / "out", *words)
    assert done.code == 2
    assert message in done.result["error"]
    assert done.result["exit_code"] == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_wrong_places_exit_2(run: Run, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "theirs.txt").write_text("x")
    nested = write_dataset(tmp_path / "nested" / "inner", 1).parent
    bare = write_dataset(tmp_path / "bare", 1)
    (bare / "00000.parquet").unlink()
    partly = write_dataset(tmp_path / "partly", 2)
    (partly / "00001.parquet").unlink()
    out = tmp_path / "out"
    for source, output, message in [
        (tmp_path / "nope", out, "no such folder"),
        (tmp_path / "empty", out, "no .tar files"),
        (nested, out, "1 tars lie in sub-folders (inner/00000.tar)"),
        (bare, out, "no shard has a sidecar, a rule needs one"),
        (partly, out, "1 of 2 shards have no sidecar"),
        (dataset, dataset, "the output is the input or lies inside it"),
        (dataset, dataset / "inside", "the output is the input or lies inside it"),
        (dataset, tmp_path / "full", "the output folder is not empty"),
        (dataset, "s3://bucket/out", "only local paths"),
    ]:
        done = run("export", source, output, "--where", "true")
        assert (done.code, message in done.result["error"]) == (2, True), done.result
    assert not out.exists()
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["theirs.txt"]
    assert run("export", nested, out, "--where", "true", "--recursive").code == 0
    assert [row["source_shard"] for row in read_rows(out)][:1] == ["inner/00000.tar"]


def test_wrong_verbs_exit_2(run: Run, dataset: Path, tmp_path: Path) -> None:
    for words, message in [
        (["verify", dataset], "there is no manifest.json"),
        (["verify", tmp_path / "nope"], "no such folder"),
        (["history", tmp_path / "nope"], "no snapshots in"),
        (["save-metadata", dataset], "no PATH was given"),
        (["save-metadata", dataset, dataset], "it is the dataset itself"),
        (["save-metadata", dataset, tmp_path / "m", "--columns", "key,nope"], "no column 'nope'"),
        (["filter", dataset], "no rule was given"),
        (["reshard", dataset, tmp_path / "out"], "Missing option '--samples-per-shard'"),
    ]:
        done = run(*words)
        assert (done.code, message in done.result["error"]) == (2, True), done.result


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
    assert [(problem["key"], problem["reason"]) for problem in done.result["problems"]] == problems
    assert {problem["shard"] for problem in done.result["problems"]} == {f"{tmp_path}/data/s.parquet"}
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
    assert (done.code, "no sample would be kept of 30 (dropped by where: 30)" in done.result["error"]) == (1, True)
    assert not (tmp_path / "out").exists()
    done = run("export", dataset, tmp_path / "out", "--where", "aesthetic_score > 2", "--allow-empty")
    assert (done.code, done.result["shards"], done.result["exported"]) == (0, 0, 0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]
    assert run("verify", tmp_path / "out").code == 0


def test_bad_json_leaves_nothing_and_names_the_way_out(run: Run, tmp_path: Path) -> None:
    broken = [(name, b"[1]" if name == "b.json" else payload) for name, payload in AB]
    write_shard(tmp_path / "data", "s", broken, ROWS)
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "true")
    assert (done.code, "bad_json" in done.result["error"]) == (1, True)
    assert not (tmp_path / "out").exists()
    assert run("export", tmp_path / "data", tmp_path / "out", "--where", "true", "--no-json-id").code == 0


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


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.float16(), pa.time64("ns")])
def test_types_that_spark_cannot_read_are_refused_by_name(run: Run, tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"key": ["a", "b"], "odd": pa.array([None, None], kind)})
    write_shard(tmp_path / "data", "s", AB, table)
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "true")
    assert (done.code, f"column 'odd' has the type {kind}" in done.result["error"]) == (2, True)


def test_columns_that_differ_between_sidecars_are_refused_by_name(run: Run, tmp_path: Path) -> None:
    write_shard(tmp_path / "data", "s1", sample_members("a"), [{"key": "a", "score": 1.0}])
    write_shard(tmp_path / "data", "s2", sample_members("b"), [{"key": "b", "score": "x"}])
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "true")
    assert (done.code, "column 'score' is string" in done.result["error"]) == (2, True)


def test_job_files_are_checked(run: Run, dataset: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    for text, message in [
        (
            "[export]\nmax_sample_per_shard = 3\n",
            "unknown key 'max_sample_per_shard'. Did you mean 'samples_per_shard'?",
        ),
        ("[exprt]\n", "unknown section 'exprt'. Did you mean 'export'?"),
        ("[export\n", "it is not TOML"),
        ("[export]\nsamples_per_shard = 'many'\n", "'many' is not a valid integer"),
    ]:
        job.write_text(text)
        done = run("export", dataset, tmp_path / "out", "--where", "true", "--job", job)
        assert (done.code, message in done.result["error"]) == (2, True), done.result
    assert "can't be read" in run("export", dataset, tmp_path / "out", "--job", tmp_path / "no.toml").result["error"]
    job.write_text(
        f"[export]\ndataset = '{dataset}'\noutput = '{tmp_path}/out'\nsamples_per_shard = 4\n"
        "[export.rules]\nlow = 'aesthetic_score < 0.8'\nnever = 'aesthetic_score < 0'\n"
    )
    done = run("export", "--job", job, "--samples-per-shard", 7, "--allow-empty", "--dry-run")
    assert (done.code, done.result["drops"]) == (0, {"low": 6, "never": 24}), done.result


def test_storage_that_fails_exits_3(run: Run, dataset: Path, tmp_path: Path) -> None:
    done = run("export", dataset, tmp_path / "out", "--where", "true", "--tables", "/proc/tables")
    assert (done.code, "Run the same command again to go on" in done.result["error"]) == (3, True), done.result
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_sidecar_that_is_no_parquet_exits_1_and_every_one_is_listed(run: Run, dataset: Path, tmp_path: Path) -> None:
    for name in ("00000", "00002"):
        (dataset / f"{name}.parquet").write_bytes(b"no parquet")
    done = run("export", dataset, tmp_path / "out", "--where", "true")
    found = [(Path(problem["shard"]).name, problem["reason"]) for problem in done.result["problems"]]
    assert (done.code, found) == (1, [("00000.parquet", "unreadable"), ("00002.parquet", "unreadable")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("manifest", ["", "{}", "[1]", '{"snapshot_id": "a"}'])
def test_a_manifest_that_is_not_ours_exits_2(run: Run, dataset: Path, tmp_path: Path, manifest: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(manifest)
    for words in (["export", dataset, out, "--where", "true"], ["verify", out]):
        done = run(*words)
        assert (done.code, "manifest.json: it is no manifest of an export" in done.result["error"]) == (2, True)
    assert [path.name for path in out.iterdir()] == ["manifest.json"]


def test_an_output_that_is_a_file_exits_2(run: Run, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    done = run("export", dataset, tmp_path / "out", "--where", "true")
    assert (done.code, "it is no folder" in done.result["error"]) == (2, True)


def test_tables_among_the_shards_exit_2(run: Run, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for tables in (dataset, dataset / "tables", out / "tables", out):
        done = run("export", dataset, out, "--where", "true", "--tables", tables)
        assert (done.code, "the tables would share a folder with the shards" in done.result["error"]) == (2, True)
    (tmp_path / "file").write_text("x")
    done = run("export", dataset, out, "--where", "true", "--tables", tmp_path / "file" / "tables")
    assert (done.code, "file is no folder" in done.result["error"]) == (2, True)
    done = run("verify", run("reshard", dataset, out, "--samples-per-shard", 9).result["output"], "--tables", tmp_path)
    assert (done.code, "there are no tables" in done.result["error"]) == (2, True)


def test_a_column_that_the_exports_of_others_hold_in_another_type_exits_2(run: Run, tmp_path: Path) -> None:
    words = ["--where", "true", "--tables", tmp_path / "tables"]
    for name, score in (("numbers", 1.0), ("words", "high")):
        write_shard(tmp_path / name, "00000", sample_members("a"), [{"key": "a", "score": score}])
    assert run("export", tmp_path / "numbers", tmp_path / "out", *words).code == 0
    done = run("export", tmp_path / "words", tmp_path / "out2", *words)
    message = "other exports have column 'score' as double, here it is string. Pass other --tables"
    assert (done.code, message in done.result["error"]) == (2, True)
    assert not (tmp_path / "out2").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--where", "score >= 0.1 and"], "'score >= 0.1 and' does not parse as SQL"),
        (["--where", "score >= 0.1 as x"], "does not parse as SQL"),
        (["--where", "current_timestamp() > '2020-01-01'"], "gives other values each time"),
        (["--where", "current_date > '2020-01-01'"], "gives other values each time"),
        (["--where", "rand() > 0.5"], "Draw by a hash, like pmod(xxhash64(key), 100) < 10"),
        (["--where", "true", "--source-key-col", "KEY"], "--source-key-col: the name 'KEY' is empty or taken"),
        (["--where", "true", "--source-shard-col", ""], "--source-shard-col: the name '' is empty or taken"),
        (["--where", "true", "--source-key-col", "x", "--source-shard-col", "x"], "the name 'x' is empty or taken"),
    ],
)
def test_more_wrong_requests_exit_2(run: Run, tmp_path: Path, words: list[str], message: str) -> None:
    write_shard(tmp_path / "data", "00000", AB, ROWS)
    done = run("export", tmp_path / "data", tmp_path / "out", *words)
    assert (done.code, message in done.result["error"]) == (2, True), done.result
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([[None], None], pa.list_(pa.null())), "column 'odd' holds values of no type"),
        (pa.array([{"a b": 1}, None]), "column 'odd' has inner fields that tables can't hold ('a b')"),
        (pa.array([{"a": 1, "A": 2}, None]), "column 'odd' has inner fields that tables can't hold ('a', 'a')"),
    ],
)
def test_inner_types_that_tables_cannot_hold_exit_2(run: Run, tmp_path: Path, values: pa.Array, message: str) -> None:
    write_shard(tmp_path / "data", "00000", AB, pa.table({"key": ["a", "b"], "odd": values}))
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "true")
    assert (done.code, message in done.result["error"]) == (2, True), done.result


@pytest.mark.parametrize("name", ["_hidden", "co:lon"])
def test_sidecars_that_spark_does_not_see_exit_2(run: Run, tmp_path: Path, name: str) -> None:
    write_shard(tmp_path / "data", name, AB, ROWS)
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "true")
    assert (done.code, "Spark reads no files whose names begin with" in done.result["error"]) == (2, True)


def test_a_users_own_shard_stem_stays_where_keys_repeat(run: Run, tmp_path: Path) -> None:
    for shard in ("00000", "00001"):
        write_shard(tmp_path / "data", shard, AB, [{**row, "shard_stem": f"{shard}x"} for row in ROWS])
    out = tmp_path / "out"
    assert run("export", tmp_path / "data", out, "--where", "shard_stem = '00001x'").code == 0
    assert [row["shard_stem"] for row in read_rows(out)] == ["00001x"] * 2


def test_decisions_made_on_other_sidecars_or_by_another_filter_are_not_taken(run: Run, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    write_shard(data, "00000", AB, ROWS)
    latest = ["export", data, out, "--decisions", "latest"]
    for condition, kept in (("score = 1", "a"), ("score = 2", "b")):
        assert run("filter", data, "--where", condition).code == 0
        done = run(*latest)
        if kept == "b":  # the folder holds what the first filter kept
            assert (done.code, "with other inputs: decisions was" in done.result["error"]) == (2, True)
            shutil.rmtree(out)
            done = run(*latest)
        assert (done.code, [row["source_key"] for row in read_rows(out)]) == (0, [kept])
    write_shard(data, "00000", AB, [{**row, "score": 3.0} for row in ROWS])
    done = run("export", data, tmp_path / "stale", "--decisions", "latest")
    assert (done.code, "of this dataset as it is now" in done.result["error"]) == (2, True)


def test_a_finished_export_whose_files_are_gone_is_not_reported_as_done(
    run: Run, dataset: Path, tmp_path: Path
) -> None:
    words = ["export", dataset, tmp_path / "out", "--where", "true"]
    assert run(*words).code == 0
    (tmp_path / "out" / "00000.parquet").unlink()
    done = run(*words)
    assert (
        done.code,
        "00000.parquet: the export was finished, and now the file is missing" in done.result["error"],
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
