"""Sidecars as one frame of metadata."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from shardwright.errors import Problem, ProblemsError, RequestError
from shardwright.format.sidecar import Receipt, clean_metadata, read_receipt
from shardwright.store.dataset import Dataset
from shardwright.store.types import spark_type

# dask's own row index, which older versions of NeMo Curator left behind.
_NOT_METADATA = "__null_dask_index__"


class Sidecars(NamedTuple):
    """The sidecars of a dataset that can be read, and what is wrong with the others, by ``shard_index``."""

    schema: pa.Schema
    paths: tuple[str, ...]
    receipt: Receipt | None
    problems: tuple[tuple[int | None, Problem], ...]


def open_sidecars(dataset: Dataset) -> Sidecars | None:
    """Look into the sidecars' footers; None where no shard has a sidecar.

    ``receipt`` is the first one's, where this dataset is an output of ours.

    Raises:
        RequestError: A column's type differs between them.
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
    receipt = read_receipt(pq.read_metadata(sound[0][0]).metadata)
    return Sidecars(_shared_schema(sound), tuple(path for path, _ in sound), receipt, tuple(problems))


def _shared_schema(schemas: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    first_path, first = schemas[0]
    for path, schema in schemas:
        _require_same(first_path, first, path, schema)
    kept = [field for field in first if field.name != _NOT_METADATA]
    names = [field.name.lower() for field in kept]
    if len(set(names)) < len(names):
        twin = next(name for name in names if names.count(name) > 1)
        raise RequestError(first_path, f"two columns are named '{twin}' but for case", "Rename one of them")
    return clean_metadata(pa.schema(kept, first.metadata))


def _read_schema(path: str) -> pa.Schema | Problem:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        return Problem(path, None, None, "unreadable", str(error).splitlines()[0])


def count_rows(dataset: Dataset) -> dict[str, int]:
    """Count the rows of each sidecar, from its footer, by path."""
    paths = [shard.sidecar.path for shard in dataset.shards if shard.sidecar]
    with ThreadPoolExecutor(8) as pool:
        return {
            path: metadata.num_rows for path, metadata in zip(paths, pool.map(pq.read_metadata, paths), strict=True)
        }


def read_metadata(spark: SparkSession, dataset: Dataset, sidecars: Sidecars) -> DataFrame:
    """Read the sidecars: their columns as they are, rows in no order."""
    fields = [T.StructField(field.name, spark_type(field, dataset.dataset_root)) for field in sidecars.schema]
    # With a schema given, Spark starts no job to look for one.
    paths = [_uri(path) for path in sidecars.paths]
    hidden = [path for path in paths if os.path.basename(path).startswith("_") or ":" in os.path.basename(path)]
    if hidden:
        found = "Spark reads no files whose names begin with '_' or hold a ':'"
        raise RequestError(hidden[0], found, "Rename the tar and its Parquet file")
    return spark.read.schema(T.StructType(fields)).parquet(*paths)


def _uri(path: str) -> str:
    """Quote what Spark would take for a pattern."""
    return "".join(f"\\{char}" if char in "\\{}[]*?" else char for char in path)


def _require_same(first_path: str, first: pa.Schema, path: str, schema: pa.Schema) -> None:
    expected = {field.name: field.type for field in first if field.name != _NOT_METADATA}
    found = {field.name: field.type for field in schema if field.name != _NOT_METADATA}
    for name in [*expected, *(name for name in found if name not in expected)]:
        here, there = (types.get(name, "missing") for types in (found, expected))
        if here != there:
            raise RequestError(
                path,
                f"column '{name}' is {here}, in {first_path} it is {there}",
                "Give the column one type in all sidecars",
            )
