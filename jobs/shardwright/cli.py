"""The command line: words in, verbs called, results and errors out."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.table import Table

import shardwright
from shardwright.config import ExportSettings, Selection, SourceSettings
from shardwright.errors import RequestError, RunError, ShardwrightError
from shardwright.files import absolute
from shardwright.jobfile import read_job

Command = Callable[..., Any]


class _Terminated(BaseException):
    """SIGTERM arrived; everything above a verb unwinds as it does for Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 data, 2 request, 3 run, 130 and 143 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("shardwright").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _terminate)
    as_json = "--json" in words
    try:
        cli.main(words, prog_name="shardwright", standalone_mode=False)
        code = 0
    except click.ClickException as error:
        code = _fail(error.format_message(), 2, as_json, usage=error)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except ShardwrightError as error:
        code = _fail(str(error), error.exit_code, as_json, problems=[problem._asdict() for problem in error.problems])
    except (KeyboardInterrupt, click.Abort):
        code = _fail("Interrupted. Nothing was committed; run the same command again to go on.", 130, as_json)
    except _Terminated:
        code = _fail("Terminated. Nothing was committed; run the same command again to go on.", 143, as_json)
    except OSError as error:
        failure = RunError(
            error.filename or "storage", error.strerror or str(error), "Run the same command again to go on"
        )
        code = _fail(str(failure), failure.exit_code, as_json)
    # Spark ends with this process; waiting for it to stop would take as long as a small job.
    sys.exit(code)


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def _fail(
    message: str, code: int, as_json: bool, *, usage: click.ClickException | None = None, problems: Sequence[Any] = ()
) -> int:
    if as_json:
        click.echo(json.dumps({"error": message, "exit_code": code, "problems": problems}))
    if usage is not None:
        usage.show()
    else:
        click.echo(f"shardwright: {message}", err=True)
    return code


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(shardwright.__version__, prog_name="shardwright")
def cli() -> None:
    """Export curated WebDataset shards: filter, reshard, renumber, record, verify."""


def _read_job(context: click.Context, _: click.Parameter, path: str | None) -> None:
    if path is None:
        return
    verb = str(context.info_name)
    known = [str(parameter.name) for parameter in context.command.params if parameter.name not in ("job", "help")]
    context.default_map = read_job(path, verb, known, cli.commands)


def _verb(command: Command) -> Callable[..., None]:
    """Add the options of every verb, and print what the verb returns."""

    @click.option("--job", type=click.Path(), is_eager=True, expose_value=False, callback=_read_job,
                  help="Read options from this TOML file's section for the verb; the command line wins.")  # fmt: skip
    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object; logs go to stderr.")
    @wraps(command)
    def run(*, as_json: bool, **options: Any) -> None:
        result = command(**options)
        if as_json:
            click.echo(json.dumps(result, default=str))
        else:
            _print_result(result)

    return run


def _source_options(command: Command) -> Command:
    for option in (
        click.option("--recursive", is_flag=True, help="Take in tars in sub-folders."),
        click.option(
            "--tables", metavar="PATH|CATALOG.SCHEMA", help="Where the Delta tables lie  [default: beside the data]"
        ),
    ):
        command = option(command)
    return command


def _pairing_options(command: Command) -> Command:
    for option in (
        click.option("--unmatched-rows", type=click.Choice(["fail", "ignore"]), default="fail", show_default=True,
                     help="Sidecar rows that have no sample; rows whose status is not 'success' never need one."),
        click.option("--id-col", metavar="COLUMN", help="The sidecar's column that holds the key  [default: key, else id]"),
    ):  # fmt: skip
        command = option(command)
    return command


def _rule_options(command: Command) -> Command:
    for option in (
        click.option("--filter-column", metavar="COLUMN", help="Keep where this column is true (or 1)."),
        click.option("--rule", multiple=True, metavar="NAME=SQL", help="A named condition that a sample must meet; repeat for more."),
        click.option("--where", metavar="SQL", help="The rule named 'where'."),
    ):  # fmt: skip
        command = option(command)
    return command


def _writing_options(command: Command) -> Command:
    for option in (
        click.option("--dry-run", is_flag=True, help="Print shards, samples, bytes and drops; write nothing."),
        click.option("--allow-empty", is_flag=True, help="Commit an export that keeps no sample."),
        click.option("--source-shard-col", default="source_shard", show_default=True, metavar="COLUMN",
                     help="The sidecar's column that names the source shard."),
        click.option("--source-key-col", default="source_key", show_default=True, metavar="COLUMN",
                     help="The sidecar's column that names the source key."),
        click.option("--json-id/--no-json-id", default=None,
                     help="Give JSON members the new key in the field named like the id column  [default: with renumber]"),
        click.option("--keys", type=click.Choice(["renumber", "source"]), default="renumber", show_default=True,
                     help="Number the samples anew, or keep their keys."),
        click.option("--shard-digits", type=int, default=5, show_default=True, help="Digits of the shard number."),
    ):  # fmt: skip
        command = option(command)
    return command


@cli.command("index")
@click.argument("dataset")
@_source_options
@_verb
def index_command(dataset: str, **options: Any) -> dict[str, Any]:
    """Read every tar's headers and remember where each sample lies."""
    from shardwright.index import index_dataset
    from shardwright.store.session import session

    with session() as spark:
        return index_dataset(spark, SourceSettings(absolute(dataset), **options))


@cli.command("filter")
@click.argument("dataset")
@_rule_options
@_source_options
@_pairing_options
@_verb
def filter_command(dataset: str, **options: Any) -> dict[str, Any]:
    """Store which samples stay and why the others do not; copy nothing."""
    from shardwright.filter import filter_dataset
    from shardwright.store.session import session

    selection = _selection(options)
    source = SourceSettings(absolute(dataset), **options)
    with session() as spark:
        return filter_dataset(spark, source, selection)


@cli.command("export")
@click.argument("dataset")
@click.argument("output")
@_rule_options
@click.option("--decisions", metavar="latest|SNAPSHOT", help="Keep what an earlier filter of this dataset kept.")
@click.option("--samples-per-shard", type=int, default=10_000, show_default=True)
@_writing_options
@_source_options
@_pairing_options
@_verb
def export_command(decisions: str | None, **options: Any) -> dict[str, Any]:
    """Write the samples that meet the rules as a new dataset."""
    selection = _selection(options, decisions)
    if selection.is_empty:
        raise RequestError(
            "export", "nothing says which samples to keep", "Pass --where, or use reshard to keep them all"
        )
    return _export(selection, options)


@cli.command("reshard")
@click.argument("dataset")
@click.argument("output")
@click.option("--samples-per-shard", type=int, required=True)
@_writing_options
@_source_options
@_pairing_options
@_verb
def reshard_command(**options: Any) -> dict[str, Any]:
    """Write all samples as a new dataset with other shard sizes."""
    return _export(Selection(), options)


@cli.command("save-metadata")
@click.argument("dataset")
@click.argument("path", required=False)
@click.option("--columns", metavar="A,B", help="Write only these columns, and the id column.")
@click.option("--id-col", metavar="COLUMN", help="The sidecar's column that holds the key  [default: key, else id]")
@_source_options
@_verb
def save_metadata_command(dataset: str, path: str | None, columns: str | None, **options: Any) -> dict[str, Any]:
    """Write the sidecars' metadata to another folder, one file a shard."""
    from shardwright.save_metadata import save_metadata
    from shardwright.store.session import session

    if path is None:
        raise RequestError(
            "save-metadata", "no PATH was given, and there is nothing new to write", "Pass a folder for the copy"
        )
    names = [name.strip() for name in columns.split(",")] if columns else None
    with session() as spark:
        return save_metadata(spark, SourceSettings(absolute(dataset), **options), absolute(path), names)


@cli.command("verify")
@click.argument("output")
@click.option("--deep", is_flag=True, help="Parse every tar too, and load a sample of every shard through webdataset.")
@click.option(
    "--tables", metavar="PATH|CATALOG.SCHEMA", help="Where the Delta tables lie  [default: as the manifest says]"
)
@_verb
def verify_command(output: str, deep: bool, tables: str | None) -> dict[str, Any]:
    """Read an output back and compare it with its manifest and tables; exit 1 names everything that is wrong."""
    from shardwright.store.session import session
    from shardwright.verify import verify_output

    with session() as spark:
        return verify_output(spark, absolute(output), tables, deep=deep)


@cli.command("history")
@click.argument("output_or_tables")
@_verb
def history_command(output_or_tables: str) -> dict[str, Any]:
    """List the committed snapshots, newest first."""
    from shardwright.history import list_history
    from shardwright.store.session import session

    with session() as spark:
        return list_history(spark, output_or_tables)


def _export(selection: Selection, options: dict[str, Any]) -> dict[str, Any]:
    source_options = {name: options.pop(name) for name in ("tables", "recursive", "unmatched_rows", "id_col")}
    source = SourceSettings(absolute(options.pop("dataset")), **source_options)
    settings = ExportSettings(source, absolute(options.pop("output")), selection, **options)
    # Spark is imported once the words are known to be right.
    from shardwright.export import export_dataset
    from shardwright.store.session import session

    with session() as spark:
        return export_dataset(spark, settings)


def _selection(options: dict[str, Any], decisions: str | None = None) -> Selection:
    where, named = options.pop("where"), options.pop("rule")
    rules = {"where": where} if where is not None else {}
    for rule in named:
        name, separator, condition = rule.partition("=")
        if not separator or not name.strip() or not condition.strip():
            raise RequestError(
                "--rule", f"found {rule!r}", "Write NAME=SQL, for example aesthetic='aesthetic_score > 0.5'"
            )
        if name.strip() in rules:
            raise RequestError(
                "--rule", f"the name '{name.strip()}' is given twice", "Give each rule a name of its own"
            )
        rules[name.strip()] = condition.strip()
    return Selection(rules, options.pop("filter_column"), decisions)


def _print_result(result: dict[str, Any]) -> None:
    """Print a verb's result for a person: scalars as lines, lists of rows as tables."""
    console = Console(soft_wrap=True, highlight=False)
    lines = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in result.items():
        if isinstance(value, dict):
            for inner, count in value.items():
                lines.add_row(f"  {name}: {inner}", _text(count))
        elif not isinstance(value, list):
            lines.add_row(name.replace("_", " "), _text(value))
    console.print(lines)
    for rows in (value for value in result.values() if isinstance(value, list) and value):
        table = Table(box=None)
        for name in rows[0]:
            table.add_column(name)
        for row in rows:
            table.add_row(*map(_text, row.values()))
        console.print(table)


def _text(value: object) -> str:
    return (
        f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else "" if value is None else str(value)
    )
