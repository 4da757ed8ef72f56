"""The class: metadata that is read and assigned by column, on the caller's own session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

from shardwright import ImageTextPairDataset
from shardwright.errors import RequestError, RunError
from tests.builders import read_rows, sample_members, write_dataset, write_shard

pytestmark = pytest.mark.spark
NAN = float("nan")
MEMBERS = [member for key in "abc" for member in sample_members(key)]


@pytest.fixture(autouse=True)
def _session(spark: SparkSession) -> None:
    """The class finds the session that is there."""
    assert SparkSession.getActiveSession() is spark


@pytest.fixture
def scored(tmp_path: Path) -> ImageTextPairDataset:
    """Three samples; the second has no score."""
    rows = pa.table(
        {
            "key": ["c", "a", "b"],
            "score": [0.1, 0.9, NAN],
            "small": pa.array([0.1, 0.9, NAN], pa.float32()),
            "count": pa.array([3, 1, 2], pa.uint8()),
            "tags": [["x"], [], ["x", "y"]],
        }
    )
    write_shard(tmp_path / "data", "s", MEMBERS, rows)
    return ImageTextPairDataset.from_webdataset(tmp_path / "data")


def values(dataset: ImageTextPairDataset, *names: str) -> list[Any]:
    """Give columns' values for the keys in order; NaN as text, so that it equals itself."""
    rows = dataset.metadata.df.orderBy("key").select(*names).collect()
    found = [tuple("nan" if value != value else value for value in row) for row in rows]
    return [row[0] for row in found] if len(names) == 1 else found


def test_nan_counts_as_null_in_an_expression_and_stays_in_the_frame(scored: ImageTextPairDataset) -> None:
    metadata = scored.metadata
    metadata["more"] = metadata["score"] > 0.5
    metadata["less"] = metadata["score"] < 0.5
    metadata["small_more"] = metadata["small"] >= 0.5
    metadata["not_less"] = ~(metadata["score"] < 0.5)
    metadata["either"] = (metadata["score"] > 0.5) | (metadata["count"] == 2)
    metadata["both"] = (metadata["score"] > 0.5) & metadata["count"].isin(1, 2)
    names = ("more", "less", "small_more", "not_less", "either", "both")
    assert values(scored, *names) == [
        (True, False, True, True, True, True),
        (None, None, None, None, True, None),
        (False, True, False, False, False, False),
    ]
    assert values(scored, "score") == [0.9, "nan", 0.1]
    # A name gives the values as they are.
    metadata["by_name"] = F.isnan("score")
    assert values(scored, "by_name") == [False, True, False]


@pytest.mark.classic("its columns are compared with no scalar of NumPy, and those of a frame belong to it alone")
def test_scalars_of_numpy_are_compared_and_columns_of_the_frame_assigned(scored: ImageTextPairDataset) -> None:
    metadata = scored.metadata
    metadata["small_more"] = metadata["small"] >= np.float32(0.5)
    metadata["by_frame"] = F.isnan(metadata.df["score"])
    assert values(scored, "small_more", "by_frame") == [(True, False), (None, True), (False, False)]


def test_values_and_functions_of_spark_are_assigned(scored: ImageTextPairDataset) -> None:
    metadata = scored.metadata
    given: dict[str, Any] = {
        "flag": True,
        "whole": 7,
        "real": 1.5,
        "text": "all",
        "none": None,
        "numpy_flag": np.bool_(False),
        "numpy_real": np.float64(2.5),
        "numpy_whole": np.int64(3),
    }
    for name, value in given.items():
        metadata[name] = value
    assert [row.asDict() for row in metadata.df.select(*given).collect()] == [given] * 3
    metadata["grade"] = F.when(metadata["score"] > 0.5, "good").when(metadata["score"] <= 0.5, "poor").otherwise("none")
    metadata["tagged"] = F.size(metadata["tags"]) > 0
    metadata["last"] = F.try_element_at(metadata["tags"], F.lit(-1))
    metadata["rank"] = F.row_number().over(Window.orderBy(metadata["count"].desc()))
    assert values(scored, "grade", "tagged", "last", "rank") == [
        ("good", False, None, 3),
        ("none", True, "y", 2),
        ("poor", True, "x", 1),
    ]


def test_an_assignment_sees_what_was_assigned_before_it_and_nothing_later(scored: ImageTextPairDataset) -> None:
    metadata = scored.metadata
    metadata["a"] = metadata["count"] * 2
    metadata["b"] = metadata["a"] + 1
    metadata["a"] = metadata["a"] * 10
    metadata["count"] = 0
    assert values(scored, "a", "b", "count") == [(20, 3, 0), (40, 5, 0), (60, 7, 0)]
    assert metadata.columns == ["key", "score", "small", "count", "tags", "a", "b"]
    assert ("a" in metadata, "A" in metadata, "c" in metadata) == (True, False, False)


def test_columns_keep_their_names_whatever_they_hold(scored: ImageTextPairDataset, tmp_path: Path) -> None:
    # Names that SQL would take apart, and names of columns that the export adds on its way.
    names = ["a.b c", "tick`s", "rank", "source_position", "row_drop_reason", "failed", "position", "samples", "0"]
    for number, name in enumerate(names):
        scored.metadata[name] = scored.metadata["count"] + number
    scored.metadata["keep"] = scored.metadata["a.b c"] < 3
    scored.to_webdataset(tmp_path / "out", filter_column="keep")
    found = read_rows(tmp_path / "out")
    assert list(found[0]) == ["key", "score", "small", "count", "tags", *names, "keep", "source_key", "source_shard"]
    assert [(row["source_key"], *(row[name] for name in names)) for row in found] == [
        ("a", *range(1, 10)),
        ("b", *range(2, 11)),
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("key", "x", "it is the id column"),
        ("KEY", "x", "a column is named 'key', which differs in case alone"),
        ("Score", 1, "a column is named 'score', which differs in case alone"),
        ("per_row", [1, 2, 3], "a list holds many values, and rows are in no order"),
        ("per_row", np.array([1, 2, 3]), "a ndarray holds many values"),
        ("per_row", pa.array([1, 2, 3]), "a Int64Array holds many values"),
        ("per_row", {"a": 1}, "a dict holds many values"),
    ],
)
def test_what_can_not_be_assigned_is_refused(scored: ImageTextPairDataset, name: str, value: Any, message: str) -> None:
    before = scored.metadata.columns
    with pytest.raises(RequestError, match=message):
        scored.metadata[name] = value
    assert scored.metadata.columns == before


def test_an_unknown_column_is_a_key_error_with_the_nearest_names(scored: ImageTextPairDataset, tmp_path: Path) -> None:
    for name, hint in [("scores", "Did you mean 'score'"), ("SCORE", "Known: count, key, score"), ("x", "Known: ")]:
        with pytest.raises(KeyError, match=rf"no column '{name}'\. {hint}"):
            scored.metadata[name]
    scored.metadata["keep"] = True
    with pytest.raises(RequestError, match=r"no column 'kept' in the metadata\. Did you mean 'keep'"):
        scored.to_webdataset(tmp_path / "out", filter_column="kept")


def test_two_datasets_at_once_do_not_mix(tmp_path: Path) -> None:
    for name, score in (("one", 1.0), ("two", 2.0)):
        write_shard(tmp_path / name, "s", sample_members("a"), [{"key": "a", "score": score}])
    one, two = (ImageTextPairDataset.from_webdataset(tmp_path / name) for name in ("one", "two"))
    one.metadata["double"] = one.metadata["score"] * 2
    two.metadata["half"] = two.metadata["score"] / 2
    one.metadata["keep"] = one.metadata["double"] == 2
    assert [row.asDict() for row in one.metadata.df.collect()] == [
        {"key": "a", "score": 1.0, "double": 2.0, "keep": True}
    ]
    assert [row.asDict() for row in two.metadata.df.collect()] == [{"key": "a", "score": 2.0, "half": 1.0}]


THEIRS = {
    "spark.sql.ansi.enabled": "false",
    "spark.sql.session.timeZone": "America/New_York",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "123",
}


@pytest.fixture
def their_session(spark: SparkSession) -> Iterator[SparkSession]:
    """A caller's session, with settings that are not ours."""
    before = {name: spark.conf.get(name) or "" for name in THEIRS}
    for name, value in THEIRS.items():
        spark.conf.set(name, value)
    yield spark
    for name, value in before.items():
        spark.conf.set(name, value)


@pytest.mark.classic("expressions are resolved when they are computed, under our settings")
def test_a_caller_s_settings_hold_for_their_expressions_and_are_restored(
    their_session: SparkSession, tmp_path: Path
) -> None:
    table = pa.table({"key": ["a"], "at": pa.array([86_400_000_000], pa.timestamp("us", "UTC")), "text": ["x"]})
    write_shard(tmp_path / "data", "s", sample_members("a"), table)

    def settings() -> dict[str, str | None]:
        return {name: their_session.conf.get(name) for name in THEIRS}

    dataset = ImageTextPairDataset.from_webdataset(tmp_path / "data", spark=their_session)
    assert settings() == THEIRS
    dataset.metadata["hour"] = F.hour(dataset.metadata["at"])
    dataset.metadata["number"] = dataset.metadata["text"].cast("int")
    dataset.save_metadata(tmp_path / "meta")
    assert settings() == THEIRS
    # The file has what the frame shows: the hour in New York, and null for what is no number.
    (shown,) = dataset.metadata.df.collect()
    saved = pq.read_table(tmp_path / "meta" / "s.parquet")
    assert (shown["hour"], shown["number"]) == (19, None)
    assert saved.select(["hour", "number"]).to_pylist() == [{"hour": 19, "number": None}]
    assert saved.select(table.column_names).equals(table)
    dataset.metadata["never"] = F.raise_error(F.lit("it can't be computed"))
    with pytest.raises(RunError, match="it can't be computed"):
        dataset.save_metadata(tmp_path / "bad")
    assert settings() == THEIRS


def test_flags_may_be_numbers_and_null_or_nan_drop(scored: ImageTextPairDataset, tmp_path: Path) -> None:
    flags = {
        "whole": F.when(scored.metadata["count"] < 3, 1).when(scored.metadata["count"] == 3, 0),
        "real": F.when(F.isnan("score"), F.lit(NAN)).otherwise(1.0),
        "none": F.when(scored.metadata["count"] == 1, True),
    }
    for name, flag in flags.items():
        scored.metadata[name] = flag
    kept = [scored.to_webdataset(tmp_path / "out", filter_column=name, dry_run=True)["kept"] for name in flags]
    assert kept == [2, 2, 1]
    assert not (tmp_path / "out").exists()


def test_an_output_is_scored_saved_and_exported_again(tmp_path: Path) -> None:
    dataset = ImageTextPairDataset.from_webdataset(write_dataset(tmp_path / "data", 2, 3))
    dataset.metadata["keep"] = dataset.metadata["aesthetic_score"] > 0
    dataset.to_webdataset(tmp_path / "first", filter_column="keep")
    first = ImageTextPairDataset.from_webdataset(tmp_path / "first")
    first.metadata["sharp"] = first.metadata["nsfw_score"] < 0.5
    first.save_metadata()
    # What was saved in place still is an output of ours: its source columns are replaced, not refused.
    again = ImageTextPairDataset.from_webdataset(tmp_path / "first")
    again.to_webdataset(tmp_path / "second", filter_column="sharp", samples_per_shard=1)
    names = ("key", "source_key", "source_shard", "caption")
    assert [tuple(row[name] for name in names) for row in read_rows(tmp_path / "second")] == [
        ("00000", "000000000", "00000.tar", "caption of 000000001"),
        ("00001", "000000002", "00000.tar", "caption of 000010001"),
    ]
    again.save_metadata(tmp_path / "copy", columns=["sharp"])
    assert b"shardwright" not in pq.read_metadata(tmp_path / "copy" / "00000.parquet").metadata


def test_opening_needs_a_folder_sidecars_and_an_id_column(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", 1, 2, id_col="id")
    assert ImageTextPairDataset.from_webdataset(f"file://{root}").id_col == "id"
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "0.tar").write_bytes((root / "00000.tar").read_bytes())
    for path, id_col, message in [
        (root, "key", r"no column 'key' that could hold the key\. Pass --id-col\. Known: aesthetic_score, caption"),
        (root, "aesthetic_score", "column 'aesthetic_score' is double, keys are compared as text"),
        (tmp_path / "bare", None, "no shard has a sidecar, the class needs one"),
        (tmp_path / "nope", None, "no such folder"),
        (root / "00000.tar", None, "no such folder"),
    ]:
        with pytest.raises(RequestError, match=message):
            ImageTextPairDataset.from_webdataset(path, id_col=id_col)
