"""A table of more columns: Parquet files, or a Delta table as it is now."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from shardwright.errors import RequestError
from shardwright.files import describe, is_folder, is_table_name, list_files
from shardwright.locations import FileInfo, to_spark
from shardwright.store.dataset import digest
from shardwright.store.sidecars import FILE_PATH, open_parquet, read_metadata

_COMMIT = re.compile(r"\d{20}\.json")
# Types that our tables or our Parquet files can't hold.
_FOREIGN_TYPE = re.compile(r"timestamp_ntz|variant|void|interval")


class OtherTable(NamedTuple):
    """A table: its rows, the Arrow fields that are known of its columns, and what tells its state from others."""

    where: str
    frame: DataFrame
    fields: Sequence[pa.Field]
    identity: dict[str, Any]


def open_other_table(spark: SparkSession, where: str) -> OtherTable:
    """Open ``catalog.schema.table``, a Delta table's folder, a Parquet file, or a folder of some.

    Raises:
        RequestError: There is none, or its columns can't be read.
    """
    if is_table_name(where):
        return _open_in_catalog(spark, where)
    if is_folder(os.path.join(where, "_delta_log")):
        return _open_delta(spark, where)
    files = _parquet_files(where)
    found = open_parquet([file.path for file in files])
    frame = read_metadata(spark, where, found).drop(FILE_PATH)
    root = os.path.dirname(where) if files[0].path == where else where
    states = [(os.path.relpath(file.path, root), file.size_bytes, file.modified_ns) for file in files]
    return OtherTable(where, frame, list(found.schema), {"files": len(files), "digest": digest(states)})


def _parquet_files(where: str) -> list[FileInfo]:
    file = describe(where)
    if file is not None:
        return [file]
    if not is_folder(where):
        raise RequestError(where, "no such file, folder or table", "Pass --metadata with a table of more columns")
    files = [file for file in list_files(where, recursive=True) if file.path.endswith(".parquet")]
    if not files:
        raise RequestError(where, "no .parquet files and no Delta table", "Pass the folder that holds them")
    parted = [file.path for file in files if "=" in os.path.relpath(os.path.dirname(file.path), where)]
    if parted:
        found = "values stand in names of folders, as in a partitioned table"
        raise RequestError(parted[0], found, "Write it as a Delta table, or without partitions")
    return files


def _open_delta(spark: SparkSession, where: str) -> OtherTable:
    log = list_files(os.path.join(where, "_delta_log"))
    commits = [file for file in log if _COMMIT.fullmatch(os.path.basename(file.path))]
    if not commits:
        raise RequestError(where, "its _delta_log holds no commit", "Pass a Delta table")
    version = int(os.path.basename(commits[-1].path)[:20])
    identity = {"version": version, "digest": digest(commits[-1].size_bytes, commits[-1].modified_ns)}
    frame = spark.read.format("delta").option("versionAsOf", version).load(to_spark(where))
    return OtherTable(where, _sound(frame, where), [], identity)


def _open_in_catalog(spark: SparkSession, where: str) -> OtherTable:
    try:
        newest = spark.sql(f"DESCRIBE HISTORY {where} LIMIT 1").collect()[0]
        # A later commit is another table's: what is read is what the export says that it read.
        frame = _sound(spark.read.option("versionAsOf", newest["version"]).table(where), where)
    except AnalysisException as error:
        reason = str(error).strip().splitlines()[0].partition("] ")[2].rstrip(". ")[:300]
        raise RequestError(where, f"no such Delta table ({reason})", "Pass catalog.schema.table, or a path") from None
    return OtherTable(where, frame, [], {"version": newest["version"], "digest": digest(newest["timestamp"])})


def _sound(frame: DataFrame, where: str) -> DataFrame:
    for field in frame.schema:
        if _FOREIGN_TYPE.search(field.dataType.simpleString()):
            found = f"column '{field.name}' is {field.dataType.simpleString()}, which an export can't hold"
            raise RequestError(where, found, "Cast or drop the column")
    return frame
