"""save_metadata: to another folder, or back in place, and no column or row is ever lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from shardwright import ImageTextPairDataset
from shardwright.errors import RequestError, RunError
from tests.builders import NULL_VECTOR, read_rows, sample_members, tree_bytes, write_dataset, write_shard
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]
# Types that Parquet or Spark would not bring back by themselves, and an order that is not the tar's.
TYPED = pa.table(
    {
        "key": pa.array(["b", "lost", "a"], pa.large_string()),
        "status": ["success", "failed_to_download", "success"],
        "small": pa.array([1, None, 255], pa.uint8()),
        "label": pa.array(["x", None, "x"]).dictionary_encode(),
        "vector": pa.array([[1, 2], NULL_VECTOR, [3, 4]], pa.list_(pa.float32(), 2)),
        "at": pa.array([0, 1, None], pa.timestamp("ms")),
        "price": pa.array([None, None, None], pa.decimal128(5, 2)),
        "box": pa.array([{"x": 1, "y": 2}, None, {"x": 3, "y": None}], pa.struct({"x": pa.int16(), "y": pa.int32()})),
        "raw": pa.array([b"\x00", b"", None], pa.binary()),
        "score": [0.5, float("nan"), None],
    }
)


@pytest.fixture(autouse=True)
def _session(spark: SparkSession) -> None:
    """The class finds the session that is there."""
    assert SparkSession.getActiveSession() is spark


def typed_dataset(root: Path) -> ImageTextPairDataset:
    """Two shards of the same rows, and one without any."""
    for name in ("s1", "s 2%+é"):
        write_shard(root, name, [*sample_members("a"), *sample_members("b")], TYPED)
    write_shard(root, "none", [], TYPED.slice(0, 0))
    return ImageTextPairDataset.from_webdataset(root)


def same(found: pa.Table, expected: pa.Table) -> bool:
    """Compare tables, schemas included; NaN equals NaN."""
    return found.schema.equals(expected.schema) and repr(found.to_pylist()) == repr(expected.to_pylist())


def test_a_copy_has_a_file_for_each_sidecar_with_its_rows_order_and_types(tmp_path: Path) -> None:
    dataset = typed_dataset(tmp_path / "data")
    dataset.metadata["flag"] = dataset.metadata["score"] > 0
    result = dataset.save_metadata(path=tmp_path / "new" / "all")
    assert (result["shards"], result["rows"], result["output"]) == (3, 6, f"{tmp_path}/new/all")
    expected = TYPED.append_column("flag", pa.array([True, None, None]))
    copies = {path.name: pq.read_table(path) for path in (tmp_path / "new" / "all").iterdir()}
    assert sorted(copies) == ["none.parquet", "s 2%+é.parquet", "s1.parquet"]
    assert same(copies["s1.parquet"], expected)
    assert same(copies["s 2%+é.parquet"], expected)
    assert same(copies["none.parquet"], expected.slice(0, 0))

    some = tmp_path / "some"
    dataset.save_metadata(path=str(some), columns=["label", "flag", "vector", "label"])
    assert same(pq.read_table(some / "s1.parquet"), expected.select(["key", "label", "flag", "vector"]))
    dataset.save_metadata(path=some, columns=("flag", "key"))
    assert same(pq.read_table(some / "s1.parquet"), expected.select(["flag", "key"]))
    first = tree_bytes(some)
    dataset.save_metadata(path=some, columns=["flag", "key"])
    assert tree_bytes(some) == first


def test_in_place_all_columns_are_written_and_the_tars_are_not_touched(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset = typed_dataset(root)
    tars = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.glob("*.tar")}
    with (root / "s1.parquet").open("rb") as opened_before:
        dataset.metadata["small"] = dataset.metadata["small"] * 2
        dataset.metadata["flag"] = True
        dataset.save_metadata()
        # Who had the file open goes on reading the old one: it was replaced, not written over.
        assert same(pq.read_table(opened_before), TYPED)
    place = TYPED.schema.get_field_index("small")
    doubled = TYPED.set_column(place, "small", pa.array([2, None, 510], pa.int32()))
    expected = doubled.append_column("flag", pa.array([True] * 3))
    assert same(pq.read_table(root / "s1.parquet"), expected)
    assert same(pq.read_table(root / "s 2%+é.parquet"), expected)
    # A second call has nothing to do twice.
    dataset.save_metadata()
    assert same(pq.read_table(root / "s1.parquet"), expected)
    assert dataset.metadata.columns == expected.column_names
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.glob("*.tar")} == tars
    assert sorted(path.name for path in root.iterdir()) == [
        f"{stem}.{suffix}" for stem in ("none", "s 2%+é", "s1") for suffix in ("parquet", "tar")
    ]


def test_in_place_with_columns_no_other_column_is_lost_or_changed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset = typed_dataset(root)
    dataset.metadata["unsaved"] = dataset.metadata["small"] + 1
    dataset.metadata["label"] = "changed, but not saved"
    dataset.metadata["flag"] = dataset.metadata["unsaved"] > 2
    dataset.save_metadata(columns=["flag", "raw"])
    expected = TYPED.append_column("flag", pa.array([False, None, True]))
    assert same(pq.read_table(root / "s1.parquet"), expected)
    assert same(pq.read_table(root / "s 2%+é.parquet"), expected)
    # The dataset itself goes on with what was assigned and not saved.
    assert dataset.metadata.columns == [*TYPED.column_names, "flag", "unsaved"]
    rows = dataset.metadata.df.filter("key = 'a'").select("label", "unsaved", "flag").distinct().collect()
    assert [tuple(row) for row in rows] == [("changed, but not saved", 256, True)]


def test_in_place_no_sidecar_is_replaced_unless_all_can_be(tmp_path: Path) -> None:
    # Doubled values can't be told from single ones: a run that failed half-way could never be repeated.
    root = tmp_path / "data"
    long = "z" * 245  # its temporary name is longer than a file system allows
    for name, key in (("s1", "a"), (long, "b")):
        write_shard(root, name, sample_members(key), [{"key": key, "n": 1}])
    before = tree_bytes(root)
    dataset = ImageTextPairDataset.from_webdataset(root)
    dataset.metadata["n"] = dataset.metadata["n"] * 2
    with pytest.raises(RunError, match="File name too long"):
        dataset.save_metadata()
    assert tree_bytes(root) == before
    assert len(list(root.iterdir())) == 4
    for suffix in ("tar", "parquet"):
        (root / f"{long}.{suffix}").rename(root / f"s2.{suffix}")
    again = ImageTextPairDataset.from_webdataset(root)
    again.metadata["n"] = again.metadata["n"] * 2
    again.save_metadata()
    assert sorted((row["key"], row["n"]) for row in read_rows(root)) == [("a", 2), ("b", 2)]


def test_in_place_what_an_unsaved_column_rests_on_is_not_replaced(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", 1, 2)
    before = tree_bytes(root)
    dataset = ImageTextPairDataset.from_webdataset(root)
    dataset.metadata["double"] = dataset.metadata["nsfw_score"] * 2
    dataset.metadata["nsfw_score"] = 1 - dataset.metadata["nsfw_score"]
    with pytest.raises(RequestError, match="'double' was computed from 'nsfw_score' before that was assigned anew"):
        dataset.save_metadata(columns=["nsfw_score"])
    assert tree_bytes(root) == before
    shown = {row["key"]: row.asDict() for row in dataset.metadata.df.collect()}
    dataset.save_metadata(columns=["nsfw_score", "double"])
    assert {row["key"]: row for row in read_rows(root)} == shown


@pytest.mark.classic("columns of a frame belong to it alone")
def test_in_place_nothing_is_replaced_that_an_unsaved_column_of_a_frame_rests_on(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", 1, 2)
    before = tree_bytes(root)
    dataset = ImageTextPairDataset.from_webdataset(root)
    dataset.metadata["by_frame"] = dataset.metadata.df["nsfw_score"] > 0
    dataset.metadata["one"] = 1
    with pytest.raises(RequestError, match="'by_frame' was assigned from columns of a DataFrame"):
        dataset.save_metadata(columns=["one"])
    assert tree_bytes(root) == before


def test_files_of_dask_and_pandas_are_read_by_pandas_afterwards(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["b", "a"], "score": [1.0, 2.0]}, index=pd.Index([7, 8], name="__null_dask_index__"))
    write_shard(tmp_path / "data", "00000", [*sample_members("a"), *sample_members("b")], pa.Table.from_pandas(frame))
    dataset = ImageTextPairDataset.from_webdataset(tmp_path / "data")
    assert dataset.metadata.columns == ["id", "score"]
    dataset.metadata["keep"] = dataset.metadata["score"] > 1
    dataset.save_metadata(path=tmp_path / "some", columns=["keep"])
    found = pd.read_parquet(tmp_path / "some")
    assert found.to_dict("list") == {"id": ["b", "a"], "keep": [False, True]}
    dataset.save_metadata()
    found = pd.read_parquet(tmp_path / "data" / "00000.parquet")
    assert found.to_dict("list") == {"id": ["b", "a"], "score": [1.0, 2.0], "keep": [False, True]}
    assert (found.index.name, list(found.index)) == ("__null_dask_index__", [7, 8])


def test_a_saved_copy_is_a_snapshot(run: Run, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", 2, 3, id_col="id")
    meta = tmp_path / "meta"
    done = run("save-metadata", root, meta, "--columns", "nsfw_score, caption")
    assert done.code == 0, done.stderr
    assert {name: done.result[name] for name in ("output", "tables", "shards", "rows")} == {
        "output": str(meta),
        "tables": f"{root}_tables",
        "shards": 2,
        "rows": 6,
    }
    assert done.result["bytes"] == sum(path.stat().st_size for path in meta.iterdir())
    names = ["id", "nsfw_score", "caption"]
    assert pq.read_schema(meta / "00000.parquet").names == names
    assert read_rows(meta) == [{name: row[name] for name in names} for row in read_rows(root)]
    (row,) = DeltaTable(f"{root}_tables/snapshots").to_pyarrow_table().to_pylist()
    recorded = ("snapshot_id", "operation", "dataset_root", "output_root")
    assert [row[name] for name in recorded] == [done.result["snapshot_id"], "save-metadata", str(root), str(meta)]
    assert json.loads(row["settings"]) == {"assigned": [], "columns": ["nsfw_score", "caption"], "path": str(meta)}
    assert run("save-metadata", root, meta, "--columns", "nsfw_score,caption").code == 0
    (newest, _) = run("history", f"{root}_tables").result["snapshots"]
    assert newest["operation"] == "save-metadata"


def test_what_can_not_be_saved_is_refused_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", 1, 2)
    before = tree_bytes(root)
    dataset = ImageTextPairDataset.from_webdataset(root)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "theirs.parquet").write_bytes(b"")
    wrong_columns: Any = "caption"
    for path, columns, message in [
        (None, ["captoin"], "no column 'captoin'. Did you mean 'caption'"),
        (tmp_path / "meta", ["captoin"], "no column 'captoin'. Did you mean 'caption'"),
        (tmp_path / "meta", wrong_columns, r"it is the text 'caption'. Pass a list, \['caption'\]"),
        (tmp_path / "full", None, r"the folder holds other files \(theirs.parquet\)"),
        (root, None, "it is the dataset itself. Leave the path out"),
        ("https://host/meta", None, "web servers are only read from"),
    ]:
        with pytest.raises(RequestError, match=message):
            dataset.save_metadata(path, columns)
    requests: list[tuple[list[object], str]] = [
        ([root], "no PATH was given, and there is nothing new to write"),
        ([root, tmp_path / "meta", "--columns", "captoin"], "no column 'captoin'. Did you mean 'caption'"),
        ([root, tmp_path / "meta", "--id-col", "nope"], "no column 'nope' that could hold the key"),
        ([tmp_path / "nope", tmp_path / "meta"], "no such folder"),
    ]
    for words, message in requests:
        done = run("save-metadata", *words)
        assert (done.code, message in done.result["error"]) == (2, True), done.result
    assert tree_bytes(root) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "full"]


def test_a_save_in_place_that_is_cut_off_is_completed_by_whoever_opens_the_dataset_next(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", 3, 4)
    before = [row["aesthetic_score"] for row in read_rows(data)]
    dataset = ImageTextPairDataset.from_webdataset(data, spark=spark)
    dataset.metadata["aesthetic_score"] = dataset.metadata["aesthetic_score"] * 2
    replace, calls = os.replace, count()

    def replace_once(source: str, target: str) -> None:
        if Path(target).parent == data and next(calls):
            raise OSError(5, "the disk went away", target)
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace_once)
        with pytest.raises(OSError, match="went away"):
            dataset.save_metadata()
    assert [row["aesthetic_score"] for row in read_rows(data)] != [value * 2 for value in before]
    ImageTextPairDataset.from_webdataset(data, spark=spark)
    assert [row["aesthetic_score"] for row in read_rows(data)] == [value * 2 for value in before]
    assert not [path for path in data.iterdir() if path.name.startswith(".")]


def test_a_copy_is_refused_before_anything_is_written_where_its_record_cannot_be(
    tmp_path: Path, spark: SparkSession
) -> None:
    data = write_dataset(tmp_path / "data", 1, 4)
    before = tree_bytes(data)
    dataset = ImageTextPairDataset.from_webdataset(data, spark=spark, tables=str(data / "tables"))
    dataset.metadata["new"] = 1
    with pytest.raises(RequestError, match="share a folder with the shards"):
        dataset.save_metadata()
    assert tree_bytes(data) == before
