"""Where two columns differ, in type or in a value, and what stands there."""

from __future__ import annotations

from bisect import bisect_left

import pyarrow as pa

_SHOWN_CHARS = 80
# What tables hold in another type than Parquet files do: Spark knows no unsigned numbers and no large strings.
_STORED_AS = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.large_string(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.null(): pa.int32(),
}


def differing_row(found: pa.Array, wanted: pa.Array) -> int | None:
    """Find the first row at which two columns of one type differ, or at which one ends; NaN equals NaN."""
    kind = _with_bits(found.type)
    found, wanted = found.view(kind), wanted.view(kind)
    if found.equals(wanted):
        return None
    rows = range(min(len(found), len(wanted)))
    return bisect_left(rows, True, key=lambda row: not found[: row + 1].equals(wanted[: row + 1]))


def _with_bits(kind: pa.DataType) -> pa.DataType:
    """Give the type that shows the bits of floating-point numbers, inner ones too, as whole numbers."""
    if pa.types.is_floating(kind):
        return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width]
    if pa.types.is_map(kind):
        return pa.map_(_with_bits(kind.key_type), _with_bits(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([inner.with_type(_with_bits(inner.type)) for inner in kind])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_with_bits(kind.value_type), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        as_list = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return as_list(_with_bits(kind.value_type))
    return kind


def is_stored_as(kind: pa.DataType, stored: pa.DataType) -> bool:
    """Tell whether a sidecar's column of one type is one of another in ``exports``, as Spark hands it over."""
    pairs: list[tuple[pa.DataType, pa.DataType]]
    if pa.types.is_timestamp(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.types.is_timestamp(stored) if pa.types.is_timestamp(kind) else bool(stored == pa.binary())
    if pa.types.is_dictionary(kind):
        pairs = [(kind.value_type, stored)]
    elif pa.types.is_map(kind) and pa.types.is_map(stored):
        pairs = [(kind.key_type, stored.key_type), (kind.item_type, stored.item_type)]
    elif pa.types.is_struct(kind) and pa.types.is_struct(stored):
        if [inner.name for inner in kind] != [inner.name for inner in stored]:
            return False
        pairs = [(one.type, other.type) for one, other in zip(kind, stored, strict=True)]
    elif _is_list(kind) and _is_list(stored):
        pairs = [(kind.value_type, stored.value_type)]
    else:
        return bool(stored == kind or stored == _STORED_AS.get(kind))
    return all(is_stored_as(*pair) for pair in pairs)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def shown(values: pa.Array, row: int) -> str:
    """Give a value for a message."""
    if row >= len(values):
        return "nothing more"
    try:
        text = repr(values[row].as_py())
    except (ValueError, OverflowError):  # text that is not UTF-8, a time that Python can't hold
        return "a value that can't be shown"
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
