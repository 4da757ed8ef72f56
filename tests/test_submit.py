"""spark-submit runs jobs/submit.py as a user does, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark

from shardwright.store.jvm import delta_jars
from tests.builders import read_rows, write_dataset

ROOT = Path(__file__).parents[1]


def test_spark_submit_takes_the_same_words(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", 2, 6)
    spark_home = Path(pyspark.__file__).parent
    command = [
        str(spark_home / "bin" / "spark-submit"),
        "--master",
        "local[2]",
        "--properties-file",
        "conf/spark.conf",
        "--jars",
        ",".join(delta_jars()),
    ]
    words = ["export", str(dataset), str(tmp_path / "out"), "--where", "aesthetic_score > 0.4", "--json"]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_HOME": str(spark_home)}
    done = subprocess.run(
        [*command, "jobs/submit.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert (result["indexed"], result["exported"]) == (12, 6)
    assert len(read_rows(tmp_path / "out")) == 6
    wrong = subprocess.run(
        [*command, "jobs/submit.py", "export", "nowhere", str(tmp_path / "no"), "--where", "true"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # spark-submit puts what Python writes to stderr on its own stdout.
    assert (wrong.returncode, "no such folder" in wrong.stdout) == (2, True)
