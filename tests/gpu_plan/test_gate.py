"""The gate fails where it has to: planted refusals, and refusals that are reviewed for others alone."""

from __future__ import annotations

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.gpu_plan.gate import Refusal, ask

pytestmark = [pytest.mark.spark, pytest.mark.gpu_plan]


def names_refused(frame: DataFrame) -> set[str]:
    return {refusal.name for refusal in ask(frame) if refusal.reviewed is None}


def rows(spark: SparkSession) -> DataFrame:
    return spark.range(9).select("id", F.array("id", "id").alias("many"))


def test_a_plan_of_native_columns_passes(spark: SparkSession) -> None:
    assert names_refused(rows(spark).filter("id > 2").groupBy("id").count()) == set()


def test_zip_with_is_refused(spark: SparkSession) -> None:
    assert "ZipWith" in names_refused(rows(spark).select(F.expr("zip_with(many, many, (a, b) -> a + b)")))


def test_a_python_function_is_refused(spark: SparkSession) -> None:
    plus_one = F.udf(lambda value: value + 1, "bigint")  # noqa: TID251 - what nobody may use here
    assert names_refused(rows(spark).select(plus_one("id"))) & {"PythonUDF", "BatchEvalPythonExec"}


def test_what_is_reviewed_for_one_verb_is_refused_to_others() -> None:
    text = "cannot run on GPU because hidden metadata columns are not supported on GPU"
    assert Refusal("FileSourceScanExec", text, frozenset({"save_metadata.py"})).reviewed is not None
    assert Refusal("FileSourceScanExec", text, frozenset({"export.py"})).reviewed is None
