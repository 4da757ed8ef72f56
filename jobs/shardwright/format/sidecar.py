"""The Parquet beside a tar: its own metadata, and columns in the types that the source had."""

from __future__ import annotations

import json
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

METADATA_KEY = b"shardwright"
# pandas and dask describe their index here; it does not fit the rows of another file.
_FOREIGN_METADATA = (b"pandas", b"ARROW:schema")
# Row groups are cut by count alone, so that equal rows give equal bytes however they arrived.
ROW_GROUP_ROWS = 4_096


class SidecarColumn(NamedTuple):
    """A column of an output sidecar: where its values come from, and its Arrow field.

    A column that the user computed has no field of its own: it takes the type that it arrives with.
    """

    source: str
    name: str
    field: pa.Field | None


class Receipt(NamedTuple):
    """What a sidecar that we wrote says of the shard it belongs to."""

    sample_count: int
    shard_bytes: int
    checksum: str
    source_key_col: str
    source_shard_col: str


def receipt_bytes(receipt: Receipt) -> dict[str, str]:
    """Give the key-value metadata that records a receipt in a Parquet file."""
    return {METADATA_KEY.decode(): json.dumps(receipt._asdict(), sort_keys=True)}


def read_receipt(metadata: dict[bytes, bytes] | None) -> Receipt | None:
    """Read the receipt from a Parquet file's metadata; None when the file is not one of ours."""
    try:
        return Receipt(**json.loads((metadata or {})[METADATA_KEY]))
    except (KeyError, ValueError, TypeError):
        return None


def clean_metadata(schema: pa.Schema) -> pa.Schema:
    """Drop metadata that speaks of another file's rows."""
    kept = {
        name: value for name, value in (schema.metadata or {}).items() if name not in (*_FOREIGN_METADATA, METADATA_KEY)
    }
    return schema.with_metadata(kept or None)


def as_field(values: pa.Array, field: pa.Field) -> pa.Array:
    """Give values, as Spark hands them over, the type that they had in the source's sidecar.

    Raises:
        pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError: The types have no exact conversion.
    """
    wanted = field.type
    if values.type.equals(wanted):
        return values
    if pa.types.is_null(wanted):
        return pa.nulls(len(values))
    if pa.types.is_dictionary(wanted):
        plain = as_field(values, field.with_type(wanted.value_type))
        return pc.dictionary_encode(plain).cast(wanted)
    if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(values.type):
        # Through integers: the zone that Spark names is the session's, the instant is what counts.
        return values.cast(pa.int64()).cast(pa.timestamp(values.type.unit)).cast(pa.timestamp(wanted.unit)).cast(wanted)
    return values.cast(wanted)
