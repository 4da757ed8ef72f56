"""What a local JVM needs on disk: Delta's jars, and an archive of loaded classes that halves its start.

``python -m shardwright.store.jvm`` prepares both ahead of the first run, and with names of stores (``s3``) what Spark
reads those with; jars alone are fetched when they are missing, by Spark's own resolver, and then used
without a network.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

from shardwright.errors import RunError
from shardwright.files import is_writable, remove_folder
from shardwright.store.hadoop import connector

_RESOLVE = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
builder.config("spark.jars.packages", sys.argv[1]).config("spark.jars.ivy", sys.argv[2]).getOrCreate().stop()
"""
# A run that loads what runs load; the archive is written when its JVM ends.
_REHEARSE = """
import sys
from shardwright.cli import main
from shardwright.store.local import local_session
local_session(record_classes=sys.argv[1])
main(["export", sys.argv[2], sys.argv[3], "--where", "score > 0.5", "--samples-per-shard", "1"])
"""


def delta_jars() -> list[str]:
    """Give the paths of Delta's jars for the installed pyspark and delta-spark, fetching them the first time.

    Raises:
        RunError: They are not on disk and can't be fetched.
    """
    release = version("delta-spark")
    folder = _cache_folder() / f"delta-spark_{_scala()}-{release}"
    if not folder.exists():
        _fetch(f"io.delta:delta-spark_{_scala()}:{release}", folder)
    return sorted(str(path) for path in folder.glob("*.jar"))


def store_jars(stores: Collection[str]) -> list[str]:
    """Give the paths of what Spark reads some kinds of stores with, fetching it the first time.

    Raises:
        RunError: It is not on disk and can't be fetched.
    """
    jars = []
    for store in sorted(stores):
        coordinate = connector(store, _hadoop_version())
        folder = _cache_folder() / coordinate.partition(":")[2].replace(":", "-")
        if not folder.exists():
            size = ", 0.6 GB" if store == "s3" else ""
            logging.getLogger("shardwright").info(f"spark: fetching {coordinate}{size}, once, for {store}://")
            _fetch(coordinate, folder)
        jars += sorted(str(path) for path in folder.glob("*.jar"))
    return jars


def _hadoop_version() -> str:
    """Give the version of the Hadoop that pyspark brings."""
    import pyspark

    found = [
        path.stem.removeprefix("hadoop-client-api-")
        for path in Path(pyspark.__file__).parent.glob("jars/hadoop-client-api-*")
    ]
    if not found:
        raise RunError("pyspark", "it brings no Hadoop", "Install pyspark as PyPI has it")
    return found[0]


def udfs_jar() -> str | None:
    """Give the path of the Scala functions' jar for the installed pyspark; None where ``make udfs`` has built none."""
    found = Path(__file__).parents[1].glob(f"jars/shardwright-udfs_{_scala()}-*.jar")
    return max(map(str, found), default=None)


def _scala() -> str:
    return "2.13" if int(version("pyspark").split(".")[0]) >= 4 else "2.12"


def class_archive() -> Path:
    """Give where the archive of classes lies, or would lie, for this Java, this pyspark and these jars.

    It belongs to one environment and goes with it: 190 MB. The JVM checks that an archive fits before it uses one.
    """
    java = os.path.realpath(os.path.join(os.environ.get("JAVA_HOME", ""), "bin", "java"))
    found = java if os.path.exists(java) else os.path.realpath(shutil.which("java") or "java")
    identity = [
        found,
        os.path.getmtime(found) if os.path.exists(found) else 0,
        version("pyspark"),
        _REHEARSE,
        delta_jars(),
        sys.prefix,
    ]
    folder = Path(sys.prefix) if sys.prefix != sys.base_prefix else _cache_folder()
    return folder / f"classes-{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.jsa"


def prepare() -> None:
    """Fetch the jars and record the archive, where they are missing."""
    archive = class_archive()
    if archive.exists() or not is_writable(str(archive.parent)):
        return
    with tempfile.TemporaryDirectory(dir=archive.parent) as workspace:
        recorded = os.path.join(workspace, "classes.jsa")
        dataset = os.path.join(workspace, "rehearsal")
        _write_dataset(dataset)
        command = [sys.executable, "-c", _REHEARSE, recorded, dataset, os.path.join(workspace, "output")]
        rehearsed = subprocess.run(command, capture_output=True, check=False)
        # Without an archive everything works, only slower: a Java that can't record one is no error.
        if not rehearsed.returncode and os.path.exists(recorded):
            os.replace(recorded, archive)
    for other in Path(sys.prefix).glob("classes-*.jsa"):
        if other != archive:
            other.unlink()


def _write_dataset(folder: str) -> None:
    """Write two samples with a sidecar, enough for every step of an export."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    os.makedirs(folder)
    with tarfile.open(os.path.join(folder, "00000.tar"), "w") as tar:
        for key in ("0", "1"):
            info = tarfile.TarInfo(f"{key}.txt")
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    rows = pa.table({"key": ["0", "1"], "score": [0.1, 0.9], "embedding": [[0.5], [0.5]]})
    pq.write_table(rows, os.path.join(folder, "00000.parquet"))


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(home, "shardwright", "jars")
    if is_writable(folder):
        return Path(folder)
    # Everyone may write here: a folder that another user made could hold anything.
    shared = Path(tempfile.gettempdir(), f"shardwright-{os.getuid()}")
    shared.mkdir(mode=0o700, exist_ok=True)
    if shared.lstat().st_uid != os.getuid():
        raise RunError(str(shared), "the folder belongs to another user", "Set XDG_CACHE_HOME to a folder of your own")
    return shared


def _fetch(coordinate: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    workspace = tempfile.mkdtemp(dir=folder.parent)
    try:
        command = [sys.executable, "-c", _RESOLVE, coordinate, workspace]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        jars = Path(workspace) / "jars"
        if done.returncode or not jars.exists():
            lines = (done.stderr or done.stdout).strip().splitlines()
            reason = next(
                (line.strip() for line in lines if "unresolved" in line or "Error" in line), "no reason given"
            )
            raise RunError(
                coordinate, f"Spark could not fetch the jars ({reason})", "The first run needs Java and the network"
            )
        if not folder.exists():
            jars.rename(folder)
    finally:
        remove_folder(workspace)


if __name__ == "__main__":
    try:
        prepare()
        store_jars(sys.argv[1:])
    except RunError as error:
        sys.exit(f"shardwright: {error}")
