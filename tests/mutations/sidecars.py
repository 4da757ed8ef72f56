"""Bytes and values of sidecars."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from tests.mutations.catalog import found
from tests.mutations.planting import Output, cut, flip, set_value


@found({"00000.parquet": "wrong_checksum unreadable"})
def magic_of_sidecar_flipped(output: Output) -> None:
    flip(output.sidecar(), -1)


@found({"00000.parquet": "wrong_checksum"}, {"00000.parquet": "wrong_value"})
def value_of_sidecar_flipped(output: Output) -> None:
    caption = pq.read_metadata(output.sidecar()).row_group(0).column(1)
    flip(output.sidecar(), output.sidecar().read_bytes().index(b"caption", caption.dictionary_page_offset))


@found({"00000.parquet": "wrong_size unreadable"})
def sidecar_cut(output: Output) -> None:
    cut(output.sidecar(), -100)


@found({"00000.parquet": "wrong_size unreadable"})
def sidecar_emptied(output: Output) -> None:
    cut(output.sidecar(), 0)


@found({"00000.parquet": "changed"}, {"00000.parquet": "wrong_value"})
def caption_of_sidecar_changed(output: Output) -> None:
    output.change_sidecar(0, lambda table: set_value(table, "caption", 2, "another"))


@found({"00000": "wrong_manifest"}, {"00000.parquet": "wrong_value"})
def caption_of_sidecar_and_manifest_json_changed(output: Output) -> None:
    caption_of_sidecar_changed(output)
    output.adjust_manifest(0)


@found({}, {"00000.parquet": "wrong_value"})
def caption_of_sidecar_and_every_checksum_changed(output: Output) -> None:
    caption_of_sidecar_changed(output)
    output.adjust_all(0)


@found({}, {"00000.parquet": "wrong_value"})
def nan_of_sidecar_and_every_checksum_changed(output: Output) -> None:
    output.change_sidecar(0, lambda table: set_value(table, "score", 1, None))
    output.adjust_all(0)


@found({}, {"00000.parquet": "wrong_value"})
def value_in_a_renamed_column_and_every_checksum_changed(output: Output) -> None:
    output.change_sidecar(0, lambda table: set_value(table, "camera model", 3, "b"))
    output.adjust_all(0)


@found({}, {"00000.parquet": "wrong_value"})
def vector_of_sidecar_and_every_checksum_changed(output: Output) -> None:
    output.change_sidecar(0, lambda table: set_value(table, "vector", 3, [3.0, 0.5]))
    output.adjust_all(0)


@found({}, {"00000.parquet": "wrong_value"})
def type_of_vectors_and_every_checksum_changed(output: Output) -> None:
    def wider(table: pa.Table) -> pa.Table:
        return table.set_column(
            table.column_names.index("vector"), "vector", table["vector"].cast(pa.list_(pa.float64(), 2))
        )

    output.change_sidecar(0, wider)
    output.adjust_all(0)


@found({}, {"00000.parquet": "wrong_value"})
def type_of_a_column_and_every_checksum_changed(output: Output) -> None:
    output.change_sidecar(
        0, lambda table: table.set_column(table.column_names.index("score"), "score", table["score"].cast("string"))
    )
    output.adjust_all(0)


@found({"00000.parquet": "wrong_key"})
def source_key_of_sidecar_and_every_checksum_changed(output: Output) -> None:
    output.change_sidecar(0, lambda table: set_value(table, "source_key", 3, "000000009"))
    output.adjust_all(0)


@found({"00000.parquet": "wrong_value"})
def column_of_sidecar_and_every_checksum_dropped(output: Output) -> None:
    output.change_sidecar(0, lambda table: table.drop_columns(["vector"]))
    output.adjust_all(0)


@found({"00000.parquet": "wrong_value"})
def id_column_of_sidecar_and_every_checksum_dropped(output: Output) -> None:
    output.change_sidecar(0, lambda table: table.drop_columns(["key", "source_shard"]))
    output.adjust_all(0)


@found({"00000.parquet": "wrong_value"})
def column_of_sidecar_added_and_every_checksum_changed(output: Output) -> None:
    output.change_sidecar(0, lambda table: table.append_column("extra", [list(range(4))]))
    output.adjust_all(0)


@found({"00000.parquet": "wrong_pair"})
def receipt_of_sidecar_lost_and_manifests_changed(output: Output) -> None:
    output.adjust_all(0)
    write_without_receipt(output)


def write_without_receipt(output: Output) -> None:
    table = pq.read_table(output.sidecar()).replace_schema_metadata(None)
    pq.write_table(table, output.sidecar())
    output.adjust_manifest(0)
    with output.manifest() as manifest:
        shard = manifest["shards"][0]
    values = {"sidecar_bytes": str(shard["sidecar_bytes"]), "sidecar_checksum": f"'{shard['sidecar_checksum']}'"}
    output.update("manifest", "shard_id = 0", values)


@found({"00000.parquet": "wrong_key"}, {"00000.tar": "wrong_key"})
def rows_of_sidecar_reordered_and_every_checksum_changed(output: Output) -> None:
    output.change_sidecar(0, lambda table: table.take([1, 0, 2, 3]))
    output.adjust_all(0)


@found({"00000.parquet": "wrong_key"}, {"00000.tar": "wrong_key"}, output="kept")
def rows_of_sidecar_reordered_where_keys_were_kept(output: Output) -> None:
    rows_of_sidecar_reordered_and_every_checksum_changed(output)


@found({"00000.parquet": "wrong_key"}, {"00000.tar": "wrong_key"})
def key_twice_in_sidecar_and_every_checksum_changed(output: Output) -> None:
    output.change_sidecar(0, lambda table: set_value(table, "key", 1, table["key"][0].as_py()))
    output.adjust_all(0)
