"""What manifest.json says."""

from __future__ import annotations

from tests.mutations.catalog import found
from tests.mutations.planting import Output, cut

# manifest.json.


@found({"manifest.json": "wrong_count", "snapshots": "wrong_count"})
def count_of_manifest_json_changed(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["indexed"] += 1


@found({"snapshots": "wrong_count"})
def counts_of_manifest_json_changed_alike(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["indexed"] += 1
        manifest["rejected"] += 1


@found({"manifest.json": "wrong_count", "snapshots": "wrong_manifest"})
def drops_of_manifest_json_changed(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["drops"]["rule"] = 7


@found(
    {"manifest.json": "wrong_count", "00000.parquet": "wrong_count", "00000": "wrong_count wrong_manifest"},
    {"00000.tar": "wrong_count"},
)
def samples_of_a_shard_in_manifest_json_changed(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["shards"][0]["sample_count"] += 1


@found({"00000.tar": "wrong_checksum", "00000.parquet": "wrong_pair", "00000": "wrong_manifest"})
def checksum_in_manifest_json_changed(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["shards"][0]["checksum"] = f"xxh3-128:{0:032x}"


@found(
    {
        "manifest.json": "wrong_count wrong_manifest",
        "00001.tar": "orphan",
        "00001.parquet": "orphan",
        "00001": "wrong_manifest",
        "00002": "wrong_manifest",
        "exports": "wrong_count",
    }
)
def shard_removed_from_manifest_json(output: Output) -> None:
    with output.manifest() as manifest:
        del manifest["shards"][1]


@found({"manifest.json": "wrong_count wrong_manifest", "00001": "wrong_manifest"})
def shard_listed_twice_in_manifest_json(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["shards"].append(manifest["shards"][1])


@found({"manifest.json": "wrong_manifest", "00000": "wrong_manifest", "00001": "wrong_manifest"})
def shards_of_manifest_json_reordered(output: Output) -> None:
    with output.manifest() as manifest:
        shards = manifest["shards"]
        shards[0], shards[1] = shards[1], shards[0]


@found({"snapshots": "missing_snapshot"})
def snapshot_id_of_manifest_json_changed(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["snapshot_id"] = "0" * 16


@found({"snapshots": "wrong_manifest"})
def settings_of_manifest_json_changed(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["settings"]["rules"] = [["where", "score > 1"]]


@found({"snapshots": "wrong_manifest"})
def inputs_of_manifest_json_changed(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["inputs"]["shards"] = "0" * 16


@found({"manifest.json": "refused"})
def bytes_in_manifest_json_made_text(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["shards"][0]["shard_bytes"] = "many"


@found({"manifest.json": "refused"})
def bytes_in_manifest_json_made_true(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["shards"][0]["shard_bytes"] = True


@found({"manifest.json": "refused"})
def samples_in_manifest_json_made_negative(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["shards"][0]["sample_count"] = -1


@found({"manifest.json": "refused"})
def count_in_manifest_json_beyond_all_numbers(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["indexed"] = 2**63


@found({"manifest.json": "refused"})
def checksum_in_manifest_json_made_no_text(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["shards"][0]["checksum"] = "\ud800"


@found(
    {
        "manifest.json": "wrong_manifest",
        "00002.tar": "orphan",
        "00002.parquet": "orphan",
        "00002": "wrong_manifest",
        "9" * 25: "wrong_manifest",
        "exports": "wrong_count",
    }
)
def shard_named_by_a_huge_number_in_manifest_json(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["shards"][2]["shard_name"] = "9" * 25


@found({"manifest.json": "refused"})
def drops_of_manifest_json_missing(output: Output) -> None:
    with output.manifest() as manifest:
        del manifest["drops"]


@found({"manifest.json": "refused"})
def digits_in_manifest_json_beyond_all_names(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["settings"]["shard_digits"] = 10**9


@found({"manifest.json": "refused"})
def id_column_in_manifest_json_made_a_number(output: Output) -> None:
    with output.manifest() as manifest:
        manifest["settings"]["id_col"] = 7


@found({"manifest.json": "refused"})
def manifest_json_nested_too_deeply(output: Output) -> None:
    (output.root / "manifest.json").write_text("[" * 100_000)


@found({"manifest.json": "refused"})
def manifest_json_cut(output: Output) -> None:
    cut(output.root / "manifest.json", 500)


@found({"manifest.json": "refused"})
def manifest_json_missing(output: Output) -> None:
    (output.root / "manifest.json").unlink()
