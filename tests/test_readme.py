"""What README.md says is true: its commands run, its tables agree with the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import click
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from shardwright import functions
from shardwright.cli import cli
from shardwright.errors import REMEDIES, OutputReason, Reason, reasons_of, unit_of
from shardwright.jobfile import read_job
from shardwright.store.jvm import udfs_jar
from shardwright.store.tables import SCHEMAS, table_schema
from tests.builders import jpeg_bytes, write_dataset
from tests.conftest import Outcome

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "jobs" / "shardwright"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    return split_commands("".join(blocks("sh")))


def split_commands(text: str) -> list[list[str]]:
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


@pytest.mark.spark
def test_readme_commands_and_snippets_run_in_order(
    spark: SparkSession, run: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = write_dataset(tmp_path / "demo" / "photos", samples=30, id_col="id", image=jpeg_bytes())
    for path in photos.glob("*.parquet"):
        table = pq.read_table(path)
        table = table.rename_columns({"embedding": "image_embedding"})
        pq.write_table(table.append_column("source", [["china"] * len(table)]), path)
    (tmp_path / "conf").symlink_to(PACKAGE / "conf")
    mended = mend_dataset(tmp_path / "demo", run)
    ran = 0
    for language, block in re.findall(r"^```(sh|python|sql)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        if "s3://" in block:
            continue  # tests/test_stores.py runs these
        if language == "python":
            exec(compile(block, "README.md", "exec"), {})
        elif language == "sql":
            query = (
                block.replace("OUTPUT", "demo/mended").replace("SNAPSHOT", mended).replace("demo/", f"{tmp_path}/demo/")
            )
            # Under the page's name: the plan is one of those that the gate asks about.
            exec(compile("spark.sql(query).collect()", "README.md", "exec"), {"spark": spark, "query": query})
        else:
            text = re.sub(r"\$\(cat (\S+)\)", lambda file: Path(file[1]).read_text(encoding="utf-8"), block)
            ran += sum(run_command(words, run) for words in split_commands(text))
    assert ran >= 9
    assert (tmp_path / "demo" / "kept" / "manifest.json").exists()


def mend_dataset(folder: Path, run: Callable[..., Outcome]) -> str:
    """Export a dataset with a tar that was cut, so that something was set aside; give the snapshot's id."""
    broken = write_dataset(folder / "broken", 2)
    tar = broken / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:-5000])
    done = run("reshard", broken, folder / "mended", "--samples-per-shard", 5, "--on-bad", "quarantine")
    assert done.code == 0, done.stderr
    return str(done.result["snapshot_id"])


def run_command(words: list[str], run: Callable[..., Outcome]) -> bool:
    """Run a command of the README; one whose rule calls a function of the jar needs it."""
    needs_jar = any(f"{name}(" in word for word in words for name in functions.NAMES)
    if words[0] != "shardwright" or (needs_jar and udfs_jar() is None):
        return False
    done = run(*words[1:])
    assert done.code == 0, (words, done.stderr)
    return True


def test_readme_lists_the_functions_of_the_jar() -> None:
    listed = re.findall(r"^\| `(\w+)\((?:a|a, b|text)\)` \|", README, re.MULTILINE)
    assert sorted(listed) == sorted(functions.NAMES)
    for name, result in re.findall(r"`(\w+)`[^`]*\(`(double|int|string)`\)", README.split("registerJavaFunction")[1]):
        assert (ROOT / "udfs/src/main/scala" / f"{name}.scala").exists(), (name, result)


def test_readme_names_targets_and_files_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in commands():
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
        elif words[0] == "spark-submit":
            assert (ROOT / words[words.index("--properties-file") + 1]).exists()
            assert (ROOT / "jobs/submit.py").exists()
            assert "jobs/submit.py" in words
        else:
            assert words[0] in ("shardwright", "export"), words
    for link in re.findall(r"\]\((?!https:)([^)]+)\)", README):
        assert (ROOT / link).exists(), link


def test_readme_lists_every_verb_and_option() -> None:
    verbs = set(re.findall(r"^\| `([a-z-]+) [A-Z]", README, re.MULTILINE))
    assert verbs == set(cli.commands)
    documented = set(re.findall(r"`(--[a-z-]+)`", README.split("### Verbs")[1].split("| exit code")[0]))
    known = {
        name
        for command in cli.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name not in ("--help", "-h")
    }
    assert documented == known


def test_readme_lists_every_table_and_column() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", README, re.MULTILINE))
    listed = {table: re.findall(r"`(\w+)`", columns) for table, columns in rows.items() if table in SCHEMAS}
    assert listed == {table: table_schema(table) for table in SCHEMAS}


def test_readme_lists_every_reason_that_the_code_reports() -> None:
    problems = README.split("### Problems it reports")[1].split("### What an output")[0]
    listed = dict(re.findall(r"^\| `([a-z_]+)` \| .+ \| (\w+) \|$", problems, re.MULTILINE))
    assert listed == {reason: unit_of(reason) for reason in set(reasons_of(Reason)) - set(get_args(OutputReason))}
    assert listed.keys() == REMEDIES.keys()
    added = problems.split("`verify` adds")[1]
    assert set(re.findall(r"`([a-z_]+)`", added)) == set(get_args(OutputReason))


def test_readme_lists_every_exit_code() -> None:
    documented = re.findall(r"^\| ([\d, ]+) \| [a-z]", README.split("| exit code")[1], re.MULTILINE)
    assert [code for codes in documented for code in codes.split(", ")] == ["0", "1", "2", "3", "130", "143"]


def test_job_example_is_accepted_and_shows_every_option_of_export() -> None:
    path = ROOT / "conf" / "job.example.toml"
    for verb, command in cli.commands.items():
        known = [str(parameter.name) for parameter in command.params]
        assert read_job(str(path), verb, known, cli.commands)
    text = path.read_text(encoding="utf-8")
    export = {str(parameter.name) for parameter in cli.commands["export"].params} - {
        "job",
        "json",
        "where",
        "rule",
        "storage_option",
    }
    shown = set(re.findall(r"^(?:# )?(\w+) = ", text.split("[export]\n")[1].split("[export.rules]")[0], re.MULTILINE))
    assert shown == export
