"""What is refused: one clear message, the right exit code, and nothing under OUTPUT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.builders import AB, ROWS, read_rows, sample_members, write_dataset, write_shard
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]


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
        (["--rule", "r=avg(aesthetic_score) > 0.5"], "rule 'r': 'avg(aesthetic_score) > 0.5' is refused"),
        (["--rule", "r"], "Write NAME=SQL"),
        (["--where", ""], "where: its value is empty"),
        (["--where", "true", "--tables", ""], "tables: its value is empty"),
        (["--where", "true", "--id-col", ""], "id-col: its value is empty"),
        (["--where", "true", "--check", "hashes"], "the metadata has no column sha256 or sha512 or md5"),
        (["--where", "true", "--hash-col", "x"], "--hash-col: no hashes are checked"),
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
        (["--where", "nsfw_score >= 0.1 and"], "'nsfw_score >= 0.1 and' does not parse as SQL"),
        (["--where", "nsfw_score >= 0.1 as x"], "does not parse as SQL"),
        (["--where", "current_timestamp() > '2020-01-01'"], "gives other values each time"),
        (["--where", "current_date > '2020-01-01'"], "gives other values each time"),
        (["--where", "rand() > 0.5"], "Draw by a hash, like pmod(xxhash64(key), 100) < 10"),
        (["--where", "true", "--source-key-col", "KEY"], "--source-key-col: the name 'KEY' is empty or taken"),
        (["--where", "true", "--source-shard-col", ""], "source-shard-col: its value is empty"),
        (["--where", "true", "--source-key-col", "x", "--source-shard-col", "x"], "the name 'x' is empty or taken"),
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
    out = tmp_path / "out"
    for source, output, message in [
        (tmp_path / "nope", out, "no such folder"),
        (tmp_path / "empty", out, "no .tar files"),
        (nested, out, "1 tars lie in sub-folders (inner/00000.tar)"),
        (bare, out, "no shard has a sidecar, a rule needs one"),
        (dataset, dataset, "the output is the input or lies inside it"),
        (dataset, dataset / "inside", "the output is the input or lies inside it"),
        (dataset, tmp_path / "full", "the output folder is not empty"),
        (dataset, "ftp://host/out", "no store is known as 'ftp://'"),
        (dataset, "https://host/out", "web servers are only read from"),
        (dataset, "s3://bucket", "it is a whole bucket"),
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


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.float16(), pa.time64("ns")])
def test_types_that_spark_cannot_read_are_refused_by_name(run: Run, tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"key": ["a", "b"], "odd": pa.array([None, None], kind)})
    write_shard(tmp_path / "data", "s", AB, table)
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "true")
    assert (done.code, f"column 'odd' has the type {kind}" in done.result["error"]) == (2, True)


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


def test_shards_that_are_no_files_or_have_no_proper_name_are_refused(run: Run, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", 1)
    link = dataset / "00001.tar"
    link.symlink_to(tmp_path / "nowhere")
    done = run("index", dataset)
    assert (done.code, f"{link}: it is a link that leads nowhere" in done.result["error"]) == (2, True)
    link.unlink()
    (dataset / "00000.parquet").rename(tmp_path / "aside")
    (dataset / "00000.parquet").mkdir()
    done = run("index", dataset)
    assert (done.code, "00000.parquet: it is a folder" in done.result["error"]) == (2, True)
    (dataset / "\udce9.tar").write_bytes(b"")
    done = run("index", dataset)
    assert (done.code, "\\xe9.tar: its name is not UTF-8" in done.result["error"]) == (2, True)


def test_tables_never_lie_among_shards_even_by_default(run: Run, tmp_path: Path) -> None:
    write_dataset(tmp_path / "out_tables", 1)
    done = run("reshard", tmp_path / "out_tables", tmp_path / "out", "--samples-per-shard", 9)
    assert (done.code, "the tables would lie among the shards" in done.result["error"]) == (2, True)


def test_a_shard_name_that_can_not_stand_before_keys_is_refused(run: Run, tmp_path: Path) -> None:
    write_shard(tmp_path / "data", "__meta__", AB, None)
    done = run("reshard", tmp_path / "data", tmp_path / "out", "--samples-per-shard", 1, "--keys", "prefix")
    assert (done.code, "its name can't stand before a key" in done.result["error"]) == (2, True)
