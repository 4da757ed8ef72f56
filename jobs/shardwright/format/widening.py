"""The narrowest type that holds, unchanged, the values of several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

_FLOATS = (pa.float32(), pa.float64())
_TEXTS = (pa.string(), pa.large_string())
_BINARIES = (pa.binary(), pa.large_binary())
_UNITS = ("s", "ms", "us", "ns")
_DECIMAL_DIGITS = 38


def widest_type(types: Iterable[pa.DataType]) -> pa.DataType | None:
    """Give the narrowest type that holds the values of all types exactly; None where there is none.

    All at once, as the answer for three is not always that for two and then the third. For 64-bit
    integers among floats it is a double, which holds them only up to ±2^53.
    """
    kinds = list(dict.fromkeys(kind for kind in types if not pa.types.is_null(kind)))
    if len(kinds) < 2:
        return kinds[0] if kinds else pa.null()
    if any(pa.types.is_dictionary(kind) for kind in kinds):
        return widest_type(kind.value_type if pa.types.is_dictionary(kind) else kind for kind in kinds)
    for is_family, widest in _FAMILIES:
        if all(is_family(kind) for kind in kinds):
            return widest(kinds)
    return None


def widest_field(fields: Sequence[pa.Field]) -> pa.Field | None:
    """Widen fields of one name; what the first says of itself stays."""
    kind = widest_type(field.type for field in fields)
    nullable = any(field.nullable for field in fields)
    return None if kind is None else fields[0].with_type(kind).with_nullable(nullable)


def is_any_list(kind: pa.DataType) -> bool:
    """Tell a list, long or of fixed size as well."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _widest_number(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    integers = [kind for kind in kinds if pa.types.is_integer(kind)]
    if len(integers) < len(kinds):
        fits_single = pa.float64() not in kinds and all(kind.bit_width <= 16 for kind in integers)
        return pa.float32() if fits_single else pa.float64()
    if all(map(pa.types.is_unsigned_integer, kinds)):
        return max(kinds, key=lambda kind: kind.bit_width)
    # A signed type holds the unsigned ones of half its width.
    width = max(kind.bit_width * (2 if pa.types.is_unsigned_integer(kind) else 1) for kind in kinds)
    return {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(width)


def _widest_text(kinds: Sequence[pa.DataType]) -> pa.DataType:
    return pa.large_string() if pa.large_string() in kinds else pa.string()


def _widest_binary(kinds: Sequence[pa.DataType]) -> pa.DataType:
    return pa.large_binary() if pa.large_binary() in kinds else pa.binary()


def _widest_decimal(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    scale = max(kind.scale for kind in kinds)
    digits = scale + max(kind.precision - kind.scale for kind in kinds)
    return pa.decimal128(digits, scale) if digits <= _DECIMAL_DIGITS else None


def _widest_timestamp(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    zones = {kind.tz for kind in kinds}
    if None in zones and len(zones) > 1:
        return None
    return pa.timestamp(max((kind.unit for kind in kinds), key=_UNITS.index), zones.pop() if len(zones) == 1 else "UTC")


def _widest_list(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    values = widest_field([kind.value_field for kind in kinds])
    sizes = {kind.list_size if pa.types.is_fixed_size_list(kind) else None for kind in kinds}
    if values is None or len(sizes - {None}) > 1:
        return None
    if len(sizes) == 1 and None not in sizes:
        return pa.list_(values, sizes.pop())
    return pa.large_list(values) if any(map(pa.types.is_large_list, kinds)) else pa.list_(values)


def _widest_map(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    keys = widest_field([kind.key_field for kind in kinds])
    items = widest_field([kind.item_field for kind in kinds])
    return None if keys is None or items is None else pa.map_(keys, items)


def _widest_struct(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    names = [field.name for field in kinds[0]]
    if any(sorted(field.name for field in kind) != sorted(names) for kind in kinds) or len(set(names)) < len(names):
        return None
    fields = [widest_field([kind.field(name) for kind in kinds]) for name in names]
    return None if any(field is None for field in fields) else pa.struct(fields)


_FAMILIES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Sequence[pa.DataType]], pa.DataType | None]], ...] = (
    (lambda kind: pa.types.is_integer(kind) or kind in _FLOATS, _widest_number),
    (lambda kind: kind in _TEXTS, _widest_text),
    (lambda kind: kind in _BINARIES or pa.types.is_fixed_size_binary(kind), _widest_binary),
    (pa.types.is_decimal, _widest_decimal),
    (pa.types.is_timestamp, _widest_timestamp),
    (is_any_list, _widest_list),
    (pa.types.is_map, _widest_map),
    (pa.types.is_struct, _widest_struct),
)
