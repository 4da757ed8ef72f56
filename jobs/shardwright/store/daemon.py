"""The process that this machine's Python workers are forked from: ``spark.python.daemon.module``.

Spark puts archives on the workers' path, pyspark in a zip and its own classes in a jar: workers compile pyspark anew
each time, and each task lists the archives again. Both take longer than many a task.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.machinery import PathFinder

_ARCHIVE = re.compile(r"(pyspark|py4j-.+-src)\.zip|spark-core_.+\.jar")


def forget_archives() -> None:
    """Take Spark's archives off the path where pyspark can be imported without them."""
    archives = [entry for entry in sys.path if _ARCHIVE.fullmatch(entry.rpartition("/")[2])]
    others = [entry for entry in sys.path if entry not in archives]
    if PathFinder.find_spec("pyspark", others):
        sys.path[:] = others
        for archive in archives:
            sys.path_importer_cache.pop(archive, None)


if __name__ == "__main__":
    forget_archives()
    # What each task imports, once for all workers.
    for name in ("pyarrow.compute", "pyarrow.parquet", "xxhash"):
        import_module(name)
    from pyspark import daemon

    daemon.manager()  # type: ignore[no-untyped-call]
