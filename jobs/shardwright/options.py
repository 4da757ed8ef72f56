"""Options that verbs share, and the frame around each verb: the job file before it, its result printed after."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from shardwright.errors import RequestError
from shardwright.jobfile import STORAGE, read_job, read_storage
from shardwright.locations import read_option, storage_options

Command = Callable[..., Any]
_NOT_IN_JOBS = ("job", "help", "storage_option")


def _read_job(context: click.Context, _: click.Parameter, path: str | None) -> None:
    if path is None:
        return
    verb = str(context.info_name)
    group = context.parent.command if context.parent else None
    verbs = group.commands if isinstance(group, click.Group) else ()
    context.meta[STORAGE] = read_storage(path)
    known = [str(parameter.name) for parameter in context.command.params if parameter.name not in _NOT_IN_JOBS]
    context.default_map = read_job(path, verb, known, verbs)


def verb(command: Command) -> Callable[..., None]:
    """Add the options of every verb, and print what the verb returns."""

    @click.option("--job", type=click.Path(), is_eager=True, expose_value=False, callback=_read_job,
                  help="Read options from this TOML file's section for the verb; the command line wins.")  # fmt: skip
    @click.option("--json", is_flag=True, help="Print the result as one JSON object; logs go to stderr.")
    @click.option(
        "--storage-option",
        multiple=True,
        metavar="KEY=VALUE",
        help="How stores are reached: region, endpoint, …; repeat for more. Never shown, stored or logged.",
    )
    @wraps(command)
    def run(storage_option: tuple[str, ...], **options: Any) -> None:  # fmt: skip
        given = {**click.get_current_context().meta.get(STORAGE, {}), **dict(map(read_option, storage_option))}
        with storage_options(given):
            _run(command, options)

    return run


def _run(command: Command, options: dict[str, Any]) -> None:
    as_json = options.pop("json")
    for name, value in options.items():
        if value == "" or (isinstance(value, tuple) and "" in value):
            raise RequestError(name.replace("_", "-"), "its value is empty", "Give it a value")
    result = command(**options)
    if as_json:
        click.echo(json.dumps(result, default=str))
    else:
        _print_result(result)


def source_options(command: Command) -> Command:
    for option in (
        click.option("--recursive", is_flag=True, help="Take in tars in sub-folders."),
        click.option(
            "--tables", metavar="PATH|CATALOG.SCHEMA", help="Where the Delta tables lie  [default: beside the data]"
        ),
    ):
        command = option(command)
    return command


def pairing_options(command: Command) -> Command:
    for option in (
        click.option("--on-bad", type=click.Choice(["fail", "quarantine"]), default="fail", show_default=True,
                     help="List all that is wrong and stop, or set it aside in `rejects` and go on with the rest."),
        click.option("--unmatched-samples", type=click.Choice(["fail", "reject"]), default="fail", show_default=True,
                     help="Samples that have no row in the sidecar."),
        click.option("--unmatched-rows", type=click.Choice(["fail", "ignore"]), default="fail", show_default=True,
                     help="Sidecar rows that have no sample; rows whose status is not 'success' never need one."),
        click.option("--id-col", metavar="COLUMN",
                     help="The sidecar's column that holds the key  [default: key, else id]"),
    ):  # fmt: skip
        command = option(command)
    return command


def rule_options(command: Command) -> Command:
    for option in (
        click.option("--filter-column", metavar="COLUMN", help="Keep where this column is true (or 1)."),
        click.option("--rule", multiple=True, metavar="NAME=SQL",
                     help="A named condition that a sample must meet; repeat for more."),
        click.option("--where", metavar="SQL", help="The rule named 'where'."),
    ):  # fmt: skip
        command = option(command)
    return command


def join_options(command: Command) -> Command:
    for option in (
        click.option("--join-on", metavar="COLUMN",
                     help="The column that --keep-list and --metadata go by  [default: uid, else the id column]"),
        click.option("--metadata", metavar="PATH|CATALOG.SCHEMA.TABLE",
                     help="Join the columns of a table: a Parquet file, a folder of them, or a Delta table."),
        click.option("--keep-list", metavar="FILE",
                     help="Keep the samples that a list names: .npy of uids, .txt or .parquet."),
    ):  # fmt: skip
        command = option(command)
    return command


def writing_options(command: Command) -> Command:
    for option in (
        click.option("--dry-run", is_flag=True, help="Print shards, samples, bytes and drops; write nothing."),
        click.option("--allow-empty", is_flag=True, help="Commit an export that keeps no sample."),
        click.option("--source-shard-col", default="source_shard", show_default=True, metavar="COLUMN",
                     help="The sidecar's column that names the source shard."),
        click.option("--source-key-col", default="source_key", show_default=True, metavar="COLUMN",
                     help="The sidecar's column that names the source key."),
        click.option("--json-id/--no-json-id", default=None,
                     help="Put the new key into JSON's field of the id column's name  [default: unless --keys source]"),
        click.option("--check", multiple=True, type=click.Choice(["images", "image-headers", "hashes"]),
                     help="Look into the kept payloads first: decode images, or only open them; compare hashes."),
        click.option("--hash-col", metavar="COLUMN",
                     help="The sidecar's column of hex hashes of the images  [default: sha256, sha512 or md5]"),
        click.option("--keys", type=click.Choice(["renumber", "source", "prefix"]), default="renumber",
                     show_default=True, help="Number the samples anew; keep their keys; or keep them, after the "
                     "source shard's name where shards share one."),
        click.option("--shard-digits", type=int, default=5, show_default=True, help="Digits of the shard number."),
    ):  # fmt: skip
        command = option(command)
    return command


def output_tables_option(command: Command) -> Command:
    """Add where the tables of a finished output lie."""
    words = "Where the Delta tables lie  [default: as the manifest says]"
    return click.option("--tables", metavar="PATH|CATALOG.SCHEMA", help=words)(command)


def _print_result(result: dict[str, Any]) -> None:
    """Print a verb's result for a person: scalars as lines, lists of rows as tables."""
    console = Console(highlight=False)
    # A pipe or a file has no width of its own: nothing is to be cut there.
    console = console if console.is_terminal else Console(highlight=False, width=240)
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
