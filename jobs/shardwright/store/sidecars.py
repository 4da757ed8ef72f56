"""Sidecars as one frame of metadata."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.errors import Problem, ProblemsError, RequestError
from shardwright.files import readable
from shardwright.format.drift import SidecarGroup, group_sidecars, widest_schema
from shardwright.format.names import OWN_PREFIX
from shardwright.format.sidecar import Receipt, clean_metadata, read_receipt
from shardwright.locations import from_spark, is_web, to_spark
from shardwright.store.dataset import Dataset, shard_stem
from shardwright.store.session import plans_for_gpu
from shardwright.store.types import null_places, own_type, spark_type, widened

# Where a row comes from, in frames of sidecars that drifted apart or were joined with others.
FILE_PATH, ROW_INDEX = f"{OWN_PREFIX}file path", f"{OWN_PREFIX}row index"
# Spark's own: it would read something else than the column.
_TAKEN = ("_metadata", "_tmp_metadata_row_index")
_LOCAL = re.compile(r"^file:/+")
# Whether a keep list names a row.
LISTED = "shardwright: listed"


class Sidecars(NamedTuple):
    """The sidecars of a dataset that can be read, and what is wrong with the others, by ``shard_index``."""

    schema: pa.Schema
    groups: Sequence[SidecarGroup]
    receipt: Receipt | None
    problems: tuple[tuple[int | None, Problem], ...]


def open_sidecars(dataset: Dataset) -> Sidecars | None:
    """Look into the sidecars' footers; None where no shard has a sidecar.

    ``receipt`` is the first one's, where this dataset is an output of ours.

    Raises:
        ColumnsError: Columns differ in ways that no one type holds.
        ProblemsError: None can be read.
    """
    shards = [shard for shard in dataset.shards if shard.sidecar]
    if not shards:
        return None
    paths = [shard.sidecar.path for shard in shards if shard.sidecar]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(_read_schema, paths))
    problems: list[tuple[int | None, Problem]] = [
        (shard.shard_index, schema) for shard, schema in zip(shards, found, strict=True) if isinstance(schema, Problem)
    ]
    problems += [
        (shard.shard_index, Problem(shard.file.path, None, None, "missing_sidecar", "other shards have one"))
        for shard in dataset.shards
        if not shard.sidecar
    ]
    problems += [
        (None, Problem(file.path, None, None, "missing_tar", "its rows have no samples"))
        for file in dataset.lone_sidecars
    ]
    sound = [(path, schema) for path, schema in zip(paths, found, strict=True) if not isinstance(schema, Problem)]
    if not sound:
        raise ProblemsError("sidecars", [problem for _, problem in problems], "Nothing was written.")
    receipt = read_receipt(_read_footer(sound[0][0]).metadata)
    return Sidecars(*_group(sound), receipt, tuple(problems))


def open_parquet(paths: Sequence[str]) -> Sidecars:
    """Look into the footers of files that are no sidecars.

    Raises:
        ColumnsError: Columns differ in ways that no one type holds.
        RequestError: A file can't be read.
    """
    with ThreadPoolExecutor(8) as pool:
        found = list(zip(paths, pool.map(_read_schema, paths), strict=True))
    for path, schema in found:
        if isinstance(schema, Problem):
            raise RequestError(path, f"it can't be read ({schema.detail.rstrip('. ')})", "Write the file again")
    return Sidecars(*_group([(path, schema) for path, schema in found if isinstance(schema, pa.Schema)]), None, ())


def _group(schemas: Sequence[tuple[str, pa.Schema]]) -> tuple[pa.Schema, Sequence[SidecarGroup]]:
    """Give the schema that holds all files' rows, and the files by their own."""
    groups = group_sidecars(schemas)
    with ThreadPoolExecutor(8) as pool:
        widest = widest_schema(groups, lambda paths: pool.map(_read_footer, paths))
    return clean_metadata(widest), groups


def _read_schema(path: str) -> pa.Schema | Problem:
    if os.path.exists(path) and not os.path.isfile(path):
        return Problem(path, None, None, "unreadable", "it is no file")  # a pipe would never end
    try:
        return pq.read_schema(readable(path))
    except (pa.ArrowException, FileNotFoundError) as error:
        return Problem(path, None, None, "unreadable", str(error).splitlines()[0])


def _read_footer(path: str) -> pq.FileMetaData:
    return pq.read_metadata(readable(path))


def count_rows(dataset: Dataset) -> dict[str, int]:
    """Count the rows of each sidecar, from its footer, by path."""
    paths = [shard.sidecar.path for shard in dataset.shards if shard.sidecar]
    with ThreadPoolExecutor(8) as pool:
        return {path: metadata.num_rows for path, metadata in zip(paths, pool.map(_read_footer, paths), strict=True)}


def read_metadata(spark: SparkSession, root: str, sidecars: Sidecars, *, placed: bool = False) -> DataFrame:
    """Read the sidecars: their columns in the types that hold all of them, rows in no order.

    Where types differ between them, `FILE_PATH` comes along.

    Args:
        placed: So does `ROW_INDEX`, for `row_place`; merely there, it takes the scans off a GPU.

    Raises:
        RequestError: Spark can't read a column or a file, or a column has a name that Spark or we need.
    """
    for name in sidecars.schema.names:
        if name in _TAKEN or name.startswith(OWN_PREFIX):
            raise RequestError(root, f"a column is named '{name}', which is taken", "Rename it")
    for field in sidecars.schema:
        spark_type(field, root)
    arms: dict[tuple[str, ...], SidecarGroup] = {}
    for group in sidecars.groups:
        fields = [field for field in group.schema if field.name in sidecars.schema.names]
        # What Spark reads alike needs no reading of its own.
        arm = tuple(
            f"{field.name} {own_type(field.name, field.type).simpleString()} {null_places(field.type)}"
            for field in fields
        )
        arms.setdefault(arm, SidecarGroup(pa.schema(fields), [])).paths.extend(group.paths)
    frames = [_read_alike(spark, group, sidecars.schema) for group in arms.values()]
    if len(frames) == 1:
        return frames[0]
    # Above a union nobody can ask where a row comes from any more.
    frames = [frame.withColumn(FILE_PATH, file_path(frame)) for frame in frames]
    if placed:
        frames = [frame.withColumn(ROW_INDEX, F.col("_metadata.row_index")) for frame in frames]
    return reduce(lambda above, below: above.unionByName(below), frames)


def with_file_path(frame: DataFrame) -> DataFrame:
    """Add `FILE_PATH`, before rows of other files come in."""
    return frame if FILE_PATH in frame.columns else frame.withColumn(FILE_PATH, file_path(frame))


def file_path(frame: DataFrame) -> Column:
    """Give the file that a row of metadata comes from, as a percent-encoded URI.

    Spark has two names for it: one that Unity Catalog refuses, and one that takes the scan off a GPU.
    """
    if FILE_PATH in frame.columns:
        return F.col(f"`{FILE_PATH}`")
    return F.input_file_name() if plans_for_gpu(frame.sparkSession) else F.col("_metadata.file_path")


def sidecar_stems(frame: DataFrame) -> dict[str, str]:
    """Give the stem of each sidecar that a frame reads, by its file's URI; no job runs."""
    # Spark's two names for a row's file differ in how many slashes a local one begins with.
    return {uri: stem_of(found) for found in frame.inputFiles() for uri in (found, _LOCAL.sub("file:/", found))}


def stem_of(uri: str) -> str:
    """Name the shard that a sidecar lies beside, from its percent-encoded URI."""
    return shard_stem(from_spark(unquote(uri)))


def row_place(frame: DataFrame) -> tuple[Column, Column]:
    """Give a metadata row's file, as its URI, and its place in it, from 0; it takes the scan off a GPU."""
    if ROW_INDEX in frame.columns:
        return F.col(f"`{FILE_PATH}`"), F.col(f"`{ROW_INDEX}`")
    return F.col("_metadata.file_path"), F.col("_metadata.row_index")


def _read_alike(spark: SparkSession, group: SidecarGroup, widest: pa.Schema) -> DataFrame:
    """Read sidecars with the schema that they have, then widen: given another one, Spark misreads some types."""
    # With a schema given, Spark starts no job to look for one.
    schema = T.StructType([T.StructField(field.name, own_type(field.name, field.type)) for field in group.schema])
    frame = spark.read.schema(schema).parquet(*readable_paths(group.paths))
    columns = []
    for field in widest:
        kind = group.schema.field(field.name).type
        value = F.col(f"`{field.name.replace('`', '``')}`")
        is_same = own_type(field.name, kind) == own_type(field.name, field.type)
        is_same &= null_places(kind) == null_places(field.type)
        columns.append(value if is_same else widened(value, kind, field.type).alias(field.name))
    return frame.select(*columns)


def readable_paths(paths: Sequence[str]) -> list[str]:
    """Give files as Spark's readers take them: what they would take for a pattern is quoted.

    Raises:
        RequestError: Spark would pass a file over, or can't read it.
    """
    for path in paths:
        name = os.path.basename(path)
        if is_web(path):
            raise RequestError(path, "Spark reads nothing from web servers", "Fetch the file, or put it into a store")
        if name.startswith(("_", ".")) or ":" in name:
            found = "Spark reads no files whose names begin with '_' or '.' or hold a ':'"
            raise RequestError(path, found, "Rename the file, and the tar that it lies beside")
    return ["".join(f"\\{char}" if char in "\\{}[]*?" else char for char in to_spark(path)) for path in paths]
