"""What of our plans does not run on a GPU, and why that is so."""

from __future__ import annotations

from typing import NamedTuple


class Reviewed(NamedTuple):
    """An operator or expression that NVIDIA's planner refuses, where its text says ``because`` and one asked for it.

    ``asked_by`` are modules of the package or test files, one of which stands in the stack of the call; empty: any.
    """

    name: str
    because: str
    asked_by: frozenset[str]
    why: str


REVIEWED = (
    Reviewed(
        "InMemoryTableScanExec",
        "ParquetCachedBatchSerializer is not being used",
        frozenset(),
        "conf/rapids.conf names the serializer; it can't even be loaded where there is no GPU",
    ),
    Reviewed(
        "FileSourceScanExec",
        "hidden metadata columns",
        frozenset({"save_metadata.py", "test_drift.py"}),
        "a row's place in its file has no other name: sidecars are saved in their order, and found again once united",
    ),
    Reviewed(
        "FileSourceScanExec",
        "TextFileFormat",
        frozenset({"keep_list.py"}),
        "RAPIDS reads no text; a keep list in Parquet or of uids stays on the GPU",
    ),
    Reviewed(
        "RDDScanExec",
        "does not currently support the operator class",
        frozenset({"rejects.py"}),
        "the few shards that are set aside come from the driver",
    ),
)
