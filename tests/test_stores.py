"""The verbs on a real S3 server: the bytes are those of a file system, little is fetched."""

from __future__ import annotations

import io
import re
import shlex
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from shardwright import files, publishing
from shardwright.locations import storage_options
from shardwright.object_store import put
from tests.builders import jpeg_bytes, sample_members, tree_bytes, write_dataset, write_shard
from tests.conftest import Outcome
from tests.relay_rules import Kind, Rule
from tests.stores import Bucket

pytestmark = [pytest.mark.stores, pytest.mark.spark]

RULE = ("--where", "aesthetic_score >= 0.5", "--samples-per-shard", "4")
Run = Callable[..., Outcome]


def tar_members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()


def objects(url: str) -> dict[str, bytes]:
    """Give the bytes of an output's shards by name, as `tree_bytes` does."""
    found = files.list_files(url)
    return {
        file.path.rpartition("/")[2]: files.read_bytes(file.path)
        for file in found
        if file.path.endswith((".tar", ".parquet"))
    }


def test_an_export_from_store_to_store_writes_what_it_writes_on_a_file_system(
    run: Run, run_there: Run, bucket: Bucket, dataset: Path, tmp_path: Path
) -> None:
    source = bucket.upload(dataset, "data")
    done = run_there("export", source.replace("s3://", "s3a://"), bucket.url("out"), *RULE)
    assert done.code == 0, done.stderr
    assert done.result["output"] == bucket.url("out")
    assert done.result["tables"] == bucket.url("out_tables")
    assert run("export", dataset, tmp_path / "out", *RULE).code == 0
    assert objects(bucket.url("out")) == tree_bytes(tmp_path / "out")
    assert bucket.unfinished_uploads() == []
    checked = run_there("verify", bucket.url("out"), "--deep")
    assert checked.code == 0, checked.stderr
    assert checked.result["tables"] == bucket.url("out_tables")
    listed = run_there("history", bucket.url("out"))
    assert [row["operation"] for row in listed.result["snapshots"]] == ["export"]
    bucket.requests()
    again = run_there("export", source, bucket.url("out"), *RULE)
    assert (again.code, again.result["snapshot_id"]) == (0, done.result["snapshot_id"])
    asked = [request for request in bucket.requests() if request.path.startswith("out")]
    assert {request.method for request in asked} == {"GET", "HEAD"}
    assert not [request for request in asked if request.path.endswith(".tar") and request.method == "GET"]


def test_tables_may_lie_elsewhere_and_an_output_on_a_file_system(
    run_there: Run, bucket: Bucket, dataset: Path, tmp_path: Path
) -> None:
    source = bucket.upload(dataset, "data")
    done = run_there("export", source, tmp_path / "out", *RULE, "--tables", tmp_path / "tables")
    assert done.code == 0, done.stderr
    assert (tmp_path / "out" / "manifest.json").exists()
    assert all(key.startswith("data/") for key in bucket.all_keys())
    assert run_there("verify", tmp_path / "out").code == 0
    up = run_there("export", dataset, bucket.url("up"), *RULE, "--tables", tmp_path / "other")
    assert up.code == 0, up.stderr
    assert objects(bucket.url("up")).keys() == tree_bytes(tmp_path / "out").keys()
    # The manifest alone says where these tables lie.
    mixed = run_there("export", dataset, tmp_path / "mixed", *RULE, "--tables", bucket.url("tables"))
    assert mixed.code == 0, mixed.stderr
    checked = run_there("verify", tmp_path / "mixed", "--deep")
    assert (checked.code, checked.result.get("tables")) == (0, bucket.url("tables")), checked.stderr
    assert len(run_there("history", tmp_path / "mixed").result["snapshots"]) == 2


def test_the_index_of_a_bucket_that_is_only_read_goes_to_the_output(
    run_there: Run, bucket: Bucket, dataset: Path, tmp_path: Path
) -> None:
    source = bucket.upload(dataset, "data")
    with bucket.disturbed(Rule("denied", "^PUT .*/data_tables")):
        done = run_there("export", source, tmp_path / "out", *RULE)
        assert done.code == 0, done.stderr
        assert (tmp_path / "out_tables" / "samples").exists()
        assert run_there("index", source).code == 2
    # A store that fails is not one that refuses.
    with bucket.failing("^PUT .*/data_tables", times=1_000):
        done = run_there("index", source, "--storage-option", "max_retries=0")
        assert (done.code, "Run the same command again" in done.result["error"]) == (3, True)
    assert all(key.startswith("data/") for key in bucket.all_keys())
    # Where it can be written, nothing is left of finding that out.
    assert run_there("index", source).code == 0
    assert not [key for key in bucket.all_keys() if "/.shardwright" in key]


def test_an_export_that_stopped_is_completed_and_fetches_no_finished_tar(
    run_there: Run, bucket: Bucket, dataset: Path
) -> None:
    source = bucket.upload(dataset, "data")
    assert run_there("export", source, bucket.url("out"), *RULE).code == 0
    before = objects(bucket.url("out"))
    manifest = files.read_json(bucket.url("out", "manifest.json"))
    assert manifest is not None
    files.remove_files([bucket.url("out", "manifest.json"), bucket.url("out", "00001.parquet")])
    plan = {**manifest, "shard_count": len(manifest["shards"]), "planned_bytes": 1}
    publishing.write_json(bucket.url("out", ".shardwright", "plan.json"), plan)
    files.remove_folder(bucket.url("out_tables", "snapshots"))
    bucket.requests()
    done = run_there("export", source, bucket.url("out"), *RULE)
    assert done.code == 0, done.stderr
    assert objects(bucket.url("out")) == before
    written = {r.path for r in bucket.requests() if r.method == "PUT" and r.path.endswith((".tar", ".parquet"))}
    assert {key for key in written if "_tables" not in key} == {"out/00001.tar", "out/00001.parquet"}


@pytest.mark.parametrize("kind", ["reset", "lost", "cut"])
def test_a_commit_whose_connection_breaks_is_tried_again_and_stored_once(
    run_there: Run, bucket: Bucket, dataset: Path, kind: Kind
) -> None:
    """Before, between and behind its requests; where nothing helps, one line says so."""
    source = bucket.upload(dataset, "data")
    asked = f"/{bucket.name}/data_tables/snapshots/_delta_log/"
    with bucket.disturbed(Rule(kind, f"^GET {asked}" if kind == "cut" else f"^PUT {asked}", times=1)):
        assert run_there("index", source).code == 0
    assert len([request for request in bucket.requests() if request.fault]) == 1
    assert len(run_there("history", bucket.url("data_tables")).result["snapshots"]) == 1
    put(bucket.url("data", "00000.tar"), files.read_bytes(bucket.url("data", "00001.tar")))
    with bucket.disturbed(Rule("reset", f"^PUT {asked}")):
        failed = run_there("index", source)
    assert failed.code == 3
    assert re.fullmatch(
        r"s3://\S+/snapshots: Generic S3 error: [^\x1b\n]*Run the same command again to go on", failed.result["error"]
    )
    assert len(run_there("history", bucket.url("data_tables")).result["snapshots"]) == 1


def test_an_export_fetches_little_more_than_it_keeps(run_there: Run, bucket: Bucket, tmp_path: Path) -> None:
    image = bytes(50_000)
    write_dataset(tmp_path / "data", shards=2, samples=200, image=image)
    source = bucket.upload(tmp_path / "data", "data")
    assert run_there("index", source).code == 0
    bucket.requests()
    done = run_there("export", source, bucket.url("out"), "--where", "pmod(xxhash64(key), 2) = 0")
    assert done.code == 0, done.stderr
    gets = [r for r in bucket.requests() if r.method == "GET" and r.path in ("data/00000.tar", "data/00001.tar")]
    needed = sum(
        info.size
        for name, data in objects(bucket.url("out")).items()
        if name.endswith(".tar")
        for info in tar_members(data)
    )
    assert 0.9 * needed <= sum(request.sent_bytes for request in gets) <= 1.05 * needed
    assert len(gets) <= 2 * done.result["exported"]


def test_a_source_that_changes_is_an_error_that_names_it_and_nothing_is_kept(
    run_there: Run, bucket: Bucket, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shardwright import export

    source = bucket.upload(dataset, "data")
    write = export._write  # noqa: SLF001 - between the plan and the copy nothing else stands

    def change_first(*words: Any) -> Any:
        tar = bucket.url("data", "00001.tar")
        put(tar, files.read_bytes(tar)[:-1] + b"\1")
        return write(*words)

    monkeypatch.setattr(export, "_write", change_first)
    done = run_there("export", source, bucket.url("out"), *RULE)
    assert done.code == 1, done.stderr
    assert "data/00001.tar: it changed since it was listed" in done.result["error"]
    assert not [key for key in bucket.all_keys() if key.startswith("out/")]
    assert bucket.unfinished_uploads() == []


def test_lists_and_tables_are_read_from_a_store(run_there: Run, bucket: Bucket, dataset: Path, tmp_path: Path) -> None:
    source = bucket.upload(dataset, "data")
    keys = [f"{position:09d}" for position in range(5)]
    put(bucket.url("lists", "keep.txt"), "\n".join(keys).encode())
    (tmp_path / "m").mkdir()
    pq.write_table(pa.table({"key": keys, "safety": [0.1, 0.9, 0.9, 0.9, 0.9]}), tmp_path / "m" / "safety.parquet")
    bucket.upload(tmp_path / "m", "m")
    kept = run_there("export", source, bucket.url("listed"), "--keep-list", bucket.url("lists", "keep.txt"))
    assert (kept.code, kept.result.get("exported")) == (0, 5), kept.stderr
    for table in ("m/safety.parquet", "m"):
        safe = run_there(
            "export",
            source,
            bucket.url(f"safe-{len(table)}"),
            "--metadata",
            bucket.url(table),
            "--where",
            "safety > 0.5",
        )
        assert (safe.code, safe.result.get("exported")) == (0, 4), safe.stderr


def test_images_are_checked_in_a_store(run_there: Run, bucket: Bucket, tmp_path: Path) -> None:
    image = jpeg_bytes()
    members = [*sample_members("a", image=image), *sample_members("b", image=image[:-40])]
    write_shard(tmp_path / "data", "00000", members, [{"key": "a"}, {"key": "b"}])
    source = bucket.upload(tmp_path / "data", "data")
    done = run_there(
        "reshard", source, bucket.url("out"), "--samples-per-shard", 10, "--check", "images", "--on-bad", "quarantine"
    )
    assert (done.code, done.result.get("exported"), done.result.get("rejects")) == (0, 1, {"broken_image": 1}), (
        done.stderr
    )


def test_the_class_saves_metadata_in_place(bucket: Bucket, dataset: Path, spark: SparkSession) -> None:
    from shardwright import ImageTextPairDataset

    source = bucket.upload(dataset, "data")
    with storage_options({}):
        data = ImageTextPairDataset.from_webdataset(source, spark=spark, storage_options=bucket.options)
        data.metadata["keep"] = data.metadata["aesthetic_score"] > 0.5
        data.save_metadata()
        done = data.to_webdataset(bucket.url("out"), filter_column="keep")
    assert done["exported"] == 12
    assert "keep" in pq.read_schema(files.readable(bucket.url("data", "00000.parquet"))).names
    assert not [key for key in bucket.all_keys() if ".shardwright" in key]


def test_readme_commands_run(run_there: Run, bucket: Bucket, tmp_path: Path) -> None:
    write_dataset(tmp_path / "photos", samples=30)
    bucket.upload(tmp_path / "photos", "photos")
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = [
        block for block in re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL) if "s3://" in block
    ]
    commands = [shlex.split(line) for line in "".join(blocks).replace("\\\n", " ").splitlines() if line]
    assert len(commands) == 2
    for words in commands:
        done = run_there(*(word.replace("s3://my-bucket", bucket.url()) for word in words[1:]))
        assert done.code == 0, (words, done.stderr)


def test_a_bucket_alone_is_no_place_for_an_output(run_there: Run, bucket: Bucket, dataset: Path) -> None:
    done = run_there("export", dataset, bucket.url(), *RULE)
    assert done.code == 2
    assert "it is a whole bucket" in done.result["error"]
