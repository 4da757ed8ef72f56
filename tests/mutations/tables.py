"""What the tables say."""

from __future__ import annotations

import shutil

import pyarrow as pa

from tests.mutations.catalog import found
from tests.mutations.planting import Output, set_value


@found({"00001": "wrong_count wrong_key"})
def row_of_exports_deleted(output: Output) -> None:
    output.delete("exports", "shard_id = 1 AND position = 1")


@found({"00001": "wrong_count"})
def last_row_of_exports_deleted(output: Output) -> None:
    output.delete("exports", "shard_id = 1 AND position = 3")


@found({"00001": "wrong_count"})
def rows_of_a_shard_in_exports_deleted(output: Output) -> None:
    output.delete("exports", "shard_id = 1")


@found({"00001": "wrong_count wrong_key"})
def row_of_exports_doubled(output: Output) -> None:
    def doubled(rows: pa.Table) -> pa.Table:
        row = rows["shard_id"].to_pylist().index(1)
        return pa.concat_tables([rows, rows.slice(row, 1)])

    output.change_table("exports", doubled)


@found({"00001.parquet": "wrong_key"})
def key_in_exports_changed(output: Output) -> None:
    output.update("exports", "shard_id = 1 AND position = 1", {"key": "'000019'"})


@found({"00001.parquet": "wrong_key"})
def source_shard_in_exports_changed(output: Output) -> None:
    output.update("exports", "shard_id = 1 AND position = 1", {"source_shard": "'x.tar'"})


@found({"00001": "wrong_key"})
def position_in_exports_changed(output: Output) -> None:
    output.update("exports", "shard_id = 1 AND position = 3", {"position": "7"})


@found({"00001": "wrong_count", "exports": "wrong_count"})
def shard_in_exports_changed(output: Output) -> None:
    output.update("exports", "shard_id = 1 AND position = 3", {"shard_id": "9"})


@found({}, {"00001.parquet": "wrong_value"})
def caption_in_exports_changed(output: Output) -> None:
    output.update("exports", "shard_id = 1 AND position = 1", {"caption": "'another'"})


@found({}, {"00001.parquet": "wrong_value"})
def nan_in_exports_made_null(output: Output) -> None:
    output.update("exports", "shard_id = 1 AND position = 3", {"score": "NULL"})


@found({}, {"exports": "wrong_value"})
def column_of_exports_dropped(output: Output) -> None:
    output.change_table("exports", lambda rows: rows.drop_columns(["meta_camera_model"]))


@found({}, {"00000.tar": "wrong_member", "00001.tar": "wrong_member", "00002.tar": "wrong_member"})
def members_in_exports_changed(output: Output) -> None:
    def changed(rows: pa.Table) -> pa.Table:
        place = rows.column_names.index("member_exts")
        return rows.set_column(place, rows.schema.field(place), pa.array([["jpg", "txt"]] * len(rows)))

    output.change_table("exports", changed)


@found({}, {"00001.tar": "wrong_member"})
def payload_bytes_in_exports_changed(output: Output) -> None:
    def changed(rows: pa.Table) -> pa.Table:
        row = list(zip(rows["shard_id"].to_pylist(), rows["position"].to_pylist(), strict=True)).index((1, 2))
        sizes = rows["payload_bytes"][row].as_py()
        return set_value(rows, "payload_bytes", row, [sizes[0] + 1, *sizes[1:]])

    output.change_table("exports", changed)


@found({"exports": "missing_file"})
def exports_missing(output: Output) -> None:
    shutil.rmtree(output.own_tables() / "exports")


@found({"00001": "wrong_manifest"})
def row_of_manifest_table_deleted(output: Output) -> None:
    output.delete("manifest", "shard_id = 1")


@found({"00001": "wrong_manifest"})
def row_of_manifest_table_changed(output: Output) -> None:
    output.update("manifest", "shard_id = 1", {"shard_bytes": "shard_bytes + 512"})


@found({"00001": "wrong_manifest"})
def path_in_manifest_table_changed(output: Output) -> None:
    output.update("manifest", "shard_id = 1", {"path": "'/elsewhere/00001.tar'"})


@found({"00000": "wrong_manifest"})
def row_of_manifest_table_doubled(output: Output) -> None:
    output.change_table("manifest", lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]))


@found({"snapshots": "missing_snapshot"})
def row_of_snapshots_deleted(output: Output) -> None:
    output.delete("snapshots", "operation = 'export'")


@found({"snapshots": "wrong_count"})
def count_in_snapshots_changed(output: Output) -> None:
    output.update("snapshots", "operation = 'export'", {"dropped": "5"})


@found({"snapshots": "wrong_manifest"})
def settings_in_snapshots_changed(output: Output) -> None:
    output.update("snapshots", "operation = 'export'", {"settings": "'{'"})


@found({"snapshots": "wrong_manifest"})
def row_of_snapshots_doubled(output: Output) -> None:
    output.change_table("snapshots", lambda rows: pa.concat_tables([rows, rows]))
