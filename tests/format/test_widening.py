"""The narrowest type that holds the values of several."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwright.format.widening import widest_type

F32, F64, I64 = pa.float32(), pa.float64(), pa.int64()
FAMILIES = (
    (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    (pa.int8(), pa.int32(), pa.int64(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float32(), pa.float64()),
    (pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.string())),
    (pa.binary(), pa.large_binary(), pa.binary(2), pa.binary(3)),
    (pa.decimal128(9, 2), pa.decimal128(12, 6), pa.decimal128(30, 0)),
    (pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us")),
    (pa.timestamp("ms", "UTC"), pa.timestamp("ms", "Asia/Tokyo"), pa.timestamp("us", "Asia/Tokyo")),
    (pa.bool_(), pa.int8(), pa.date32(), pa.timestamp("ms"), pa.string(), pa.binary(), pa.dictionary(pa.int8(), I64)),
)
# A list may be of any kind; a struct and a map are one kind each.
SHAPES = (
    (lambda kind: kind,),
    (pa.list_, pa.large_list, lambda kind: pa.list_(kind, 2 if kind != pa.null() else -1)),
    (lambda kind: pa.struct([("x", kind)]),),
    (lambda kind: pa.map_(pa.string(), kind),),
)
ALIKE = st.tuples(st.sampled_from(FAMILIES), st.sampled_from(SHAPES)).flatmap(
    lambda picked: st.lists(
        st.builds(
            lambda shape, kind: shape(kind), st.sampled_from(picked[1]), st.sampled_from((*picked[0], pa.null()))
        ),
        min_size=1,
        max_size=4,
    )
)
NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 123_000, dt.timezone.utc)


def values_of(kind: pa.DataType) -> list[Any]:
    """Give the extremes of a type, and a null."""
    if pa.types.is_dictionary(kind):
        return values_of(kind.value_type)
    if pa.types.is_integer(kind):
        sign = 0 if pa.types.is_unsigned_integer(kind) else 1
        low, high = -sign * 2 ** (kind.bit_width - 1), 2 ** (kind.bit_width - sign) - 1
        # Among floats 64-bit integers are widened only when statistics prove such bounds.
        return [max(low, -(2**53)), min(high, 2**53), None]
    if pa.types.is_floating(kind):
        return [0.1, 1e38 if kind == F32 else 1e308, float("-inf"), None]
    if pa.types.is_decimal(kind):
        return [Decimal(10 ** (kind.precision - kind.scale) - 1), None]
    if pa.types.is_fixed_size_binary(kind):
        return [b"\xff\x00\x01"[: kind.byte_width], None]
    if pa.types.is_timestamp(kind):
        return [NOON.replace(tzinfo=None) if kind.tz is None else NOON, None]
    if pa.types.is_struct(kind):
        return [*({"x": value} for value in values_of(kind.field(0).type)), None]
    if pa.types.is_map(kind):
        return [[("k", value)] for value in values_of(kind.item_type)] + [[], None]
    if pa.types.is_fixed_size_list(kind):
        return [[value, None] for value in values_of(kind.value_type)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [values_of(kind.value_type), [], None]
    plain: dict[pa.DataType, list[Any]] = {pa.null(): [], pa.bool_(): [True, False], pa.date32(): [NOON.date()]}
    return [*plain.get(kind, [b"\xff", b""] if "binary" in str(kind) else ["é", ""]), None]


@given(ALIKE)
def test_values_are_the_same_in_the_widest_type(kinds: list[pa.DataType]) -> None:
    widest = widest_type(kinds)
    if widest is not None:
        for kind in kinds:
            values = pa.array(values_of(kind), kind)
            assert values.cast(widest).to_pylist() == values.to_pylist()


@given(ALIKE, st.randoms())
def test_widest_type_is_the_same_in_any_order(kinds: list[pa.DataType], random: Any) -> None:
    widest = widest_type(kinds)
    assert widest_type(random.sample([*kinds, *kinds, pa.null()], 2 * len(kinds) + 1)) == widest
    assert widest is None or widest_type([widest, *kinds]) == widest


@given(ALIKE)
def test_widest_of_one_type_is_that_type(kinds: list[pa.DataType]) -> None:
    for kind in kinds:
        assert widest_type([kind]) == widest_type([kind, kind]) == widest_type([pa.null(), kind]) == kind


@pytest.mark.parametrize(
    ("kinds", "widest"),
    [
        ([pa.int8(), pa.int32()], pa.int32()),
        ([pa.uint8(), pa.uint32()], pa.uint32()),
        ([pa.uint8(), pa.int8()], pa.int16()),
        ([pa.uint32(), pa.int8()], I64),
        ([pa.uint64(), pa.int8()], None),
        ([pa.uint16(), F32], F32),
        ([pa.int32(), F32], F64),
        # Two steps would take both to 32-bit integers, and those to a double.
        ([pa.uint16(), pa.int8(), F32], F32),
        ([I64, F32], F64),
        ([pa.bool_(), pa.int8()], None),
        ([pa.string(), I64], None),
        ([pa.string(), pa.binary()], None),
        ([pa.date32(), pa.timestamp("us")], None),
        ([pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int16(), pa.string())], pa.string()),
        ([pa.dictionary(pa.int8(), pa.large_string()), pa.string()], pa.large_string()),
        ([pa.dictionary(pa.int8(), pa.int16()), pa.int32()], pa.int32()),
        ([pa.binary(4), pa.binary(8)], pa.binary()),
        ([pa.binary(4), pa.large_binary()], pa.large_binary()),
        ([pa.decimal128(9, 2), pa.decimal128(9, 4)], pa.decimal128(11, 4)),
        ([pa.decimal128(38, 0), pa.decimal128(9, 2)], None),
        ([pa.timestamp("ms"), pa.timestamp("us")], pa.timestamp("us")),
        ([pa.timestamp("ms"), pa.timestamp("ms", "UTC")], None),
        ([pa.timestamp("s", "Asia/Tokyo"), pa.timestamp("ms", "Asia/Tokyo")], pa.timestamp("ms", "Asia/Tokyo")),
        ([pa.timestamp("ms", "Asia/Tokyo"), pa.timestamp("us", "UTC")], pa.timestamp("us", "UTC")),
        ([pa.list_(pa.null()), pa.list_(F32)], pa.list_(F32)),
        ([pa.list_(F32, 3), pa.list_(F64, 3)], pa.list_(F64, 3)),
        ([pa.list_(F32, 3), pa.list_(F32)], pa.list_(F32)),
        ([pa.list_(F32, 3), pa.list_(F32), pa.list_(F32, 4)], None),
        ([pa.list_(F32), pa.large_list(F64)], pa.large_list(F64)),
        (
            [pa.struct([("a", pa.null()), ("b", F32)]), pa.struct([("b", F64), ("a", pa.string())])],
            "a: string, b: double",
        ),
        ([pa.struct([("a", I64)]), pa.struct([("a", I64), ("b", I64)])], None),
        ([pa.map_(pa.string(), pa.int8()), pa.map_(pa.large_string(), I64)], pa.map_(pa.large_string(), I64)),
        ([pa.list_(pa.field("item", I64, nullable=False)), pa.list_(I64)], pa.list_(I64)),
    ],
)
def test_widest_type_is(kinds: list[pa.DataType], widest: pa.DataType | str | None) -> None:
    assert (
        widest_type(kinds) == widest if not isinstance(widest, str) else str(widest_type(kinds)) == f"struct<{widest}>"
    )
