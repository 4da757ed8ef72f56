"""Sidecars as one frame of metadata."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

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


def read_sidecar_schema(dataset: Dataset) -> pa.Schema | None:
    """Give the Arrow schema that the sidecars share; None where no shard has a sidecar.

    Raises:
        RequestError: Only some shards have a sidecar, or a column's type differs between them.
        ProblemsError: Some sidecars are no Parquet.
    """
    without = [shard.file.path for shard in dataset.shards if shard.sidecar is None]
    if len(without) == len(dataset.shards):
        return None
    if without:
        named = ", ".join(without[:3]) + (", …" if len(without) > 3 else "")
        found = f"{len(without):,} of {len(dataset.shards):,} shards have no sidecar ({named})"
        raise RequestError(dataset.dataset_root, found, "Put the .parquet of the same name beside each tar")
    paths = [shard.sidecar.path for shard in dataset.shards if shard.sidecar]
    with ThreadPoolExecutor(8) as pool:
        found_schemas = list(pool.map(_read_schema, paths))
    schemas = [found for found in found_schemas if isinstance(found, pa.Schema)]
    problems = [found for found in found_schemas if isinstance(found, Problem)]
    if problems:
        raise ProblemsError("sidecars", problems, "Write or fetch these files again. Nothing was written.")
    first = schemas[0]
    for path, schema in zip(paths, schemas, strict=True):
        _require_same(paths[0], first, path, schema)
    kept = [field for field in first if field.name != _NOT_METADATA]
    names = [field.name.lower() for field in kept]
    if len(set(names)) < len(names):
        twin = next(name for name in names if names.count(name) > 1)
        raise RequestError(paths[0], f"two columns are named '{twin}' but for case", "Rename one of them")
    return clean_metadata(pa.schema(kept, first.metadata))


def _read_schema(path: str) -> pa.Schema | Problem:
    try:
        return pq.read_schema(path)
    except pa.ArrowException as error:
        return Problem(path, None, None, "unreadable", str(error).splitlines()[0])


def sidecar_receipt(dataset: Dataset) -> Receipt | None:
    """Give the receipt in the first sidecar where this dataset is an output of ours."""
    sidecar = dataset.shards[0].sidecar
    return read_receipt(pq.read_metadata(sidecar.path).metadata) if sidecar else None


def count_rows(dataset: Dataset) -> dict[str, int]:
    """Count the rows of each sidecar, from its footer, by path."""
    paths = [shard.sidecar.path for shard in dataset.shards if shard.sidecar]
    with ThreadPoolExecutor(8) as pool:
        return {
            path: metadata.num_rows for path, metadata in zip(paths, pool.map(pq.read_metadata, paths), strict=True)
        }


def read_metadata(spark: SparkSession, dataset: Dataset, schema: pa.Schema) -> DataFrame:
    """Read the sidecars: their columns as they are, rows in no order."""
    fields = [T.StructField(field.name, spark_type(field, dataset.dataset_root)) for field in schema]
    # With a schema given, Spark starts no job to look for one.
    paths = [_uri(shard.sidecar.path) for shard in dataset.shards if shard.sidecar]
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
