"""A session whose plans are for a GPU; as a plugin of pytest, ``-p tests.gpu.session``, the one that tests then find.

``SHARDWRIGHT_RAPIDS_JAR`` names the RAPIDS jar.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources

from pyspark.sql import SparkSession

from shardwright.functions import EXTENSION
from shardwright.store.jvm import delta_jars, udfs_jar
from shardwright.store.local import spark_properties

# Of conf/rapids.conf: Spark in one process has no GPUs to share out, and would wait for them for ever.
_OF_CLUSTERS = re.compile(r".*\.resource\.gpu\..*")


def pytest_sessionstart() -> None:
    """Start the session where there is a GPU; elsewhere the tests skip, and say why."""
    if has_gpu():
        start_session(_OF_CLUSTERS, {})


def start_session(left_out: re.Pattern[str], settings: Mapping[str, str]) -> SparkSession:
    """Start Spark on this machine with conf/rapids.conf, the Scala functions and their twins.

    Args:
        left_out: Names of settings that are not for this machine.
        settings: Further ones.
    """
    udfs = udfs_jar()
    assert udfs is not None, "the jar of Scala functions is not built: make udfs"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    chosen: dict[str, str] = {}
    for name in ("local.conf", "rapids.conf"):
        chosen |= spark_properties((resources.files("shardwright") / "conf" / name).read_text(encoding="utf-8"))
    chosen = {name: value for name, value in chosen.items() if not left_out.fullmatch(name)} | dict(settings)
    assert EXTENSION in chosen["spark.sql.extensions"]
    jars = [*delta_jars(), udfs, os.environ["SHARDWRIGHT_RAPIDS_JAR"]]
    chosen["spark.driver.extraClassPath"] = os.pathsep.join(jars)
    builder = SparkSession.builder.master("local[*]").appName("shardwright: gpu")
    for name, value in chosen.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def has_gpu() -> bool:
    """Tell whether NVIDIA's driver sees a GPU."""
    smi = shutil.which("nvidia-smi")
    return smi is not None and not subprocess.run([smi, "-L"], capture_output=True, check=False).returncode
