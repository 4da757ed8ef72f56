"""What an expression depends on, and how it is written down: Spark's plans tell, and Spark Connect's in another way."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import pyspark
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame, SparkSession

_SPARK_3 = pyspark.__version__.startswith("3.")
# What a plan calls the time and the user.
_CURRENT = re.compile(
    r"\b(now|localtimestamp|current_(timestamp|date|time|timezone|user|database|schema|catalog))\(", re.IGNORECASE
)
# The names that Spark gives the variables of a Python lambda, where they are no columns.
_VARIABLE = re.compile(r"\blambda '([xyz]_\d+)\b")


def is_repeatable(frame: DataFrame) -> bool:
    """Tell whether a frame has the same values each time it is computed."""
    classic: Any = frame
    try:
        plans = classic._jdf.queryExecution()  # noqa: SLF001 - said nowhere else
    except (AttributeError, PySparkException):
        return _is_repeatable_remotely(frame)
    # Spark holds the time to be the same within one query, and an export runs several.
    patterns = classic.sparkSession._jvm.org.apache.spark.sql.catalyst.trees.TreePattern  # noqa: SLF001
    if plans.analyzed().containsPattern(patterns.CURRENT_LIKE()):
        return False
    # Optimized, a plan has lost the columns that were assigned anew; that takes time, and few need it.
    return bool(plans.analyzed().deterministic() or plans.optimizedPlan().deterministic())


def _is_repeatable_remotely(frame: DataFrame) -> bool:
    """Ask Spark Connect, which shows no plan: what a lateral join repeats for each row must not change between them."""
    if _CURRENT.search(explained(frame)):
        return False
    view = f"shardwright_{os.urandom(4).hex()}"
    frame.createOrReplaceTempView(view)
    try:
        joined = frame.sparkSession.sql(f"SELECT 1 FROM range(2), LATERAL (SELECT * FROM {view})")
        joined.schema  # noqa: B018 - analysed now
    except AnalysisException as error:
        if "NON_DETERMINISTIC_LATERAL" in str(error):
            return False
        raise
    finally:
        frame.sparkSession.catalog.dropTempView(view)
    return True


def explained(frame: DataFrame) -> str:
    """Give a frame's plans as text; no job runs."""
    with redirect_stdout(io.StringIO()) as text:
        frame.explain(extended=True)
    return text.getvalue()


def expression_text(value: Column, spark: SparkSession) -> str:
    """Write an expression so that two which differ are written differently, and one alike in every process."""
    tree: Any = value
    session: Any = spark
    if not hasattr(tree, "_jc"):
        message = tree._expr.to_plan(session.client)  # noqa: SLF001 - said nowhere else
        _forget_places(message)
        return " ".join(str(message).split())
    # A column's own text has no quotes around text before Spark 4, and from then on arrays by their address.
    expression = tree._jc.expr() if _SPARK_3 else session._jsparkSession.expression(tree._jc)  # noqa: SLF001
    patterns = session._jvm.org.apache.spark.sql.catalyst.trees.TreePattern  # noqa: SLF001
    text = _with_numbered_variables(expression)
    # All lambdas are called alike, whatever they do.
    return f"{text} {' '.join(_python_code(expression))}" if expression.containsPattern(patterns.PYTHON_UDF()) else text


def _with_numbered_variables(expression: Any) -> str:
    """Write an expression, the variables of Python lambdas numbered as they come: Spark numbers all of a session."""
    names = {
        name: f"{name[0]}_{number}"
        for number, name in enumerate(dict.fromkeys(_VARIABLE.findall(expression.toString())))
    }
    sql = str(expression.sql())
    return re.sub(rf"\b({'|'.join(names)})\b", lambda match: names[match[0]], sql) if names else sql


def _python_code(expression: Any) -> Iterator[str]:
    """Give a hash of each pickled function in an expression."""
    if expression.getClass().getSimpleName() == "PythonUDF":
        yield f"{expression.func().command().hashCode():08x}"
    children = expression.children()
    for number in range(children.size()):
        yield from _python_code(children.apply(number))


def _forget_places(message: Any) -> None:
    """Take out of a message of Spark Connect what differs between runs: places in source files, numbers of frames."""
    for field, value in message.ListFields():
        if field.name in ("common", "plan_id"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            is_many = not hasattr(value, "ListFields")
            for inner in value if is_many else (value,):
                if hasattr(inner, "ListFields"):
                    _forget_places(inner)
