"""Read a keep list of uids, range by range: numbers of ranges in, uids out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from shardwright.errors import RunError
from shardwright.files import open_file
from shardwright.format.uids import UID_BYTES, UidFile, uid_texts

VALUES = pa.schema([pa.field("value", pa.string())])
# 4 MiB of a file, 8 MiB of text.
RANGE_UIDS = 1 << 18


def read_uids(batches: Iterable[pa.RecordBatch], file: UidFile) -> Iterator[pa.RecordBatch]:
    """Give the uids of the ranges whose numbers arrive: the first has uids 0 to `RANGE_UIDS`, and so on."""
    with open_file(file.path) as opened:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                first = number * RANGE_UIDS
                wanted = min(RANGE_UIDS, file.uid_count - first) * UID_BYTES
                data = opened.read(file.offset + first * UID_BYTES, wanted)
                if len(data) < wanted:
                    raise RunError(file.path, "the file became shorter while it was read", "Run the command again")
                yield pa.record_batch([uid_texts(data)], VALUES)
