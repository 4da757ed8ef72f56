"""Write output shards: rows of a layout in, one tar and one sidecar a shard out, a manifest row each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from shardwright.errors import DataError, RunError
from shardwright.files import describe, is_folder, readable
from shardwright.format.names import shard_name
from shardwright.format.sidecar import Receipt, SidecarColumn, read_receipt
from shardwright.locations import FileInfo, is_url
from shardwright.publishing import published
from shardwright.tasks.packed import Packed
from shardwright.tasks.sidecar_writer import SidecarWriter
from shardwright.tasks.streams import by_value
from shardwright.tasks.sums import FileSum, sum_file
from shardwright.tasks.tar_writer import TarWriter

WRITTEN = pa.schema(
    [
        pa.field("shard_id", pa.int64(), nullable=False),
        pa.field("shard_name", pa.string(), nullable=False),
        pa.field("sample_count", pa.int64(), nullable=False),
        pa.field("shard_bytes", pa.int64(), nullable=False),
        pa.field("sidecar_bytes", pa.int64(), nullable=False),
        pa.field("checksum", pa.string(), nullable=False),
        pa.field("sidecar_checksum", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class WriteJob:
    """What every task of one export knows; ``columns`` are the sidecar's, in order.

    ``sources`` are the dataset's tars as they were listed.
    """

    dataset_root: str
    output_root: str
    staging: str
    shard_digits: int
    json_id_field: str | None
    columns: tuple[SidecarColumn, ...]
    source_key_col: str
    source_shard_col: str
    sources: Packed[FileInfo] = field(default_factory=lambda: Packed(FileInfo))


def write_shards(batches: Iterable[pa.RecordBatch], job: WriteJob) -> Iterator[pa.RecordBatch]:
    """Write the shards whose rows arrive; give one manifest row (schema `WRITTEN`) for each.

    Args:
        batches: Rows of ``exports`` ordered by ``shard_id`` and ``position``, every shard whole:
            ``shard_id``, ``key``, ``source_shard``, ``member_exts``, ``payload_offsets``,
            ``payload_bytes`` and the sources of ``job.columns``.

    A shard that an earlier attempt published is not written again.
    """
    for shard_id, rows in by_value(batches, "shard_id"):
        yield _write_shard(shard_id, rows, job)


def _write_shard(shard_id: int, rows: Iterator[pa.RecordBatch], job: WriteJob) -> pa.RecordBatch:
    name = shard_name(shard_id, job.shard_digits)
    path = os.path.join(job.output_root, name)
    receipt = _finished(path)
    if receipt is None:
        receipt, sidecar_sum = _write_files(path, rows, job)
    elif is_url(path):
        sidecar_sum = _require_own(path, rows, job, receipt)
    else:
        sidecar_sum = _write_sidecar(path, rows, job, receipt)
    values = [shard_id, name, receipt.sample_count, receipt.shard_bytes, sidecar_sum.size_bytes]
    values += [receipt.checksum, sidecar_sum.checksum]
    return pa.RecordBatch.from_arrays([pa.array([value]) for value in values], schema=WRITTEN)


def _write_files(path: str, rows: Iterator[pa.RecordBatch], job: WriteJob) -> tuple[Receipt, FileSum]:
    with ExitStack() as files:
        # The sidecar is published last: where it stands, the shard is complete.
        sidecar_target = files.enter_context(published(f"{path}.parquet", job.staging))
        tar_target = files.enter_context(published(f"{path}.tar", job.staging))
        sidecar = files.enter_context(SidecarWriter(sidecar_target, job.columns))
        with TarWriter(tar_target, job.dataset_root, job.sources, job.json_id_field) as tar:
            for batch in rows:
                tar.add(batch)
                sidecar.add(batch)
            tar_sum = tar.finish()
        receipt = Receipt(sidecar.row_count, *tar_sum, job.source_key_col, job.source_shard_col)
        sidecar_sum = sidecar.finish(receipt)
        _require_wanted(path, job)
    return receipt, sidecar_sum or sum_file(f"{path}.parquet")


def _write_sidecar(path: str, rows: Iterator[pa.RecordBatch], job: WriteJob, receipt: Receipt) -> FileSum:
    """Write a sidecar once more: a crash of the machine may have lost what stands before its end."""
    with published(f"{path}.parquet", job.staging) as target, SidecarWriter(target, job.columns) as sidecar:
        for batch in rows:
            sidecar.add(batch)
        sidecar.finish(receipt)
    return sum_file(f"{path}.parquet")


def _require_own(path: str, rows: Iterator[pa.RecordBatch], job: WriteJob, receipt: Receipt) -> FileSum:
    """Require that a finished sidecar in a store is the one that these rows make; give its size and checksum.

    Raises:
        DataError: A task of another export published it, when that export had been given up already.
    """
    with tempfile.NamedTemporaryFile(prefix="shardwright-", suffix=".parquet") as copy:
        with SidecarWriter(copy.name, job.columns) as sidecar:
            for batch in rows:
                sidecar.add(batch)
            sidecar.finish(receipt)
        own = sum_file(copy.name)
    if own != sum_file(f"{path}.parquet"):
        found = "it holds samples of another export, which was given up and wrote on"
        raise DataError(f"{path}.parquet", found, "Run the command again when nothing else writes there")
    return own


def _require_wanted(path: str, job: WriteJob) -> None:
    """Refuse to publish for an export that was given up; on a file system the folder is gone that a rename needs.

    Raises:
        RunError: Nothing is published.
    """
    if is_url(job.staging) and not is_folder(job.staging):
        raise RunError(path, "its export was given up meanwhile", "Run the export again")


def _finished(path: str) -> Receipt | None:
    """Find what an earlier attempt of this same export published: a whole tar, and the end of its sidecar."""
    try:
        receipt = read_receipt(pq.read_metadata(readable(f"{path}.parquet")).metadata)
        if receipt and _is_whole(path, receipt):
            return receipt
    except (FileNotFoundError, pa.ArrowException):
        pass
    return None


def _is_whole(path: str, receipt: Receipt) -> bool:
    """Tell whether the tar beside a sidecar is the one that it was written with."""
    if not is_url(path):
        return sum_file(f"{path}.tar") == FileSum(receipt.shard_bytes, receipt.checksum)
    # A store shows whole objects only, and the tar before its sidecar: of that size, and not written again since,
    # it is that tar. Nothing is fetched to see that.
    tar, sidecar = describe(f"{path}.tar"), describe(f"{path}.parquet")
    if tar is None or sidecar is None:
        return False
    return tar.size_bytes == receipt.shard_bytes and tar.modified_ns <= sidecar.modified_ns
