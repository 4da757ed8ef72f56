"""The files of conf/ that spark-submit takes."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from shardwright.store.local import spark_properties

_CONF = Path(str(resources.files("shardwright") / "conf"))
_FILES = sorted(path.name for path in _CONF.glob("*.conf"))
_OF_DELTA = {"spark.sql.extensions", "spark.sql.catalog.spark_catalog"}


def settings(name: str) -> dict[str, str]:
    return dict(spark_properties((_CONF / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", _FILES)
def test_every_setting_stands_once_and_says_why(name: str) -> None:
    lines = (_CONF / name).read_text(encoding="utf-8").splitlines()
    unexplained = [
        line for above, line in zip(["", *lines], lines, strict=False) if line[:1] not in ("#", "") and above[:1] != "#"
    ]
    assert unexplained == []
    assert len(settings(name)) == sum(line[:1] not in ("#", "") for line in lines)


@pytest.mark.parametrize("name", ["rapids.conf", "emr.conf"])
def test_a_file_for_a_cluster_needs_no_other(name: str) -> None:
    here, everywhere = settings(name), settings("spark.conf")
    extensions = here.pop("spark.sql.extensions").split(",")
    assert extensions[0] == everywhere.pop("spark.sql.extensions")
    assert everywhere.items() <= here.items()


def test_databricks_brings_delta_itself() -> None:
    everywhere = {name: value for name, value in settings("spark.conf").items() if name not in _OF_DELTA}
    assert settings("databricks.conf") == everywhere


@pytest.mark.spark
@pytest.mark.parametrize("name", _FILES)
def test_spark_reads_the_files_as_we_do(spark: SparkSession, name: str) -> None:
    utils = spark._jvm.org.apache.spark.util.Utils  # type: ignore[union-attr]  # noqa: SLF001 - spark-submit's
    read = utils.getPropertiesFromFile(str(_CONF / name))
    found = dict(str(pair)[1:-1].split(",", 1) for pair in map(read.toList().apply, range(read.size())))
    assert found == settings(name)
