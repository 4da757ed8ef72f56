"""The types in which Spark reads what Arrow wrote to Parquet, and how it widens them."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.errors import RequestError
from shardwright.format.names import NOT_IN_TABLES
from shardwright.format.widening import is_any_list
from shardwright.locations import Task, with_current_options

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


def in_tasks(rows: DataFrame, task: Task, schema: pa.Schema) -> DataFrame:
    """Give what a task on executors makes of rows, as Arrow batches of a schema; it reaches stores as we do."""
    return rows.mapInArrow(with_current_options(task), spark_schema(schema))


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
    elif is_any_list(kind):
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


def own_type(name: str, kind: pa.DataType) -> T.DataType:
    """Give the type in which Spark reads a column of one sidecar, where values of no type may stand inside."""
    return spark_type(pa.field(name, _without_null(kind)), "sidecars")


def _without_null(kind: pa.DataType) -> pa.DataType:
    """Give what Parquet stores: 32-bit integers for values of no type."""
    if pa.types.is_null(kind):
        return pa.int32()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_null(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_without_null(kind.key_type), _without_null(kind.item_type))
    if is_any_list(kind):
        return pa.list_(kind.value_field.with_type(_without_null(kind.value_type)))
    return kind


def null_places(kind: pa.DataType) -> str:
    """Tell types apart by where values of no type stand in them; empty where none do."""
    if pa.types.is_null(kind):
        return "."
    inner = [null_places(kind.field(number).type) for number in range(kind.num_fields)]
    return f"({','.join(inner)})" if any(inner) else ""


def widened(values: Column, kind: pa.DataType, to: pa.DataType) -> Column:
    """Give values that Spark read as one Arrow type in the wider one that `format.widening` chose."""
    if pa.types.is_null(kind):
        return F.lit(None).cast(own_type("", to))
    if pa.types.is_struct(kind):
        # Spark would cast structs by position.
        fields = [widened(values.getField(field.name), kind.field(field.name).type, field.type) for field in to]
        named = F.struct(*(value.alias(field.name) for value, field in zip(fields, to, strict=True)))
        return F.when(values.isNotNull(), named)
    if pa.types.is_map(kind):
        items = F.transform_values(values, lambda _, item: widened(item, kind.item_type, to.item_type))
        return F.transform_keys(items, lambda key, _: widened(key, kind.key_type, to.key_type))
    if is_any_list(kind):
        return F.transform(values, lambda value: widened(value, kind.value_type, to.value_type))
    return values.cast(own_type("", to))


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
