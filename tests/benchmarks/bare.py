"""A Spark session with Delta on its class path and one trivial job: the least that any Spark program takes.

Like shardwright it does not stop the session, which ends with the process.

Run: ``python tests/benchmarks/bare.py CLASS_PATH``
"""

from __future__ import annotations

import os
import sys

from pyspark.sql import SparkSession


def main(class_path: str) -> None:
    """Start it and run the job."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.extraClassPath", class_path).getOrCreate()
    spark.range(10).selectExpr("sum(id)").collect()


if __name__ == "__main__":
    main(sys.argv[1])
