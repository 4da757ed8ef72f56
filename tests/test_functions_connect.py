"""The functions over Spark Connect, where the server has the jar and the extension; in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from shardwright.store.jvm import udfs_jar

pytestmark = pytest.mark.connect
_SCRIPT = """
import json, sys
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from shardwright import functions
from shardwright.store.session import refused_by_gpu

builder = SparkSession.builder.remote("local[2]").config("spark.ui.enabled", "false")
for setting in sys.argv[1:]:
    builder = builder.config(*setting.split("=", 1))
spark = builder.getOrCreate()
assert "connect" in type(spark).__module__
rows = spark.createDataFrame([([3.0, 4.0], "ff", "a&nbsp;b ")], "a array<double>, h string, t string")
found = {"registered": spark.catalog.functionExists("dot_product")}
for name, words in (("dot_product", "aa"), ("cosine_similarity", "aa"), ("l2_norm", "a"), ("hamming_distance", "hh"),
                    ("caption_word_count", "t"), ("caption_clean", "t")):
    try:
        found[name] = rows.select(getattr(functions, name)(*words)).collect()[0][0]
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
found["query"] = rows.select(functions.dot_product("a", [1, 2])).collect()[0][0]
try:
    found["sql"] = spark.sql("SELECT dot_product(array(1.5D), array(2D))").collect()[0][0]
except Exception as error:
    found["sql"] = type(error).__name__
try:
    spark.udf.registerJavaFunction("class_dot", "shardwright.udfs.DotProduct", "double")
    found["class"] = spark.sql("SELECT class_dot(array(1.5D), array(2D))").collect()[0][0]
except Exception as error:
    found["class"] = type(error).__name__
spark.conf.set("spark.rapids.sql.enabled", "true")
found["refused by a GPU"] = refused_by_gpu(rows)
print(json.dumps(found))
spark.stop()
"""


def over_connect(*settings: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYSPARK_PYTHON": sys.executable}
    command = [sys.executable, "-W", "ignore", "-c", _SCRIPT, *settings]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


# Connect has no way to ask the planner: no warning, and no error.
_UNASKED: dict[str, Any] = {"refused by a GPU": []}
_VALUES = {
    "dot_product": 25.0,
    "cosine_similarity": 1.0,
    "l2_norm": 5.0,
    "hamming_distance": 0,
    "caption_word_count": 1,
    "query": 11.0,
}


@pytest.mark.skipif(udfs_jar() is None, reason="the jar of Scala functions is not built: make udfs")
def test_a_server_with_the_jar_has_the_functions() -> None:
    found = over_connect(f"spark.jars={udfs_jar()}", "spark.sql.extensions=shardwright.udfs.Extensions")
    assert found == {"registered": True, **_VALUES, "caption_clean": "a b", "sql": 3.0, "class": 3.0, **_UNASKED}


def test_a_server_without_the_jar_has_those_that_spark_can_compute() -> None:
    found = over_connect()
    assert found.pop("caption_clean").startswith("RequestError: shardwright.functions: no function 'caption_clean'")
    assert found == {
        "registered": False,
        **_VALUES,
        "sql": "AnalysisException",
        "class": "AnalysisException",
        **_UNASKED,
    }
