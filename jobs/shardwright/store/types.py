"""The types in which Spark reads what Arrow wrote to Parquet."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from pyspark.sql import types as T

from shardwright.errors import RequestError
from shardwright.format.names import NOT_IN_TABLES

_SIMPLE: Mapping[pa.DataType, T.DataType] = {
    pa.bool_(): T.BooleanType(),
    pa.int8(): T.ByteType(),
    pa.int16(): T.ShortType(),
    pa.int32(): T.IntegerType(),
    pa.int64(): T.LongType(),
    pa.uint8(): T.ShortType(),
    pa.uint16(): T.IntegerType(),
    pa.uint32(): T.LongType(),
    pa.uint64(): T.DecimalType(20, 0),
    pa.float32(): T.FloatType(),
    pa.float64(): T.DoubleType(),
    pa.string(): T.StringType(),
    pa.large_string(): T.StringType(),
    pa.binary(): T.BinaryType(),
    pa.large_binary(): T.BinaryType(),
    pa.date32(): T.DateType(),
    # Parquet keeps an all-null column of Arrow's null type as 32-bit integers.
    pa.null(): T.IntegerType(),
}


def spark_schema(schema: pa.Schema) -> T.StructType:
    """Give the schema of rows that a task hands over as Arrow."""
    return T.StructType([T.StructField(field.name, spark_type(field, "task")) for field in schema])


def spark_type(field: pa.Field, where: str) -> T.DataType:
    """Give the type in which Spark reads a Parquet column.

    Raises:
        RequestError: Spark can't read it.
    """
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    found: T.DataType | None = None
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        found = T.TimestampType()
    elif pa.types.is_decimal128(kind):
        found = T.DecimalType(kind.precision, kind.scale)
    elif pa.types.is_fixed_size_binary(kind):
        found = T.BinaryType()
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        found = T.ArrayType(_inner_type(field, kind.value_field, where))
    elif pa.types.is_map(kind):
        found = T.MapType(_inner_type(field, kind.key_field, where), _inner_type(field, kind.item_field, where))
    elif pa.types.is_struct(kind):
        found = _struct_type(field, where)
    if found is None:
        raise RequestError(
            where,
            f"column '{field.name}' has the type {kind}, which Spark can't read",
            "Cast or drop the column (timestamp[us] instead of timestamp[ns], float instead of float16)",
        )
    return found


def _inner_type(field: pa.Field, inner: pa.Field, where: str) -> T.DataType:
    if pa.types.is_null(inner.type):
        raise RequestError(
            where, f"column '{field.name}' holds values of no type", "Drop the column, or give it a type"
        )
    return spark_type(inner, where)


def _struct_type(field: pa.Field, where: str) -> T.StructType:
    names = [inner.name.lower() for inner in field.type]
    if len(set(names)) < len(names) or any(NOT_IN_TABLES.search(name) or not name for name in names):
        found = f"column '{field.name}' has inner fields that tables can't hold ({', '.join(map(repr, names))})"
        raise RequestError(where, found, "Rename them: no twins but for case, no white space, no dot, none of ,;{}()=`")
    return T.StructType([T.StructField(inner.name, _inner_type(field, inner, where)) for inner in field.type])
