"""Rules that people write: what runs on a GPU, what warns, and what the functions' twins are for."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from shardwright.config import Selection, SourceSettings
from shardwright.metadata import load_metadata, require_selection
from shardwright.store.dataset import list_dataset
from tests.builders import write_dataset
from tests.gpu_plan.gate import ask
from tests.gpu_plan.sql_functions import EXPRESSIONS, HEADER, table, write_rows

pytestmark = [pytest.mark.spark, pytest.mark.gpu_plan]
README = Path(__file__).parents[2] / "README.md"
_TWINS = EXPRESSIONS["functions of the jar"].values()


@pytest.fixture
def rows(spark: SparkSession, tmp_path: Path) -> DataFrame:
    write_rows(tmp_path / "rows.parquet")
    return spark.read.parquet(str(tmp_path / "rows.parquet"))


def runs(frame: DataFrame, expression: str) -> bool:
    return not ask(frame.selectExpr(f"{expression} AS value"))


def test_readme_says_which_functions_run_on_a_gpu(rows: DataFrame, request: pytest.FixtureRequest) -> None:
    expected = "\n".join(table(lambda expression: runs(rows, expression)))
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(HEADER)}\n(?:\|.*\n)*", text, re.MULTILINE)
    assert found is not None
    if request.config.getoption("--write-readme"):
        README.write_text(text.replace(found[0], f"{expected}\n"), encoding="utf-8")
        return
    assert found[0].strip() == expected, "the planner says otherwise; write it anew: make gpu-plan ARGS=--write-readme"


def _warnings(spark: SparkSession, folder: Path, rules: dict[str, str], log: pytest.LogCaptureFixture) -> list[str]:
    data = write_dataset(folder / "data", 1)
    metadata = load_metadata(spark, list_dataset(str(data)), SourceSettings(str(data)), "a rule")
    with log.at_level(logging.WARNING, "shardwright"):
        require_selection(metadata, Selection(rules))
    return [record.getMessage() for record in log.records if record.levelno == logging.WARNING]


def test_a_rule_that_leaves_the_gpu_is_named(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    near = "aggregate(zip_with(embedding, embedding, (x, y) -> x * y), 0D, (total, x) -> total + x) > 0.5"
    rules = {"clean": "aesthetic_score > 0.5 AND length(caption) > 3", "near": near}
    lines = _warnings(spark, tmp_path, rules, caplog)
    assert len(lines) == 1
    assert lines[0].startswith("rule 'near': zip_with(")
    assert "cannot run on GPU because" in lines[0]
    assert "This runs on the CPU; the README lists" in lines[0]
    assert spark.conf.get("spark.rapids.sql.enabled") == "true"


def test_nothing_is_said_where_plans_are_not_for_a_gpu(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spark.conf.set("spark.rapids.sql.enabled", "false")
    try:
        assert _warnings(spark, tmp_path, {"far": "levenshtein(caption, key) > 3"}, caplog) == []
    finally:
        spark.conf.set("spark.rapids.sql.enabled", "true")


@pytest.fixture
def without_twins(spark: SparkSession, rows: DataFrame) -> DataFrame:
    """The rows in a session whose functions are Catalyst expressions, as where no plan is for a GPU."""
    session = spark.newSession()
    udfs = spark._jvm.shardwright.udfs  # type: ignore[union-attr]  # noqa: SLF001 - what Extensions does there
    calls, functions = (getattr(getattr(udfs, name), "MODULE$") for name in ("ExpressionCalls$", "Functions$"))
    registry = session._jsparkSession.sessionState().functionRegistry()  # noqa: SLF001
    described = functions.all(calls)
    for place in range(described.size()):
        name, info, build = (described.apply(place).productElement(part) for part in range(3))
        registry.registerFunction(name, info, build)
    return session.read.parquet(*rows.inputFiles())


def test_functions_run_on_a_gpu_by_their_twins_alone(rows: DataFrame, without_twins: DataFrame) -> None:
    assert [expression for expression in _TWINS if not runs(rows, expression)] == []
    assert [expression for expression in _TWINS if runs(without_twins, expression)] == []
    # The distance of integers is made of Spark's own functions.
    assert runs(rows, "hamming_distance(n, 5)")
    assert runs(without_twins, "hamming_distance(n, 5)")


def test_a_class_without_a_twin_is_refused(spark: SparkSession, rows: DataFrame) -> None:
    spark.udf.registerJavaFunction("class_norm", "shardwright.udfs.L2Norm", "double")
    assert not runs(rows, "class_norm(CAST(embedding AS array<double>))")
    spark.sql("DROP TEMPORARY FUNCTION class_norm")
