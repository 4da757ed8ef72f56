"""The session on this machine and its Python workers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_workers_import_pyspark_from_its_folder_and_list_no_archive(spark: SparkSession) -> None:
    def describe(_: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyspark

        archives = [entry for entry in {*sys.path, *sys.path_importer_cache} if entry.endswith((".zip", ".jar"))]
        yield pa.record_batch({"value": [sys.executable, pyspark.__file__, *archives]})

    rows = spark.range(0, 1, 1, 1).mapInArrow(describe, "value string")
    executable, package, *archives = [row[0] for row in rows.collect()]
    assert executable == sys.executable
    assert package.endswith("pyspark/__init__.py")
    # The interpreter names a zip of its own, which need not exist.
    assert [entry for entry in archives if not entry.endswith(f"python3{sys.version_info[1]}.zip")] == []
