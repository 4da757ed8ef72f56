"""A dataset's metadata as one frame, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright import functions
from shardwright.config import DEFAULT_ID_COL, FALLBACK_ID_COL, ExportSettings, Selection, SourceSettings
from shardwright.errors import Problem, RequestError, did_you_mean
from shardwright.format.sidecar import Receipt, SidecarColumn
from shardwright.frames.columns import column
from shardwright.reporting import warn
from shardwright.store.dataset import Dataset
from shardwright.store.expressions import expression_text, is_repeatable
from shardwright.store.session import refused_by_gpu
from shardwright.store.sidecars import FILE_PATH, LISTED, ROW_INDEX, open_sidecars, read_metadata

_NOT_REPEATABLE = "gives other values each time it is computed, so the export could not be repeated"


class Metadata(NamedTuple):
    """A dataset's metadata: ``frame`` has a row a sidecar row; ``schema`` the Arrow types that hold all sidecars'.

    ``problems`` are what is wrong with sidecars that ``frame`` does not read, by ``shard_index``.
    ``assigned`` are the columns that were computed since, in order, each with what it was computed from.
    """

    frame: DataFrame
    schema: pa.Schema
    id_col: str
    receipt: Receipt | None
    problems: tuple[tuple[int | None, Problem], ...] = ()
    assigned: tuple[tuple[str, Column], ...] = ()

    @property
    def names(self) -> list[str]:
        """The columns that are the user's, in order."""
        return [name for name in self.frame.columns if name not in (FILE_PATH, ROW_INDEX, LISTED)]

    @property
    def computed(self) -> frozenset[str]:
        """The columns that are not, or not any more, as the sidecars have them."""
        return frozenset(name for name, _ in self.assigned)

    @property
    def expressions(self) -> list[str]:
        """What the frame says beyond the sidecars: part of what makes an export the same export again."""
        return [f"{name} = {expression_text(value, self.frame.sparkSession)}" for name, value in self.assigned]

    def with_column(self, name: str, value: Column) -> Metadata:
        """Add a column, or replace one in its place."""
        columns = [value.alias(name) if other == name else column(other) for other in self.frame.columns]
        added = [] if name in self.frame.columns else [value.alias(name)]
        return self._replace(frame=self.frame.select(*columns, *added), assigned=(*self.assigned, (name, value)))

    def field(self, name: str) -> pa.Field | None:
        """Give a column's Arrow field in the files it comes from; None where it was computed, or is from Delta."""
        return None if name in self.computed or name not in self.schema.names else self.schema.field(name)


def load_metadata(
    spark: SparkSession, dataset: Dataset, source: SourceSettings, needed_for: str, *, placed: bool = False
) -> Metadata:
    """Open the sidecars that something needs.

    Args:
        placed: They may be saved again, each row in its place.

    Raises:
        RequestError: Sidecars or the id column are missing.
    """
    metadata = find_metadata(spark, dataset, source, placed=placed)
    if metadata is None:
        found = f"no shard has a sidecar, {needed_for} needs one"
        raise RequestError(dataset.dataset_root, found, "Put NAME.parquet beside each NAME.tar")
    return metadata


def rows_needed_for(selection: Selection, source: SourceSettings) -> str:
    """Name what can't do without sidecars; empty where nothing is asked of them."""
    if selection.rules or selection.filter_column:
        return "a rule"
    return "a keep list" if selection.keep_list else "a table that is joined" if source.metadata else ""


def find_metadata(
    spark: SparkSession, dataset: Dataset, source: SourceSettings, *, placed: bool = False
) -> Metadata | None:
    """Open the sidecars; None where there are none.

    Raises:
        RequestError: The id column is missing.
    """
    sidecars = open_sidecars(dataset)
    if sidecars is None:
        return None
    schema = sidecars.schema
    id_col = source.id_col or (DEFAULT_ID_COL if DEFAULT_ID_COL in schema.names else FALLBACK_ID_COL)
    if id_col not in schema.names:
        found = f"the sidecars have no column '{id_col}' that could hold the key"
        raise RequestError(dataset.dataset_root, found, f"Pass --id-col. {did_you_mean(id_col, schema.names)}")
    frame = read_metadata(spark, dataset.dataset_root, sidecars, placed=placed)
    metadata = Metadata(frame, schema, id_col, sidecars.receipt, sidecars.problems)
    id_type = metadata.frame.schema[id_col].dataType
    if not isinstance(id_type, T.StringType | T.IntegralType | T.DecimalType):
        found = f"column '{id_col}' is {id_type.simpleString()}, keys are compared as text or whole numbers"
        raise RequestError(dataset.dataset_root, found, "Cast it to string, or pass another --id-col")
    return metadata


def require_selection(metadata: Metadata | None, selection: Selection) -> None:
    """Check a selection against the columns before any job runs.

    Raises:
        RequestError: A rule does not parse, names no column or is no condition; the flag column is missing;
            a rule or an assigned column has other values each time.
    """
    if metadata is None:
        return
    # Spark holds the place of a row to be one that may change.
    if not is_repeatable(metadata.frame.drop(FILE_PATH, ROW_INDEX)):
        assigned = ", ".join(f"metadata['{name}']" for name in sorted(metadata.computed))
        raise RequestError(assigned, f"it {_NOT_REPEATABLE}", _remedy(metadata))
    if selection.filter_column is not None:
        _require_flag(metadata, selection.filter_column)
    for rule, condition in selection.rules.items():
        _require_condition(metadata, rule, condition)


def _require_flag(metadata: Metadata, name: str) -> None:
    if name not in metadata.names:
        found = f"no column '{name}' in the metadata"
        raise RequestError("--filter-column", found, did_you_mean(name, metadata.names))
    kind = metadata.frame.schema[name].dataType
    if not isinstance(kind, T.BooleanType | T.NumericType):
        found = f"column '{name}' is {kind.simpleString()}"
        raise RequestError("--filter-column", found, "A flag is boolean, or 0 and 1; use --where to compare text")
    _warn_of_cpu(f"column '{name}'", metadata.frame.select(column(name)))


def _require_condition(metadata: Metadata, rule: str, condition: str) -> None:
    where, frame = f"rule '{rule}'", metadata.frame.drop(FILE_PATH, ROW_INDEX)
    try:
        # In parentheses a last word, such as an "and" that nothing follows, is not taken for a name.
        decided = frame.select(F.expr(f"({condition}\n)"))
        # Beside a column, an aggregate over all samples is no condition for each.
        frame.select(column(metadata.id_col), F.expr(f"({condition}\n)")).schema  # noqa: B018
        kind = decided.schema[0].dataType
    except ParseException as error:
        raise RequestError(where, f"{condition!r} does not parse as SQL ({_short(error)})", "Mend it") from None
    except AnalysisException as error:
        named = {key: name.replace("`", "") for key, name in (error.getMessageParameters() or {}).items()}
        function = named.get("routineName", "").lower()
        if function in functions.NAMES:
            raise functions.missing_function(where, function) from None
        missing = named.get("objectName", "")
        if missing:
            raise RequestError(where, f"no column '{missing}'", did_you_mean(missing, metadata.names)) from None
        raise RequestError(where, f"{condition!r} is refused ({_short(error)})", "Mend it") from None
    if not isinstance(kind, T.BooleanType):
        found = f"{condition!r} is {kind.simpleString()}, not a condition"
        raise RequestError(where, found, "Compare it with something")
    if not is_repeatable(decided):
        raise RequestError(where, f"{condition!r} {_NOT_REPEATABLE}", _remedy(metadata))
    _warn_of_cpu(where, decided)


def _warn_of_cpu(where: str, decided: DataFrame) -> None:
    """Name what takes a rule off the GPU, where plans are for one."""
    refused = refused_by_gpu(decided)
    if refused:
        warn(f"{where}: {'; '.join(refused)}. This runs on the CPU; the README lists what runs on a GPU")


def _remedy(metadata: Metadata) -> str:
    return f"Draw by a hash, like pmod(xxhash64({metadata.id_col}), 100) < 10, and write a time as a literal"


def _short(error: AnalysisException) -> str:
    """Give the first line of what Spark says, without its error class."""
    return str(error).strip().splitlines()[0].partition("] ")[2].rstrip(". ")[:300]


def sidecar_columns(
    settings: ExportSettings, metadata: Metadata | None, columns: Mapping[str, str]
) -> tuple[SidecarColumn, ...]:
    """Give the columns of the output's sidecars.

    Raises:
        RequestError: A column of the user's has the name of one that is to be added.
    """
    key_field = pa.field(metadata.id_col if metadata else DEFAULT_ID_COL, pa.string(), nullable=False)
    added = {settings.source_key_col: "--source-key-col", settings.source_shard_col: "--source-shard-col"}
    if metadata is None:
        chosen = [SidecarColumn("key", key_field.name, key_field)]
    else:
        ours = () if metadata.receipt is None else (metadata.receipt.source_key_col, metadata.receipt.source_shard_col)
        chosen = []
        for name in metadata.names:
            stored = metadata.field(name)
            if name in added and name in ours:
                continue  # the immediate source is what a row names; the chain of snapshots keeps the rest
            if name in added:
                raise RequestError(
                    added[name], f"the metadata has a column '{name}' of its own", f"Pass another {added[name]}"
                )
            if name == metadata.id_col:
                chosen.append(SidecarColumn("key", name, stored if settings.keys == "source" else key_field))
            else:
                chosen.append(SidecarColumn(columns.get(name, name), name, stored))
        if settings.old_id_col is not None:
            if settings.old_id_col in metadata.names:
                raise RequestError(
                    "old_id_col", f"the metadata has a column '{settings.old_id_col}'", "Pass another name"
                )
            id_field = metadata.field(metadata.id_col) or key_field
            chosen.append(SidecarColumn("source_key", settings.old_id_col, id_field.with_name(settings.old_id_col)))
    chosen += [
        SidecarColumn("source_key", settings.source_key_col, pa.field(settings.source_key_col, pa.string())),
        SidecarColumn("source_shard", settings.source_shard_col, pa.field(settings.source_shard_col, pa.string())),
    ]
    names = [column.name.lower() for column in chosen]
    for name, option in added.items():
        if not name or names.count(name.lower()) > 1:
            raise RequestError(option, f"the name '{name}' is empty or taken", f"Pass another {option}")
    return tuple(chosen)
