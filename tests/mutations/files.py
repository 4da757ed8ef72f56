"""Which files are there."""

from __future__ import annotations

import shutil

from tests.mutations.catalog import found
from tests.mutations.planting import Output, swap


@found(
    {
        "00000.parquet": "changed wrong_key wrong_pair",
        "00001.parquet": "changed wrong_key wrong_pair",
    },
    {"00000.tar": "wrong_key", "00001.tar": "wrong_key"},
)
def sidecars_swapped(output: Output) -> None:
    swap(output.sidecar(0), output.sidecar(1))


@found(
    {"00000.tar": "wrong_checksum", "00001.tar": "wrong_checksum"}, {"00000.tar": "wrong_key", "00001.tar": "wrong_key"}
)
def tars_swapped(output: Output) -> None:
    swap(output.tar(0), output.tar(1))


@found(
    {
        "00000.tar": "wrong_checksum",
        "00000.parquet": "changed wrong_key wrong_pair",
        "00001.tar": "wrong_checksum",
        "00001.parquet": "changed wrong_key wrong_pair",
    }
)
def shards_renamed(output: Output) -> None:
    swap(output.tar(0), output.tar(1))
    swap(output.sidecar(0), output.sidecar(1))


@found(
    {
        "00000.tar": "wrong_checksum",
        "00000.parquet": "changed wrong_key wrong_pair",
        "00001.tar": "wrong_checksum",
        "00001.parquet": "changed wrong_key wrong_pair",
    },
    output="kept",
)
def shards_renamed_where_keys_were_kept(output: Output) -> None:
    shards_renamed(output)


@found({"00001.tar": "missing_file"})
def tar_missing(output: Output) -> None:
    output.tar(1).unlink()


@found({"00001.parquet": "missing_file"})
def sidecar_missing(output: Output) -> None:
    output.sidecar(1).unlink()


@found({"00001.tar": "missing_file", "00001.parquet": "missing_file"})
def shard_missing(output: Output) -> None:
    output.tar(1).unlink()
    output.sidecar(1).unlink()


@found({"00001.tar": "missing_file"})
def folder_in_place_of_a_tar(output: Output) -> None:
    output.tar(1).unlink()
    output.tar(1).mkdir()


@found({"00003.tar": "orphan", "00003.parquet": "orphan"})
def shard_added(output: Output) -> None:
    shutil.copy(output.tar(), output.tar(3))
    shutil.copy(output.sidecar(), output.sidecar(3))


@found({"0.tar": "orphan"})
def tar_added_under_a_name_much_like_ours(output: Output) -> None:
    shutil.copy(output.tar(), output.root / "0.tar")


@found({"temp_0.parquet": "orphan"})
def parquet_added(output: Output) -> None:
    shutil.copy(output.sidecar(), output.root / "temp_0.parquet")


@found({"00000.tar.tmp": "orphan", ".00001.tar.kX3b_9": "orphan"})
def leftovers_of_copying_tools(output: Output) -> None:
    (output.root / "00000.tar.tmp").write_bytes(b"half")
    (output.root / ".00001.tar.kX3b_9").write_bytes(b"half")


@found({".shardwright/.00001.tar.77.abcd": "orphan"})
def leftovers_of_an_export(output: Output) -> None:
    (output.root / ".shardwright").mkdir()
    (output.root / ".shardwright" / ".00001.tar.77.abcd").write_bytes(b"half")


@found({})
def no_fault_the_plan_that_a_crash_behind_the_commit_left(output: Output) -> None:
    (output.root / ".shardwright").mkdir()
    shutil.copy(output.root / "manifest.json", output.root / ".shardwright" / "plan.json")


@found({"old/00000.tar": "orphan"})
def tar_in_a_sub_folder(output: Output) -> None:
    (output.root / "old").mkdir()
    shutil.copy(output.tar(), output.root / "old")


@found({"00007.tar.idx": "orphan"})
def index_of_a_shard_that_is_not_there(output: Output) -> None:
    (output.root / "00007.tar.idx").write_bytes(bytes(16))


@found({})
def no_fault_what_people_and_loaders_put_there(output: Output) -> None:
    for name in ("README.md", "notes.txt", "wids.json", "_info.json", "00000.tar.md5", ".gitattributes"):
        (output.root / name).write_text("…", encoding="utf-8")
    (output.root / ".nv-meta").mkdir()
    (output.root / ".nv-meta" / ".info.json").write_text("{}", encoding="utf-8")
