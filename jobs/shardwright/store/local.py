"""A Spark session on this machine alone: how its JVM is started, and with which settings."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from importlib import import_module, resources
from pathlib import Path

from pyspark.sql import SparkSession

from shardwright.store.jvm import class_archive, delta_jars, store_jars, udfs_jar

_LEAST_DRIVER_MIB = 1024
# As many bytes as a million narrow rows take.
_LARGE_METADATA_BYTES = 32 << 20
# The slow compiler is worth its time in what runs for all rows, ten times later than by default.
_JAVA_FOR_MANY = [
    "-XX:+UseParallelGC",
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=20000",
    "-XX:Tier4CompileThreshold=200000",
    "-XX:Tier4BackEdgeThreshold=2000000",
]
_EXTENSIONS, _UDFS = "spark.sql.extensions", "shardwright.udfs.Extensions"


def local_session(
    metadata_bytes: int = 0, record_classes: str | None = None, stores: Collection[str] = ()
) -> SparkSession:
    """Start Spark on this machine with ``conf/local.conf``, the interpreter of this process and Delta from disk.

    Args:
        metadata_bytes: How large the sidecars are that it is for.
        record_classes: Where the JVM is to archive the classes that it loaded, when it ends.
        stores: The kinds of stores that it is to read, too.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Spark asks for pandas once it hands Arrow to Python: load it while the JVM starts.
    for module in ("pandas", "deltalake"):
        threading.Thread(target=import_module, args=(module,), daemon=True).start()
    # The script that starts the JVM asks another JVM for its command.
    os.environ.setdefault("SPARK_LAUNCHER_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    conf = resources.files("shardwright") / "conf"
    builder = SparkSession.builder.master("local[*]").appName("shardwright")
    for name in ("spark.conf", "local.conf"):
        for key, value in spark_properties((conf / name).read_text(encoding="utf-8")):
            builder = builder.config(key, value)
            # Not on the class path, which the archive of classes was recorded for.
            if key == _EXTENSIONS and (jar := udfs_jar()):
                builder = builder.config(key, f"{value},{_UDFS}").config("spark.jars", jar)
    # Most local runs last seconds: the quick compiler and the simplest collector take a quarter off a cold one, and
    # from a million samples on they take twice the time.
    is_large = metadata_bytes >= _LARGE_METADATA_BYTES
    java = [*_JAVA_FOR_MANY] if is_large else ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    java += [f"-Xms{_LEAST_DRIVER_MIB}m", "-XX:MetaspaceSize=256m", "-Xlog:disable", "-Xlog:all=error:stderr"]
    java.append(f"-Dlog4j2.configurationFile={Path(str(conf / 'log4j2.properties')).as_uri()}")
    if record_classes:
        java.append(f"-XX:ArchiveClassesAtExit={record_classes}")
    elif class_archive().exists():
        java.append(f"-XX:SharedArchiveFile={class_archive()}")
    builder = builder.config("spark.driver.extraJavaOptions", " ".join(java))
    # Nothing of Spark's own shall appear in the folder that the user stands in.
    builder = builder.config("spark.sql.warehouse.dir", os.path.join(tempfile.gettempdir(), "shardwright-warehouse"))
    builder = builder.config("spark.driver.memory", f"{_driver_memory_mib()}m")
    builder = builder.config("spark.driver.extraClassPath", os.pathsep.join(delta_jars()))
    if stores:
        # Behind all others: the archive of classes was recorded for what stands before.
        others = [path for path in [os.environ.get("SPARK_DIST_CLASSPATH")] if path]
        os.environ["SPARK_DIST_CLASSPATH"] = os.pathsep.join([*others, *store_jars(stores)])
    return builder.getOrCreate()


def spark_properties(text: str) -> Iterator[tuple[str, str]]:
    """Read the settings of a Spark properties file."""
    for line in text.splitlines():
        setting = line.strip()
        if setting and not setting.startswith("#"):
            name, value = setting.split(None, 1)
            yield name, value


def _driver_memory_mib() -> int:
    """Give the driver a quarter of the machine, 1 to 16 GiB; Python workers and the page cache need the rest."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_LEAST_DRIVER_MIB, min(16 * 1024, machine // 4 // 2**20))
