"""One schema for sidecars whose columns drifted apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from shardwright.errors import ColumnsError
from shardwright.format.widening import is_any_list, widest_field

# dask's own row index, which older versions of NeMo Curator left behind.
_NOT_METADATA = "__null_dask_index__"
# Doubles hold every whole number up to here.
_EXACT_IN_DOUBLE = 2**53
_NAMED_PATHS = 3


class SidecarGroup(NamedTuple):
    """Sidecars whose columns have the same names and types in the same order."""

    schema: pa.Schema
    paths: list[str]


def group_sidecars(schemas: Iterable[tuple[str, pa.Schema]]) -> list[SidecarGroup]:
    """Group sidecars by schema, metadata aside; in the order of the first path of each group."""
    groups: dict[tuple[pa.Field, ...], SidecarGroup] = {}
    group: SidecarGroup | None = None
    for path, schema in schemas:
        # Most follow one like themselves: that comparison costs a hundredth of the key.
        if group is None or not group.schema.equals(schema):
            group = groups.setdefault(tuple(schema), SidecarGroup(schema, []))
        group.paths.append(path)
    return list(groups.values())


def widest_schema(
    groups: Sequence[SidecarGroup], read_footers: Callable[[Sequence[str]], Iterable[pq.FileMetaData]]
) -> pa.Schema:
    """Give the one schema in which the rows of all sidecars keep their values.

    Args:
        groups: All sidecars; the order of columns and the metadata are those of the first.
        read_footers: Gives a footer for each path, in order. It is asked only for sidecars that have
            64-bit integers where others have floats.

    Raises:
        ColumnsError: It names every column that some sidecars lack or that has no such type.
    """
    columns: dict[str, list[tuple[pa.Field, str]]] = {}
    for group in groups:
        for field in group.schema:
            if field.name != _NOT_METADATA:
                columns.setdefault(field.name, []).append((field, group.paths[0]))
    wrong = [*_same_but_for_case(columns), *_missing(columns, groups)]
    fields = {}
    for name, found in columns.items():
        widest = widest_field([field for field, _ in found])
        if widest is None:
            wrong.append(f"column '{name}' is {_types(found)}")
        else:
            fields[name] = widest
    inexact = _inexact(groups, fields, read_footers)
    wrong += [
        f"column '{name}' is {_types(columns[name])}, and a double can't hold the whole numbers in {path}: "
        f"statistics do not show them within ±2^53"
        for name, path in inexact.items()
    ]
    if wrong:
        raise ColumnsError("sidecars", wrong, "Give each column one name and one type in all sidecars.")
    return pa.schema(fields.values(), groups[0].schema.metadata)


def _same_but_for_case(columns: dict[str, list[tuple[pa.Field, str]]]) -> Iterator[str]:
    """Describe names that tables can't keep apart, in one sidecar or between them."""
    spellings: dict[str, dict[str, str]] = {}
    for name, found in columns.items():
        spellings.setdefault(name.lower(), {})[name] = found[0][1]
        paths = [path for _, path in found]
        if len(set(paths)) < len(paths):
            yield f"column '{name}' is there twice in {max(paths, key=paths.count)}"
    for spelled in spellings.values():
        if len(spelled) > 1:
            yield " and ".join(f"'{name}' in {path}" for name, path in spelled.items()) + " are the same but for case"


def _missing(columns: dict[str, list[tuple[pa.Field, str]]], groups: Sequence[SidecarGroup]) -> Iterator[str]:
    """Describe columns that some sidecars lack; one that is there under another case is described already."""
    total = sum(len(group.paths) for group in groups)
    lowered = [frozenset(name.lower() for name in group.schema.names) for group in groups]
    for name in columns:
        paths = [
            path
            for group, names in zip(groups, lowered, strict=True)
            if name.lower() not in names
            for path in group.paths
        ]
        if paths:
            named = ", ".join(paths[:_NAMED_PATHS]) + (", …" if len(paths) > _NAMED_PATHS else "")
            yield f"column '{name}' is missing from {len(paths):,} of {total:,} sidecars ({named})"


def _types(found: Sequence[tuple[pa.Field, str]]) -> str:
    """Name the types of a column, each with the first sidecar that has it."""
    first: dict[str, str] = {}
    for field, path in found:
        first.setdefault(str(field.type), path)
    return ", ".join(f"{kind} in {path}" for kind, path in first.items())


def _inexact(
    groups: Sequence[SidecarGroup],
    fields: dict[str, pa.Field],
    read_footers: Callable[[Sequence[str]], Iterable[pq.FileMetaData]],
) -> dict[str, str]:
    """Find the columns of doubles that were 64-bit integers, not known to fit, in some sidecar; and the first such."""
    widest = dict(_leaves(fields.values()))
    inexact: dict[str, str] = {}
    for group in groups:
        leaves = list(enumerate(_leaves(group.schema)))
        longs = [
            (leaf, path[0]) for leaf, (path, kind) in leaves if _is_long(kind) and widest.get(path) == pa.float64()
        ]
        if longs:
            for path, footer in zip(group.paths, read_footers(group.paths), strict=True):
                for leaf, name in longs:
                    if footer.num_columns != len(leaves) or not _is_exact_in_double(footer, leaf):
                        inexact.setdefault(name, path)
    return inexact


def _leaves(fields: Iterable[pa.Field], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], pa.DataType]]:
    """List the columns that Parquet makes of Arrow fields, in its order, by path."""
    for field in fields:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        path = (*above, field.name)
        if pa.types.is_struct(kind):
            yield from _leaves(kind, path)
        elif pa.types.is_map(kind):
            yield from _leaves([kind.key_field.with_name("key"), kind.item_field.with_name("value")], path)
        elif is_any_list(kind):
            yield from _leaves([kind.value_field.with_name("element")], path)
        else:
            yield path, kind


def _is_long(kind: pa.DataType) -> bool:
    return kind in (pa.int64(), pa.uint64())


def _is_exact_in_double(footer: pq.FileMetaData, leaf: int) -> bool:
    """Tell whether statistics prove that doubles hold the whole numbers of a column."""
    for index in range(footer.num_row_groups):
        column = footer.row_group(index).column(leaf)
        found = column.statistics
        if column.num_values == 0 or (found is not None and found.has_null_count and found.num_values == 0):
            continue
        if found is None or not found.has_min_max:
            return False
        if found.min < -_EXACT_IN_DOUBLE or found.max > _EXACT_IN_DOUBLE:
            return False
    return True
