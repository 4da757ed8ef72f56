"""The command line around the verbs: help, usage errors, job files, what a person sees."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from pyspark.sql import SparkSession

from shardwright import __version__
from shardwright.cli import cli, main
from shardwright.errors import DataError, Problem, ProblemsError, RequestError, RunError, restored
from shardwright.jobfile import read_job
from shardwright.store.session import session
from tests.builders import write_dataset

VERBS = ("export", "filter")
KNOWN = ("where", "rule", "samples_per_shard")


def called(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words)])
    return (int(stop.value.code or 0), *capfd.readouterr())


def test_help_and_version_exit_0_and_need_no_spark(capfd: pytest.CaptureFixture[str]) -> None:
    assert called(capfd, "--version") == (0, f"shardwright, version {__version__}\n", "")
    code, out, _ = called(capfd, "-h")
    assert (code, [verb for verb in cli.commands if verb not in out]) == (0, [])
    for verb, command in cli.commands.items():
        code, out, err = called(capfd, verb, "--help")
        options = [name for option in command.params if isinstance(option, click.Option) for name in option.opts]
        assert (code, [name for name in options if name not in out], err) == (0, [], "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Commands:"),
        (["exprt"], "No such command 'exprt'"),
        (["export"], "Missing argument 'DATASET'"),
        (["export", "a"], "Missing argument 'OUTPUT'"),
        (["export", "a", "b", "c"], "Got unexpected extra argument (c)"),
        (["export", "a", "b", "--where"], "Option '--where' requires an argument"),
        (["export", "a", "b"], "nothing says which samples to keep"),
        (["save-metadata", "a"], "no PATH was given"),
    ],
)
def test_wrong_usage_exits_2_with_a_message_on_stderr_and_an_object_on_stdout(
    capfd: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, out, err = called(capfd, *words)
    assert (code, out, message in err) == (2, "", True)
    verb, *rest = words or ["export"]
    code, out, err = called(capfd, verb, "--json", *rest)
    found = json.loads(out)
    assert (code, found.pop("error") in err, found) == (2, True, {"exit_code": 2, "problems": []})


def test_a_job_s_rules_keep_their_order_and_other_sections_are_left_alone(tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text(
        "[filter]\nwhere = 'x > 1'\n[export]\nsamples_per_shard = 3\n[export.rules]\nz = 'a = 1'\na = 'b > 2'\n"
    )
    assert read_job(str(job), "export", KNOWN, VERBS) == {"samples_per_shard": "3", "rule": ["z=a = 1", "a=b > 2"]}
    assert read_job(str(job), "filter", KNOWN, VERBS) == {"where": "x > 1"}
    job.write_text("")
    assert read_job(str(job), "export", KNOWN, VERBS) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"export = 3\n", r"'export' is 3, not a section\. Write \[export\]"),
        (b"[export]\nrules = 'x > 1'\n", r"'export\.rules' is 'x > 1', not a section"),
        (b"[export.rules]\n'a=b' = 'true'\n", r"the name 'a=b' holds a '='"),
        (b"\xff\xfe", "it is not TOML"),
        (b"[export]\nsamples-per-shard = 3\n", r"unknown key 'samples-per-shard'\. Did you mean 'samples_per_shard'"),
    ],
)
def test_a_job_that_can_not_be_meant_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "job.toml").write_bytes(text)
    with pytest.raises(RequestError, match=message):
        read_job(str(tmp_path / "job.toml"), "export", KNOWN, VERBS)


@pytest.mark.spark
def test_the_command_line_wins_over_the_job(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert spark is SparkSession.getActiveSession()
    data = write_dataset(tmp_path / "data", 1, 6)
    job = tmp_path / "job.toml"
    job.write_text(
        f"[reshard]\ndataset = '{data}'\noutput = '{tmp_path}/out'\nsamples_per_shard = 1\n"
        "dry_run = true\njson = true\n"
    )
    assert json.loads(called(capfd, "reshard", "--job", job)[1])["shards"] == 6
    code, out, err = called(capfd, "reshard", "--samples-per-shard", 4, "--job", job)
    assert (code, json.loads(out)["shards"], "planned" in err) == (0, 2, False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "job.toml"]


@pytest.mark.spark
def test_results_are_lines_and_tables_without_json(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert spark is SparkSession.getActiveSession()
    data = write_dataset(tmp_path / "data", 1, 6)
    code, out, _ = called(capfd, "filter", data, "--where", "aesthetic_score > 0.5")
    lines = dict(line.strip().rsplit(None, 1) for line in out.splitlines())
    names = ("shards", "indexed", "kept", "drops: where", "tables")
    assert (code, [lines[name] for name in names]) == (0, ["1", "6", "2", "4", f"{data}_tables"])
    code, out, _ = called(capfd, "history", data)
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert rows[0] == ["tables", f"{data}_tables"]
    assert rows[1][:4] == ["snapshot_id", "operation", "committed_at", "indexed"]
    assert [row[1] for row in rows[2:4]] == ["filter", "index"]


@pytest.mark.spark
def test_a_session_without_delta_is_refused(spark: SparkSession) -> None:
    theirs = spark.newSession()
    theirs.conf.set("spark.sql.catalog.spark_catalog", "org.example.Catalog")
    with pytest.raises(RequestError, match=r"Delta Lake is not set up in it\. Start it with"), session(theirs):
        pass


def test_many_problems_are_cut_and_counted() -> None:
    problems = [Problem("s.tar", f"k{number}", 512 * number, "truncated", "short") for number in range(25)]
    lines = str(ProblemsError("index", problems, "Mend them.", 30_000)).splitlines()
    assert lines[:3] == [
        "index: 30,000 problems found.",
        "  s.tar, key 'k0', byte 0: truncated: short",
        "  s.tar, key 'k1', byte 512: truncated: short",
    ]
    assert lines[-3:] == ["  … and 29,980 more", "truncated: Fetch or write the shard again.", "Mend them."]
    assert len(lines) == 24
    assert str(ProblemsError("verify", [Problem("s", None, None, "orphan", "x")], "Look.")) == (
        "verify: 1 problem found.\n  s: orphan: x\nLook."
    )


def test_an_error_that_a_task_raised_is_found_in_its_traceback() -> None:
    trace = (
        "Traceback (most recent call last):\n  File …\n"
        "shardwright.errors.{}: /a/b.tar: found this. Do that.\n\n\tat org.apache.spark.api.python"
    )
    for kind, expected in (
        ("DataError", DataError),
        ("RequestError", RequestError),
        ("RunError", RunError),
        ("Else", RunError),
    ):
        error = restored(trace.format(kind))
        assert (type(error), str(error)) == (expected, "/a/b.tar: found this. Do that.")
    assert restored("OSError: no space left on device") is None
