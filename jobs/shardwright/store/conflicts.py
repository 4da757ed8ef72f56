"""Two who commit to one table at once: Delta lets one through, and the other looks again."""

from __future__ import annotations

import re
from collections.abc import Callable

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

# Blind appends never meet, but these do: the first rows of a table, new columns, and one snapshot's rows twice.
_CONFLICT = re.compile(
    r"DELTA_(CONCURRENT|METADATA_CHANGED|PROTOCOL_CHANGED)|io\.delta\.exceptions\.(Concurrent|MetadataCh|ProtocolCh)"
)
CONFLICT_TRIES = 10


def retry_conflicts(write: Callable[[], None]) -> None:
    """Append to a table through Spark, again where another commit came first: it may have made it needless."""
    for _ in range(CONFLICT_TRIES - 1):
        try:
            write()
            return
        except (PySparkException, Py4JError) as error:
            if not _CONFLICT.search(str(error)):
                raise
    write()
