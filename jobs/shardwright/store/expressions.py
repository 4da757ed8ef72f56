"""What an expression depends on, and how it is written down: Spark's plans tell, and Spark Connect's in another way."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
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
_REMOTE_VARIABLE = re.compile(r'name_parts: "([xyz]_\d+)"')
_SUBQUERIES = ("ScalarSubquery", "ListQuery", "Exists")
# How Java shows what has no text of its own: by its address.
_ADDRESS = re.compile(r"[\w.;$]+@[0-9a-f]{1,8}\b")


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
        # Texts in it may hold spaces, and no line breaks.
        text = re.sub(r"\n\s*", " ", str(message))
        return _with_numbered_variables(text, _REMOTE_VARIABLE.findall(text), 'name_parts: "{}"')
    expression = tree._jc.expr() if _SPARK_3 else session._jsparkSession.expression(tree._jc)  # noqa: SLF001
    patterns = session._jvm.org.apache.spark.sql.catalyst.trees.TreePattern  # noqa: SLF001
    # A column's own text has all that was written as SQL, but arrays and bytes by their addresses, and about Python
    # functions where they were called; before Spark 4 it has no quotes around text: "b" reads like the column b.
    is_plain = not _SPARK_3 and not expression.containsPattern(patterns.PYTHON_UDF())
    own = _ADDRESS.sub("", str(value)) if is_plain else ""
    texts = [own] if own == str(value) else [own, expression.sql(), *_unwritten(expression)]
    return _with_numbered_variables(" ".join(texts), _VARIABLE.findall(expression.toString()), r"\b{}\b")


def _with_numbered_variables(text: str, names: Sequence[str], place: str) -> str:
    """Number the variables of Python lambdas as they come: Spark numbers all of a session.

    Args:
        place: What stands around a name where it is a variable; holds ``{}``.
    """
    numbered = {name: f"{name[0]}_{number}" for number, name in enumerate(dict.fromkeys(names))}
    around = re.compile(place.format(f"({'|'.join(numbered)})"))
    return around.sub(lambda found: found[0].replace(found[1], numbered[found[1]]), text) if numbered else text


def _unwritten(expression: Any) -> Iterator[str]:
    """Give what the SQL of an expression leaves out: what Python functions and subqueries do, and a call's options."""
    kind = expression.getClass().getSimpleName()
    if kind == "PythonUDF":
        yield f"{expression.func().command().hashCode():08x}"
    elif kind == "UnresolvedFunction" and (expression.isDistinct() or expression.ignoreNulls()):
        yield f"{expression.isDistinct()} {expression.ignoreNulls()}"
    elif kind in _SUBQUERIES:
        yield str(expression.plan().toString())
    children = expression.children()
    for number in range(children.size()):
        yield from _unwritten(children.apply(number))


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
