"""The command line: words in, verbs called, results and errors out."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

import shardwright
from shardwright import options
from shardwright.config import ExportSettings, Selection, SourceSettings
from shardwright.errors import RequestError, RunError, ShardwrightError
from shardwright.files import absolute, read_json, table_or_path
from shardwright.interrupts import Interrupted, exit_code, signals_later, stop_on_signals
from shardwright.locations import without_secrets

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


_SOURCE_WORDS = [field.name for field in fields(SourceSettings) if field.name != "dataset"]


class _WithoutSecrets(logging.Formatter):
    """Lines of the log, tracebacks included, in which no secret stands."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 data, 2 request, 3 run, 130 and 143 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithoutSecrets("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("shardwright").setLevel(logging.INFO)
    stop_on_signals()
    as_json = "--json" in words
    try:
        cli.main(words, prog_name="shardwright", standalone_mode=False)
        code = 0
    except click.ClickException as error:
        code = _fail(error.format_message(), 2, as_json, usage=error)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except (Exception, Interrupted) as error:  # noqa: BLE001 - every end has its exit code
        stopped = exit_code()
        if stopped is not None:  # whatever failed, failed because of that
            again = "Run the same command again to go on."
            code = _fail(f"interrupted by signal {stopped - 128}. {again}", stopped, as_json)
        else:
            failure = _named(error)
            problems = [problem.as_json() for problem in failure.problems]
            code = _fail(str(failure), failure.exit_code, as_json, problems=problems)
    # Spark ends with this process; waiting for it to stop would take as long as a small job.
    sys.exit(code)


def _named(error: BaseException) -> ShardwrightError:
    """Give the error of ours that an error is; unnamed it would exit 1, which says that the data failed a check."""
    if isinstance(error, ShardwrightError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return RequestError(
            "Spark", f"{error.name} is not installed", "Install shardwright[local], or run it where Spark is"
        )
    if isinstance(error, NotADirectoryError | FileExistsError):
        return RequestError(str(error.filename), "it is no folder", "Pass another place")
    if isinstance(error, OSError):
        return RunError(
            error.filename or "storage", error.strerror or str(error), "Run the same command again to go on"
        )
    logging.getLogger("shardwright").error("an error that nobody foresaw", exc_info=error)
    return RunError("shardwright", f"{type(error).__name__}: {error}", "Please report this with the lines above")


@contextmanager
def _session(dataset: str = "", *others: str | None) -> Iterator[SparkSession]:
    """Give a session fit for a dataset's metadata and all places; Ctrl-C goes on meaning what it means here."""
    # Spark is imported once the words are known to be right, and the verbs while the JVM starts.
    from shardwright.store.dataset import sidecar_bytes
    from shardwright.store.session import session, starting_session

    places = (dataset, *others)
    with signals_later(), starting_session(sidecar_bytes(dataset), places) as starting:
        import_module("shardwright.export")
        starting.result()
    with session(starting.result(), places) as spark:
        stop_on_signals(spark)
        yield spark


def _fail(
    message: str, code: int, as_json: bool, *, usage: click.ClickException | None = None, problems: Sequence[Any] = ()
) -> int:
    message = without_secrets(message)
    if as_json:
        click.echo(without_secrets(json.dumps({"error": message, "exit_code": code, "problems": problems})))
    if usage is not None:
        click.UsageError(message, getattr(usage, "ctx", None)).show()
    else:
        click.echo(f"shardwright: {message}", err=True)
    return code


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(shardwright.__version__, prog_name="shardwright")
def cli() -> None:
    """Export curated WebDataset shards: filter, reshard, renumber, record, verify."""


@cli.command("index")
@click.argument("dataset")
@options.source_options
@options.verb
def index_command(dataset: str, **words: Any) -> dict[str, Any]:
    """Read every tar's headers and remember where each sample lies."""
    source = SourceSettings(absolute(dataset), **words)
    with _session(source.dataset, source.tables) as spark:
        from shardwright.index import index_dataset

        return index_dataset(spark, source)


@cli.command("filter")
@click.argument("dataset")
@options.rule_options
@options.join_options
@options.source_options
@options.pairing_options
@options.verb
def filter_command(dataset: str, **words: Any) -> dict[str, Any]:
    """Store which samples stay and why the others do not; copy nothing."""
    selection = _selection(words)
    source = SourceSettings(absolute(dataset), **words)
    with _session(source.dataset, source.tables, source.metadata, selection.keep_list) as spark:
        from shardwright.filter import filter_dataset

        return filter_dataset(spark, source, selection)


@cli.command("export")
@click.argument("dataset")
@click.argument("output")
@options.rule_options
@options.join_options
@click.option("--decisions", metavar="latest|SNAPSHOT", help="Keep what an earlier filter of this dataset kept.")
@click.option("--samples-per-shard", type=int, default=10_000, show_default=True)
@options.writing_options
@options.source_options
@options.pairing_options
@options.verb
def export_command(decisions: str | None, **words: Any) -> dict[str, Any]:
    """Write the samples that meet the rules as a new dataset."""
    selection = _selection(words, decisions)
    if selection.is_empty:
        raise RequestError(
            "export", "nothing says which samples to keep", "Pass --where, or use reshard to keep them all"
        )
    return _export(selection, words)


@cli.command("reshard")
@click.argument("dataset")
@click.argument("output")
@click.option("--samples-per-shard", type=int, required=True)
@options.writing_options
@options.source_options
@options.pairing_options
@options.verb
def reshard_command(**words: Any) -> dict[str, Any]:
    """Write all samples as a new dataset with other shard sizes."""
    return _export(Selection(), words)


@cli.command("save-metadata")
@click.argument("dataset")
@click.argument("path", required=False)
@click.option("--columns", metavar="A,B", help="Write only these columns, and the id column.")
@click.option("--id-col", metavar="COLUMN", help="The sidecar's column that holds the key  [default: key, else id]")
@options.source_options
@options.verb
def save_metadata_command(dataset: str, path: str | None, columns: str | None, **words: Any) -> dict[str, Any]:
    """Write the sidecars' metadata to another folder, one file a shard."""
    if path is None:
        raise RequestError(
            "save-metadata", "no PATH was given, and there is nothing new to write", "Pass a folder for the copy"
        )
    names = [name.strip() for name in columns.split(",")] if columns else None
    source = SourceSettings(absolute(dataset), **words)
    with _session(source.dataset, source.tables, path) as spark:
        from shardwright.save_metadata import save_metadata

        return save_metadata(spark, source, absolute(path), names)


@cli.command("verify")
@click.argument("output")
@click.option("--deep", is_flag=True, help="Parse every tar too, and load a sample of every shard through webdataset.")
@options.output_tables_option
@options.verb
def verify_command(output: str, deep: bool, tables: str | None) -> dict[str, Any]:
    """Read an output back and compare it with its manifest and tables; exit 1 names everything that is wrong."""
    root = absolute(output)
    with _session(root, tables or _tables_of(root)) as spark:
        from shardwright.verify import verify_output

        return verify_output(spark, root, tables, deep=deep)


@cli.command("clean")
@click.argument("output")
@click.option("--delete", is_flag=True, help="Remove them; without it they are only listed.")
@options.output_tables_option
@options.verb
def clean_command(output: str, delete: bool, tables: str | None) -> dict[str, Any]:
    """List the files in an output that verify calls orphans, and remove them with --delete."""
    root = absolute(output)
    with _session(root, tables or _tables_of(root)) as spark:
        from shardwright.clean import clean_output

        return clean_output(spark, root, tables, delete=delete)


@cli.command("history")
@click.argument("output_or_tables")
@options.verb
def history_command(output_or_tables: str) -> dict[str, Any]:
    """List the committed snapshots, newest first."""
    with _session("", output_or_tables, _tables_of(absolute(output_or_tables))) as spark:
        from shardwright.history import list_history

        return list_history(spark, output_or_tables)


def _tables_of(output_root: str) -> str | None:
    """Say where an output's tables lie, as far as its manifest tells: the session must reach them."""
    found = None
    with suppress(ShardwrightError, OSError, ValueError):
        found = read_json(os.path.join(output_root, "manifest.json"))
    tables = found.get("tables") if isinstance(found, dict) else None
    return tables if isinstance(tables, str) else None


def _export(selection: Selection, words: dict[str, Any]) -> dict[str, Any]:
    source_words = {name: words.pop(name) for name in _SOURCE_WORDS if name in words}
    source = SourceSettings(absolute(words.pop("dataset")), **source_words)
    settings = ExportSettings(source, absolute(words.pop("output")), selection, **words)
    places = (settings.output, source.tables, source.metadata, selection.keep_list)
    with _session(source.dataset, *places) as spark:
        from shardwright.export import export_dataset

        return export_dataset(spark, settings)


def _selection(words: dict[str, Any], decisions: str | None = None) -> Selection:
    where, named = words.pop("where"), words.pop("rule")
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
    keep_list = words.pop("keep_list")
    if words["metadata"] is not None:
        words["metadata"] = table_or_path(words["metadata"])
    elif words["join_on"] is not None and keep_list is None:
        raise RequestError("--join-on", "nothing is to be joined", "Add --keep-list or --metadata")
    return Selection(rules, words.pop("filter_column"), decisions, keep_list and absolute(keep_list))
