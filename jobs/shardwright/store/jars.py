"""Delta's jars on disk: fetched once by Spark's own resolver, then used without a network.

``python -m shardwright.store.jars`` fetches them ahead of the first run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from shardwright.errors import RunError
from shardwright.files import is_writable, remove_folder

_RESOLVE = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
builder.config("spark.jars.packages", sys.argv[1]).config("spark.jars.ivy", sys.argv[2]).getOrCreate().stop()
"""


def delta_jars() -> list[str]:
    """Give the paths of Delta's jars for the installed pyspark and delta-spark, fetching them the first time.

    Raises:
        RunError: They are not on disk and can't be fetched.
    """
    scala = "2.13" if int(version("pyspark").split(".")[0]) >= 4 else "2.12"
    release = version("delta-spark")
    folder = _cache_folder() / f"delta-spark_{scala}-{release}"
    if not folder.exists():
        _fetch(f"io.delta:delta-spark_{scala}:{release}", folder)
    return sorted(str(path) for path in folder.glob("*.jar"))


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(home, "shardwright", "jars")
    return Path(folder if is_writable(folder) else os.path.join(tempfile.gettempdir(), "shardwright", "jars"))


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
    delta_jars()
