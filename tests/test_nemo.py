"""The calls of NeMo Curator's class, and everything that its files got wrong."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from webdataset.tariterators import group_by_keys, tar_file_expander

from shardwright import ImageTextPairDataset
from shardwright.errors import RequestError
from tests.builders import read_rows, read_samples, read_tar, sample_members, write_dataset, write_shard

pytestmark = pytest.mark.spark
REAL_SHARD = Path(__file__).parents[2] / "shared" / "data" / "nemo_00000.tar"


def reshard(root: Path, output: Path, **options: Any) -> dict[str, Any]:
    dataset = ImageTextPairDataset.from_webdataset(root, id_col="id")
    dataset.metadata["keep"] = True
    return dataset.to_webdataset(output, filter_column="keep", **options)


@pytest.fixture(autouse=True)
def _session(spark: SparkSession) -> None:
    """The class finds the session that is there."""
    assert SparkSession.getActiveSession() is spark


def test_the_four_examples_run_verbatim(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", samples=30, id_col="id")
    before = read_rows(root)
    source = read_samples(root)
    dataset = ImageTextPairDataset.from_webdataset(str(root), id_col="id")

    dataset.save_metadata()
    dataset.save_metadata(path=f"{tmp_path}/metadata", columns=["id", "aesthetic_score", "nsfw_score"])

    filtered_col = (dataset.metadata["aesthetic_score"] > 0.5) & (dataset.metadata["nsfw_score"] < 0.2)
    dataset.metadata["keep"] = filtered_col
    dataset.to_webdataset(path=f"{tmp_path}/filtered", filter_column="keep",
                          samples_per_shard=10000, max_shards=5)  # fmt: skip

    dataset.metadata["keep"] = True
    dataset.to_webdataset(path=f"{tmp_path}/resharded", filter_column="keep",
                          samples_per_shard=20000, max_shards=6)  # fmt: skip

    assert read_rows(root) == before
    names = ["id", "aesthetic_score", "nsfw_score"]
    assert read_rows(tmp_path / "metadata") == [{name: row[name] for name in names} for row in before]
    kept = sorted(row["id"] for row in before if row["aesthetic_score"] > 0.5 and row["nsfw_score"] < 0.2)
    filtered = read_rows(tmp_path / "filtered")
    assert [row["source_key"] for row in filtered] == kept
    assert [row["id"] for row in filtered] == [f"{number:09d}" for number in range(len(kept))]
    assert list(filtered[0]) == [*before[0], "keep", "source_key", "source_shard"]
    resharded = read_rows(tmp_path / "resharded")
    assert [row["id"] for row in resharded] == [f"{number:011d}" for number in range(90)]
    assert [row["source_key"] for row in resharded] == sorted(source)
    assert sorted(path.name for path in (tmp_path / "resharded").iterdir()) == [
        "000000.parquet",
        "000000.tar",
        "manifest.json",
    ]
    for row, (key, members) in zip(resharded, read_samples(tmp_path / "resharded").items(), strict=True):
        old = source[row["source_key"]]
        assert key == row["id"]
        assert (members["jpg"], members["txt"]) == (old["jpg"], old["txt"])
        assert json.loads(members["json"]) == {**json.loads(old["json"]), "id": key}


def test_metadata_is_read_and_assigned_by_column(tmp_path: Path) -> None:
    members = [member for key in "abc" for member in sample_members(key)]
    rows = pa.table({"key": list("abc"), "score": [0.9, float("nan"), 0.1], "n": pa.array([1, 2, 3], pa.uint8())})
    write_shard(tmp_path / "data", "s", members, rows)
    dataset = ImageTextPairDataset.from_webdataset(tmp_path / "data")
    assert (dataset.id_col, dataset.metadata.columns) == ("key", ["key", "score", "n"])
    with pytest.raises(KeyError, match=r"no column 'scor'\. Did you mean 'score'"):
        dataset.metadata["scor"]
    with pytest.raises(RequestError, match="it is the id column"):
        dataset.metadata["key"] = "x"
    dataset.metadata["double"] = dataset.metadata["score"] * 2
    dataset.metadata["keep"] = dataset.metadata["double"] > 0
    dataset.metadata["n"] = dataset.metadata["n"] + 1
    dataset.metadata["name"] = "all"
    assert dataset.metadata.columns == ["key", "score", "n", "double", "keep", "name"]
    raw = {row["key"]: row.asDict() for row in dataset.metadata.df.collect()}
    assert str(raw["b"]["score"]) == "nan"
    assert raw["b"]["keep"] is None
    assert [raw[key]["n"] for key in "abc"] == [2, 3, 4]
    result = dataset.to_webdataset(tmp_path / "out", filter_column="keep", old_id_col="old")
    assert (result["kept"], result["dropped"], result["drops"]) == (2, 1, {"keep": 1})
    found = read_rows(tmp_path / "out")
    assert [(row["old"], row["keep"], row["n"], row["name"]) for row in found] == [
        ("a", True, 2, "all"),
        ("c", True, 4, "all"),
    ]
    assert dataset.metadata.df.filter(F.isnan(dataset.metadata.df["score"])).count() == 1


# What that code gets wrong, one by one.


def test_json_inside_the_tar_carries_the_new_id(tmp_path: Path) -> None:
    payload = b'{ "caption":"x",  "id" : "a", "n": NaN }'
    write_shard(tmp_path / "data", "s", [("a.json", payload)], [{"id": "a"}])
    reshard(tmp_path / "data", tmp_path / "out")
    assert read_tar(tmp_path / "out" / "00000.tar") == [
        ("000000000.json", b'{ "caption":"x",  "id" : "000000000", "n": NaN }')
    ]


def test_a_shard_that_keeps_nothing_is_no_special_case(tmp_path: Path) -> None:
    for name, score in (("s0", 0.0), ("s1", 1.0), ("s2", 0.0)):
        write_shard(tmp_path / "data", name, sample_members(f"k{name}"), [{"id": f"k{name}", "score": score}])
    dataset = ImageTextPairDataset.from_webdataset(tmp_path / "data", id_col="id")
    dataset.metadata["keep"] = dataset.metadata["score"] > 0.5
    assert dataset.to_webdataset(tmp_path / "out", filter_column="keep")["exported"] == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000.parquet", "00000.tar", "manifest.json"]


def test_a_sample_without_caption_keeps_its_neighbours_right(tmp_path: Path) -> None:
    members = [*sample_members("a"), ("b.jpg", b"b"), *sample_members("c"), ("d.jpg", b"d"), ("d.txt", b"d")]
    write_shard(tmp_path / "data", "s", members, [{"id": key} for key in "dcba"])
    reshard(tmp_path / "data", tmp_path / "out")
    found = read_samples(tmp_path / "out")
    rows = read_rows(tmp_path / "out")
    assert [row["source_key"] for row in rows] == ["a", "b", "c", "d"]
    assert [sorted(found[row["id"]]) for row in rows] == [
        ["jpg", "json", "txt"],
        ["jpg"],
        ["jpg", "json", "txt"],
        ["jpg", "txt"],
    ]
    assert found[rows[2]["id"]]["txt"] == b"caption of c"
    assert found[rows[3]["id"]] == {"jpg": b"d", "txt": b"d"}


def test_members_are_told_apart_by_their_whole_ext(tmp_path: Path) -> None:
    members = [("x.seg.png", b"seg"), ("x.depth.png", b"depth")]
    write_shard(tmp_path / "data", "s", members, [{"id": "x"}])
    reshard(tmp_path / "data", tmp_path / "out")
    assert read_tar(tmp_path / "out" / "00000.tar") == [
        ("000000000.seg.png", b"seg"),
        ("000000000.depth.png", b"depth"),
    ]


def test_keys_need_not_be_integers(tmp_path: Path) -> None:
    keys = ["dir/käse 1", "7f3a", "a-b_c"]
    members = [(f"{key}.txt", key.encode()) for key in keys]
    write_shard(tmp_path / "data", "s", members, [{"id": key, "caption": key} for key in sorted(keys)])
    reshard(tmp_path / "data", tmp_path / "out")
    assert read_tar(tmp_path / "out" / "00000.tar") == [
        (f"00000000{number}.txt", key.encode()) for number, key in enumerate(keys)
    ]
    assert [(row["source_key"], row["caption"]) for row in read_rows(tmp_path / "out")] == [(key, key) for key in keys]


def test_rows_of_failed_downloads_need_no_sample(tmp_path: Path) -> None:
    status = {"b": "success", "lost": "failed_to_download", "a": "success", "late": "failed_to_resize"}
    write_shard(
        tmp_path / "data",
        "s",
        [*sample_members("a", id_col="id"), *sample_members("b", id_col="id")],
        [{"id": key, "status": value} for key, value in status.items()],
    )
    result = reshard(tmp_path / "data", tmp_path / "out")
    assert (result["exported"], result["unpaired_rows"]) == (2, {"failed_download": 2})
    rows = read_rows(tmp_path / "out")
    assert [(row["id"], row["source_key"], row["status"]) for row in rows] == [
        ("000000000", "a", "success"),
        ("000000001", "b", "success"),
    ]


def test_integer_ids_meet_their_names_whatever_their_order(tmp_path: Path) -> None:
    keys = ["10", "000000009", "0"]
    write_shard(tmp_path / "data", "s", [(f"{key}.txt", key.encode()) for key in keys], [{"id": n} for n in (0, 9, 10)])
    reshard(tmp_path / "data", tmp_path / "out", old_id_col="old")
    rows = read_rows(tmp_path / "out")
    assert [(row["source_key"], row["old"]) for row in rows] == [("10", 10), ("000000009", 9), ("0", 0)]
    assert [members["txt"].decode() for members in read_samples(tmp_path / "out").values()] == keys
    assert pq.read_schema(tmp_path / "out" / "00000.parquet").field("id").type == pa.string()


def test_too_few_digits_are_an_error_before_anything_is_written(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", 1, 11, id_col="id")
    with pytest.raises(RequestError, match="11 samples make 11 shards, 1 digits number 10"):
        reshard(root, tmp_path / "out", samples_per_shard=1, max_shards=1)
    assert not (tmp_path / "out").exists()
    reshard(root, tmp_path / "out", samples_per_shard=1, max_shards=2)
    assert [row["id"] for row in read_rows(tmp_path / "out")] == [f"{number:02d}" for number in range(11)]


def test_save_metadata_with_columns_and_no_path_keeps_every_other_column(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", 2, 4)
    before = read_rows(root)
    dataset = ImageTextPairDataset.from_webdataset(root)
    dataset.metadata["caption"] = F.upper(dataset.metadata["caption"])
    dataset.metadata["flag"] = dataset.metadata["aesthetic_score"] > 0.3
    dataset.metadata["unsaved"] = 1
    dataset.save_metadata(columns=["flag", "caption"])
    after = read_rows(root)
    assert after == [{**row, "caption": row["caption"].upper(), "flag": row["aesthetic_score"] > 0.3} for row in before]
    assert pq.read_schema(root / "00000.parquet").names == [*before[0], "flag"]
    # The dataset goes on with what stands in the files now, and with what was not saved.
    assert dataset.metadata.columns == [*before[0], "flag", "unsaved"]
    assert dataset.to_webdataset(tmp_path / "out", filter_column="flag")["kept"] == 4
    assert not [path for path in root.iterdir() if path.suffix not in (".tar", ".parquet")]


def test_the_real_shard_of_the_original_project_comes_out_right(tmp_path: Path) -> None:
    if not REAL_SHARD.exists():
        pytest.skip(f"{REAL_SHARD} is not at hand")
    root = tmp_path / "data"
    root.mkdir()
    (root / "00000.tar").write_bytes(REAL_SHARD.read_bytes())
    with tarfile.open(root / "00000.tar") as tar:
        info = next(info for info in tar if info.name.endswith(".json"))
        fields = json.load(tar.extractfile(info))  # type: ignore[arg-type]
    pq.write_table(pa.table({"id": [fields["id"]], "caption": [fields["caption"]]}), root / "00000.parquet")
    reshard(root, tmp_path / "out", samples_per_shard=10_000)
    source = {name.split(".")[1]: payload for name, payload in read_tar(root / "00000.tar")}
    with (tmp_path / "out" / "00000.tar").open("rb") as stream:
        (sample,) = group_by_keys(tar_file_expander([{"url": "out", "stream": stream}]))
    assert sample["__key__"] == "000000000"
    assert (sample["jpg"], sample["txt"]) == (source["jpg"], source["txt"])
    assert json.loads(sample["json"]) == {**fields, "id": "000000000"}
    assert read_rows(tmp_path / "out")[0]["caption"] == fields["caption"]
