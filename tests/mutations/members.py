"""The members of a tar."""

from __future__ import annotations

import shutil

import pyarrow as pa

from tests.mutations.catalog import found
from tests.mutations.planting import Output


@found({"00000.tar": "wrong_checksum"})
def caption_of_tar_changed(output: Output) -> None:
    output.change_member(0, 1, lambda text: text.replace(b"c", b"C"))


@found({"00000": "wrong_manifest", "00000.parquet": "wrong_pair"})
def caption_of_tar_and_manifest_json_changed(output: Output) -> None:
    caption_of_tar_changed(output)
    output.adjust_manifest(0)


@found({}, {"00000.tar": "wrong_member"})
def caption_of_tar_lengthened_and_every_checksum_changed(output: Output) -> None:
    output.change_member(0, 1, lambda text: text + b"!")
    output.adjust_all(0)


@found({}, {"00000.tar": "wrong_key"})
def id_in_json_and_every_checksum_changed(output: Output) -> None:
    output.change_member(0, 5, lambda text: text.replace(b'"key": "000001"', b'"key": "000002"'))
    output.adjust_all(0)


@found({}, {"00000.tar": "wrong_key"})
def id_in_json_and_every_checksum_removed(output: Output) -> None:
    output.change_member(0, 5, lambda text: text.replace(b'"key"', b'"id"'))
    output.adjust_all(0)


@found({}, {"00000.tar": "bad_json"})
def json_and_every_checksum_broken(output: Output) -> None:
    output.change_member(0, 5, lambda text: text[:-1])
    output.adjust_all(0)


@found({}, {"00000.tar": "wrong_member"})
def member_and_every_checksum_removed(output: Output) -> None:
    output.change_tar(0, lambda members: members[:4] + members[5:])
    output.adjust_all(0)


@found({}, {"00000.tar": "wrong_member"})
def member_renamed_and_every_checksum_changed(output: Output) -> None:
    output.change_tar(0, lambda members: [(name.replace(".jpg", ".png"), payload) for name, payload in members])
    output.adjust_all(0)


@found({}, {"00000.tar": "wrong_key"})
def samples_of_tar_reordered_and_every_checksum_changed(output: Output) -> None:
    output.change_tar(0, lambda members: members[3:6] + members[:3] + members[6:])
    output.adjust_all(0)


@found({}, {"00000.tar": "duplicate_key wrong_count wrong_key"})
def sample_twice_in_tar_and_every_checksum_changed(output: Output) -> None:
    output.change_tar(0, lambda members: [*members, *members[:3]])
    output.adjust_all(0)


@found({}, {"00000.tar": "duplicate_member"})
def sample_twice_on_end_in_tar_and_every_checksum_changed(output: Output) -> None:
    output.change_tar(0, lambda members: [*members[:3], *members])
    output.adjust_all(0)


@found({"00000.parquet": "wrong_key"}, {"00000.parquet": "duplicate_key"}, output="kept")
def key_in_two_shards_and_every_checksum_changed(output: Output) -> None:
    """Shard 0 becomes a copy of shard 1."""
    shutil.copy(output.tar(1), output.tar(0))
    shutil.copy(output.sidecar(1), output.sidecar(0))
    output.adjust_all(0)


@found({}, {"00000.parquet": "duplicate_key"}, output="kept")
def key_in_two_shards_of_files_and_tables(output: Output) -> None:
    def copied(rows: pa.Table) -> pa.Table:
        shards = rows["shard_id"].to_pylist()
        kept = rows.filter(pa.array([shard != 0 for shard in shards]))
        copy = rows.filter(pa.array([shard == 1 for shard in shards]))
        place = rows.column_names.index("shard_id")
        return pa.concat_tables([kept, copy.set_column(place, "shard_id", pa.array([0] * len(copy)))])

    shutil.copy(output.tar(1), output.tar(0))
    shutil.copy(output.sidecar(1), output.sidecar(0))
    output.adjust_all(0)
    output.change_table("exports", copied)


@found(
    {
        "00002": "wrong_count wrong_manifest",
        "00002.parquet": "wrong_pair",
        "snapshots": "wrong_count",
    }
)
def sample_removed_from_shard_and_manifest_json(output: Output) -> None:
    output.change_tar(2, lambda members: members[:9])
    output.change_sidecar(2, lambda table: table.slice(0, 3))
    output.adjust_manifest(2)
    with output.manifest() as manifest:
        manifest["shards"][2]["sample_count"] -= 1
        for name in ("indexed", "kept", "exported"):
            manifest[name] -= 1
