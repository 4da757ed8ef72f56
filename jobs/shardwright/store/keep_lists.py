"""Keep lists as files: what is in them is looked into before any job runs."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.errors import RequestError
from shardwright.files import is_file, open_stream, readable, size_of
from shardwright.format.uids import UID_BYTES, UidFile
from shardwright.store.sidecars import readable_paths
from shardwright.store.types import own_type, spark_type

_MAGIC = b"\x93NUMPY"
_HOW_TO_WRITE = "Write np.array([(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids], 'u8,u8')"
_CHUNK_BYTES = 1 << 20
_LINE_BYTES = 32


class KeepList(NamedTuple):
    """A keep list: the type that its values have in Spark; its uids, or its column, or else lines of text.

    ``entry_count`` is a guess where there are lines.
    """

    path: str
    kind: T.DataType
    entry_count: int
    uids: UidFile | None = None
    column: str | None = None


def open_keep_list(path: str, join_on: str) -> KeepList:
    """Look into a keep list; nothing of its size is held in memory.

    Args:
        join_on: The column of a Parquet list, unless it has only one.

    Raises:
        RequestError: It is missing, empty, unreadable, or nothing that a list can be.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (".npy", ".txt", ".parquet"):
        found = f"its name ends in '{suffix}', a keep list's in .npy, .txt or .parquet"
        raise RequestError(path, found, "Rename or convert it")
    if not is_file(path):
        raise RequestError(path, "no such file", "Pass --keep-list with the file of the values to keep")
    try:
        if suffix == ".npy":
            return _open_npy(path)
        return _open_text(path) if suffix == ".txt" else _open_parquet(path, join_on)
    except (OSError, ValueError, EOFError, pa.ArrowException) as error:
        reason = str(error).strip().splitlines()[0].rstrip(". ")
        raise RequestError(path, f"the keep list can't be read ({reason})", "Write it again") from None


def _open_npy(path: str) -> KeepList:
    size = size_of(path)
    with open_stream(path) as file:
        has_header = file.read(len(_MAGIC)) == _MAGIC
    if has_header:
        array = np.load(path, mmap_mode="r" if _has_values(path) else None, allow_pickle=False)
        fields = [kind.str for kind, *_ in (array.dtype.fields or {}).values()]
        if fields != ["<u8", "<u8"] or array.dtype.itemsize != UID_BYTES:
            raise RequestError(path, f"its dtype is {array.dtype}, a keep list's is u8,u8", _HOW_TO_WRITE)
        if array.ndim != 1:
            raise RequestError(path, f"its shape is {array.shape}, a keep list has one dimension", _HOW_TO_WRITE)
        uids = UidFile(path, getattr(array, "offset", 0), len(array))
    elif size % UID_BYTES:
        found = f"it has no NumPy header, and its {size:,} bytes are no whole number of uids of 16 bytes"
        raise RequestError(path, found, _HOW_TO_WRITE)
    else:
        uids = UidFile(path, 0, size // UID_BYTES)
    if not uids.uid_count:
        raise empty_list(path)
    return KeepList(path, T.StringType(), uids.uid_count, uids=uids)


def _has_values(path: str) -> bool:
    """Tell whether an array has values: a map of none is refused by the system."""
    with open(path, "rb") as file:
        major, _ = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, _ = read_header(file)
    return 0 not in shape


def _open_text(path: str) -> KeepList:
    with open_stream(path) as file:
        chunk = file.read(_CHUNK_BYTES)
        if chunk[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise RequestError(path, "its text is UTF-16", "Save it as UTF-8, one value a line")
        while chunk and not chunk.strip():
            chunk = file.read(_CHUNK_BYTES)
    if not chunk:
        raise empty_list(path)
    return KeepList(path, T.StringType(), size_of(path) // _LINE_BYTES)


def _open_parquet(path: str, join_on: str) -> KeepList:
    footer = pq.read_metadata(readable(path))
    schema = footer.schema.to_arrow_schema()
    name = schema.names[0] if len(schema.names) == 1 else join_on
    if schema.names.count(name) != 1:
        found = f"the keep list has no column '{join_on}' (it has {', '.join(map(repr, schema.names))})"
        raise RequestError(path, found, "Name the column like that of --join-on, or leave no other one")
    if not footer.num_rows:
        raise empty_list(path)
    return KeepList(path, spark_type(schema.field(name), path), footer.num_rows, column=name)


def empty_list(path: str) -> RequestError:
    """Say that a list names nothing."""
    return RequestError(path, "the keep list is empty", "Pass a list of the values to keep")


def read_values(spark: SparkSession, keep_list: KeepList, into: str) -> DataFrame:
    """Read the values of a list of text or Parquet, in no order, repeats included."""
    paths = readable_paths([keep_list.path])
    if keep_list.column is None:
        line = F.expr(r"trim(BOTH ' \t\n\u000b\f\r' FROM value)")
        return spark.read.text(paths).select(line.alias(into)).filter(F.col(into) != "")
    field = pq.read_schema(readable(keep_list.path)).field(keep_list.column)
    schema = T.StructType([T.StructField(field.name, own_type(field.name, field.type))])
    quoted = field.name.replace("`", "``")
    return spark.read.schema(schema).parquet(*paths).select(F.col(f"`{quoted}`").alias(into))
