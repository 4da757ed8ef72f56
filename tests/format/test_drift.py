"""Sidecars that drifted apart: one schema, or every reason why there is none."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardwright.errors import ColumnsError
from shardwright.format.drift import SidecarGroup, group_sidecars, widest_schema

F32, F64, I64 = pa.float32(), pa.float64(), pa.int64()


def no_footers(paths: Sequence[str]) -> list[pq.FileMetaData]:
    raise AssertionError(f"footers of {paths} were read")


def groups_of(**schemas: dict[str, Any]) -> list[SidecarGroup]:
    return group_sidecars((path, pa.schema(list(columns.items()))) for path, columns in schemas.items())


def test_sidecars_are_grouped_by_columns_whatever_pandas_wrote() -> None:
    plain, wide = pa.schema([("n", pa.int32())]), pa.schema([("n", I64)])
    noted = plain.with_metadata({"pandas": "{}"})
    assert group_sidecars([("a", plain), ("b", wide), ("c", noted)]) == [(plain, ["a", "c"]), (wide, ["b"])]


def test_schema_keeps_the_first_sidecars_order_and_metadata() -> None:
    first = pa.schema([pa.field("b", pa.int8(), False, {"unit": "px"}), pa.field("a", pa.null())], {"made": "by us"})
    second = pa.schema([("a", pa.string()), ("__null_dask_index__", I64), ("b", pa.int16())])
    widest = pa.schema([pa.field("b", pa.int16(), True, {"unit": "px"}), pa.field("a", pa.string())], {"made": "by us"})
    found = widest_schema(group_sidecars([("1", first), ("2", second)]), no_footers)
    assert found.equals(widest, check_metadata=True)


def test_every_column_without_a_type_is_named_at_once() -> None:
    groups = groups_of(
        a={"id": pa.string(), "n": I64, "Score": F32, "emb": pa.list_(F32, 2), "x": pa.null()},
        b={"id": pa.string(), "n": I64, "score": F32, "emb": pa.list_(F32, 2), "x": pa.bool_()},
        c={"id": pa.string(), "n": pa.string(), "Score": F32, "emb": pa.list_(F32, 3)},
        d={"id": pa.string(), "n": I64, "Score": F32, "emb": pa.list_(F32, 2), "x": pa.bool_()},
    )
    with pytest.raises(ColumnsError) as refused:
        widest_schema(groups, no_footers)
    assert str(refused.value).splitlines() == [
        "sidecars: they have no schema in common.",
        "  'Score' in a and 'score' in b are the same but for case",
        "  column 'x' is missing from 1 of 4 sidecars (c)",
        "  column 'n' is int64 in a, string in c",
        f"  column 'emb' is {pa.list_(F32, 2)} in a, {pa.list_(F32, 3)} in c",
        "Give each column one name and one type in all sidecars.",
    ]


def test_missing_columns_name_some_of_many_sidecars() -> None:
    groups = groups_of(a={"x": I64}, **{f"b{index}": {} for index in range(5)})
    with pytest.raises(ColumnsError, match=r"column 'x' is missing from 5 of 6 sidecars \(b0, b1, b2, …\)"):
        widest_schema(groups, no_footers)


def test_names_that_meet_in_one_sidecar_are_refused() -> None:
    twins = pa.schema([("a", I64), ("A", I64), ("b", I64), ("b", I64)])
    with pytest.raises(ColumnsError) as refused:
        widest_schema([SidecarGroup(twins, ["p"])], no_footers)
    assert "column 'b' is there twice in p" in str(refused.value)
    assert "'a' in p and 'A' in p are the same but for case" in str(refused.value)


def test_permuted_columns_give_the_same_fields() -> None:
    columns = {"a": pa.int8(), "b": pa.string(), "c": pa.list_(F32)}
    for order in permutations(columns):
        groups = groups_of(p=columns, q={name: columns[name] for name in order})
        assert widest_schema(groups, no_footers) == pa.schema(list(columns.items()))


class Files:
    """Sidecars on disk, and the paths whose footers were asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._schemas: list[tuple[str, pa.Schema]] = []
        self.asked: list[str] = []

    def write(self, name: str, table: pa.Table, **options: Any) -> Files:
        path = str(self._folder / name)
        pq.write_table(table, path, **options)
        self._schemas.append((name, pq.read_schema(path)))
        return self

    def widest(self) -> pa.Schema:
        return widest_schema(group_sidecars(self._schemas), self._footers)

    def _footers(self, paths: Sequence[str]) -> list[pq.FileMetaData]:
        self.asked += paths
        return [pq.read_metadata(self._folder / path) for path in paths]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


floats = partial(pa.array, type=F64)


def test_whole_numbers_become_doubles_where_statistics_prove_them(files: Files) -> None:
    files.write("a", pa.table({"k": ["x"], "n": floats([None])}))
    files.write("b", pa.table({"k": ["x", "y"], "n": pa.array([-(2**53), 2**53])}), row_group_size=1)
    files.write("c", pa.table({"k": ["x"], "n": pa.array([None], I64)}))
    files.write("d", pa.table({"k": ["x"], "n": pa.array([2**31 - 1], pa.int32())}))
    files.write("e", pa.table({"k": pa.array([], pa.string()), "n": pa.array([], I64)}))
    assert files.widest() == pa.schema([("k", pa.string()), ("n", F64)])
    assert files.asked == ["b", "c", "e"]


@pytest.mark.parametrize("beyond", [pa.array([2**53 + 1]), pa.array([-(2**60)]), pa.array([2**64 - 1], pa.uint64())])
def test_whole_numbers_that_doubles_can_not_hold_are_refused(files: Files, beyond: pa.Array) -> None:
    files.write("a", pa.table({"n": floats([0.5])})).write("b", pa.table({"n": beyond}))
    with pytest.raises(ColumnsError, match=rf"'n' is double in a, {beyond.type} in b, and .* whole numbers in b: "):
        files.widest()


def test_whole_numbers_without_statistics_are_refused(files: Files) -> None:
    files.write("a", pa.table({"n": floats([0.5])}))
    files.write("b", pa.table({"n": [1]})).write("c", pa.table({"n": [2]}), write_statistics=False)
    with pytest.raises(ColumnsError, match="the whole numbers in c: statistics do not show them"):
        files.widest()


def test_proof_is_asked_of_the_right_inner_column(files: Files) -> None:
    """A neighbour beyond the bounds does not matter, wherever it stands."""
    big = 2**60
    kind = pa.struct([("when", pa.duration("us")), ("id", I64), ("xs", pa.list_(I64)), ("m", pa.map_(I64, I64))])
    whole = {"when": dt.timedelta(days=9), "id": big, "xs": [1, 2], "m": [(big, 3)]}
    other = pa.struct([("m", pa.map_(I64, F64)), ("xs", pa.list_(F64)), ("id", I64), ("when", pa.duration("us"))])
    files.write("a", pa.table({"s": pa.array([whole], kind), "s.xs": [big]}))
    files.write("b", pa.table({"s.xs": [big], "s": pa.array([None], other)}))
    widest = [("when", pa.duration("us")), ("id", I64), ("xs", pa.list_(F64)), ("m", pa.map_(I64, F64))]
    assert files.widest() == pa.schema([("s", pa.struct(widest)), ("s.xs", I64)])
    files.write("c", pa.table({"s": pa.array([{**whole, "xs": [1, big]}], kind), "s.xs": [big]}))
    with pytest.raises(ColumnsError, match=r"the whole numbers in c:"):
        files.widest()
