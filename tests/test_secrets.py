"""No secret stands in what is stored, said, planned, or left in a session."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from shardwright import files
from shardwright.store.session import session
from shardwright.store.types import in_tasks
from tests.conftest import Outcome
from tests.stores import SECRET, Bucket

pytestmark = [pytest.mark.stores, pytest.mark.spark]

Run = Callable[..., Outcome]


def _as_they_are(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.select(["key"])


def test_no_secret_stands_in_any_record(run_there: Run, bucket: Bucket, dataset: Path, tmp_path: Path) -> None:
    source = bucket.upload(dataset, "data")
    job = tmp_path / "job.toml"
    options = "\n".join(f"{name} = {json.dumps(value)}" for name, value in bucket.options.items())
    job.write_text(f'[storage]\n{options}\n[export]\nwhere = "aesthetic_score >= 0.5"\n')
    outcomes = [
        run_there("export", source, bucket.url("out"), "--job", job),
        run_there("verify", bucket.url("out"), "--deep"),
        run_there("filter", source, "--where", "aesthetic_score >= 0.5"),
        run_there("save-metadata", source, bucket.url("scores")),
        run_there("export", source, bucket.url("none"), "--where", "no_such_column"),
        run_there("export", bucket.url("nothing"), bucket.url("none"), "--where", "a"),
        run_there("verify", bucket.url("data")),
    ]
    assert [outcome.code for outcome in outcomes] == [0, 0, 0, 0, 2, 2, 2]
    said = "".join(outcome.stderr + json.dumps(outcome.result) for outcome in outcomes)
    assert SECRET not in said
    for file in files.list_files(bucket.url(), recursive=True):
        # Spark makes folders by empty objects.
        data = files.read_bytes(file.path) if file.size_bytes else b""
        assert SECRET.encode() not in data, file.path
        if file.path.endswith(".parquet"):
            assert SECRET not in str(pq.read_table(io.BytesIO(data)).to_pylist()), file.path


def test_no_secret_stands_in_a_plan(bucket: Bucket, dataset: Path) -> None:
    source = bucket.upload(dataset, "data")
    with session(places=[source]) as spark:
        rows = in_tasks(spark.read.parquet(f"{source}/00000.parquet"), _as_they_are, pa.schema([("key", pa.string())]))
        assert rows.count() == 10
        plans = rows._jdf.queryExecution().toString()  # noqa: SLF001 - all plans of a query
    assert "s3://" in plans
    assert SECRET not in plans
    assert SECRET not in str(spark.sparkContext.getConf().getAll())


def test_a_session_has_no_options_left(run_there: Run, bucket: Bucket, dataset: Path, spark: SparkSession) -> None:
    source = bucket.upload(dataset, "data")
    assert run_there("index", source).code == 0
    for name in ("fs.s3a.secret.key", "fs.s3a.endpoint", "fs.s3.impl"):
        assert spark.conf.get(name, None) is None
