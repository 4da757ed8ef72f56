"""Join another table's columns to the metadata, and look at how its rows meet the dataset's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.config import SourceSettings
from shardwright.errors import RequestError, did_you_mean
from shardwright.frames.columns import column
from shardwright.frames.joins import JOINED, OTHER, VALUE, can_meet, join_value, with_other
from shardwright.metadata import Metadata
from shardwright.reporting import log
from shardwright.store.other_tables import OtherTable, open_other_table
from shardwright.store.session import run_errors
from shardwright.store.sidecars import FILE_PATH, LISTED, ROW_INDEX, with_file_path

UID = "uid"
# Columns that tell one sample's content from another's: where both sides have one, its values must agree.
_CONTENT = (UID, "sha256", "sha512", "md5")
_NAMED = 3


class TableJoin(NamedTuple):
    """A table that is joined: its column ``join_on`` with that of the metadata, whose rows all stay.

    ``rows`` has a row a sidecar row: `VALUE`, `JOINED` (null without a partner), and the columns of ``content``
    twice, the table's after `OTHER`.
    """

    table: OtherTable
    join_on: str
    content: Sequence[str]
    values: DataFrame
    rows: DataFrame


def choose_join_column(metadata: Metadata, source: SourceSettings) -> str:
    """Choose the column that a list or a table goes by: the one asked for, else the uid, else the id.

    Raises:
        RequestError: The metadata has no such column.
    """
    name = source.join_on or (UID if UID in metadata.names else metadata.id_col)
    if name not in metadata.names:
        found = f"no column '{name}' in the metadata"
        raise RequestError("--join-on", found, did_you_mean(name, metadata.names))
    return name


def require_comparable(metadata: Metadata, join_on: str, where: str, kind: T.DataType) -> None:
    """Refuse values of a type that are never equal to those of a column.

    Raises:
        RequestError: It names both types.
    """
    own = metadata.frame.schema[join_on].dataType
    if not can_meet(own, kind):
        found = f"its values are {kind.simpleString()}, the dataset's column '{join_on}' is {own.simpleString()}"
        raise RequestError(where, found, "Pass --join-on with a column of text, whole numbers or bytes on both sides")


def join_table(spark: SparkSession, metadata: Metadata, source: SourceSettings) -> tuple[Metadata, TableJoin | None]:
    """Add the columns of the table that was asked for, if one was, before any job runs.

    Raises:
        RequestError: The table or its column is missing, or a name stands on both sides.
    """
    if source.metadata is None:
        return metadata, None
    join_on = choose_join_column(metadata, source)
    table = open_other_table(spark, source.metadata)
    names = table.frame.columns
    if join_on not in names:
        found = f"the table has no column '{join_on}'"
        raise RequestError(table.where, found, f"Pass --join-on. {did_you_mean(join_on, names)}")
    kind, other = metadata.frame.schema[join_on].dataType, table.frame.schema[join_on].dataType
    require_comparable(metadata, join_on, table.where, other)
    content = [name for name in _CONTENT if name in names and name in metadata.names and name != join_on]
    added = [name for name in names if name != join_on and name not in content]
    _require_new(metadata, table.where, added)
    for name in content:
        require_comparable(metadata, name, table.where, table.frame.schema[name].dataType)
    values = table.frame.withColumn(VALUE, join_value(join_on, other, kind))
    own = with_file_path(metadata.frame)
    rows = with_other(own, join_value(join_on, kind, other), values, added, content)
    schema = metadata.schema
    for field in table.fields:
        schema = schema.append(field.with_nullable(True)) if field.name in added else schema
    joined = metadata._replace(frame=rows.select(*map(column, [*own.columns, *added])), schema=schema)
    return joined, TableJoin(table, join_on, content, values, rows)


def _require_new(metadata: Metadata, where: str, added: Sequence[str]) -> None:
    taken = {name.lower() for name in (*metadata.names, "_metadata", FILE_PATH, ROW_INDEX, LISTED)}
    twins = [name for name in added if name.lower() in taken]
    if twins:
        named = ", ".join(f"'{name}'" for name in twins[:_NAMED])
        found = f"the dataset has {len(twins):,} of its columns already, case aside ({named})"
        raise RequestError(where, found, "Rename them in the table, or leave them out")


def require_joined(join: TableJoin) -> dict[str, int]:
    """Count the rows without a partner.

    Raises:
        RequestError: A value stands in several rows of the table, no row has a partner, or partners are of
            other samples.
    """
    with run_errors("join"):
        _require_unique(join)
        schema = join.rows.schema
        differ = []
        for name in join.content:
            kinds = schema[name].dataType, schema[OTHER + name].dataType
            # Hashes are hex digits in capitals or not.
            differ.append(F.lower(join_value(name, *kinds)) != F.lower(join_value(OTHER + name, *kinds[::-1])))
        counted = join.rows.agg(F.count(F.lit(1)), F.count(JOINED), *(F.count(F.when(each, 1)) for each in differ))
        ((row_count, joined_count, *differing),) = counted.collect()
        if row_count and not joined_count:
            raise RequestError(join.table.where, f"no value of '{join.join_on}' meets one of the dataset", _hint(join))
    for name, count in zip(join.content, differing, strict=True):
        if count:
            found = f"of {joined_count:,} rows joined by '{join.join_on}', {count:,} have another '{name}'"
            remedy = f"The keys match, the samples do not: pass --join-on {name}, or take the scores of this dataset"
            raise RequestError(join.table.where, found, remedy)
    log(f"join: {joined_count:,} of {row_count:,} rows have a partner in {join.table.where}")
    return {"unjoined_rows": row_count - joined_count}


def _require_unique(join: TableJoin) -> None:
    """Refuse a table that would give a row several partners."""
    counts = join.values.filter(F.col(VALUE).isNotNull()).groupBy(VALUE).count().filter("count > 1")
    first = counts.orderBy(VALUE).limit(_NAMED).collect()
    if first:
        named = ", ".join(f"{row[VALUE]!r} {row['count']:,} times" for row in first)
        found = f"{counts.count():,} values of '{join.join_on}' stand in several rows ({named})"
        raise RequestError(join.table.where, found, "Leave one row for each value")


def _hint(join: TableJoin) -> str:
    """Show values of both sides."""
    sides = []
    for frame in (join.rows, join.values):
        values = frame.filter(F.col(VALUE).isNotNull()).select(VALUE).orderBy(VALUE).limit(_NAMED).collect()
        sides.append(", ".join(repr(row[VALUE]) for row in values) or "nothing")
    return f"Pass another --join-on: the dataset has {sides[0]}, the table {sides[1]}"
