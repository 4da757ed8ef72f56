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
        frozenset({"save_metadata.py"}),
        "a row's place in its file has no other name, and sidecars are saved in their order",
    ),
    Reviewed(
        "FileSourceScanExec",
        "TextFileFormat",
        frozenset({"keep_list.py"}),
        "RAPIDS reads no text; a keep list in Parquet or of uids stays on the GPU",
    ),
    *(
        Reviewed(
            name,
            kind,
            frozenset({asked_by}),
            "RAPIDS hands no such column to Arrow: the last operator alone stays behind",
        )
        for name in ("MapInArrowExec", "PythonUDF")
        for kind, asked_by in (
            ("DecimalType", "export.py"),
            ("NullType", "save_metadata.py"),
        )
    ),
    Reviewed(
        "CommandResultExec",
        "does not currently support the operator class",
        frozenset({"other_tables.py"}),
        "the version of a Delta table, asked of its log",
    ),
)
