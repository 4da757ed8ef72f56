"""Rules: what a sample must meet to be kept."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from shardwright.format.names import OWN_PREFIX
from shardwright.frames.columns import column

# Strings are passed over whole; what is looked for is a call whose first arguments are bare columns.
_TOKEN = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?P<call>\b(?:isnan|nanvl)\s*\((?P<arguments>[^()'"]*)\))""",
    re.IGNORECASE,
)
_BARE_NAME = re.compile(r"\s*(?:`(?P<quoted>(?:[^`]|``)+)`|(?P<plain>[A-Za-z_]\w*))\s*")
_RAW = f"{OWN_PREFIX}raw value of "


def nan_as_null(name: str, kind: T.DataType) -> Column:
    """Give a column as rules see it: NaN is null, since Spark holds NaN to be larger than any number."""
    is_float = isinstance(kind, T.FloatType | T.DoubleType)
    return F.nanvl(column(name), F.lit(None).cast(kind)) if is_float else column(name)


def with_drop_reason(metadata: DataFrame, rules: Mapping[str, str], into: str) -> DataFrame:
    """Add the drop reason; no row is removed and no other column changes.

    Args:
        metadata: One row per sample.
        rules: Rule name to the SQL condition a sample must meet; null counts as unmet, and in a
            condition NaN counts as null, except as the direct argument of ``isnan`` and ``nanvl``.
        into: The name of the column to add.

    Returns:
        ``metadata`` plus ``into``: the name of the first unmet rule, null where the sample is kept.
    """
    names = metadata.columns
    floats = {field.name for field in metadata.schema if isinstance(field.dataType, T.FloatType | T.DoubleType)}
    seen = metadata.select(
        *(nan_as_null(field.name, field.dataType).alias(field.name) for field in metadata.schema),
        *(column(name).alias(_RAW + name) for name in names if name in floats),
    )
    unmet = [
        F.when(~F.coalesce(F.expr(with_raw_arguments(condition, floats)), F.lit(False)), F.lit(rule))
        for rule, condition in rules.items()
    ]
    reason = F.coalesce(*unmet, F.lit(None).cast("string"))
    return seen.withColumn(into, reason).select(
        *(column(_RAW + name if name in floats else name).alias(name) for name in names), column(into)
    )


def with_flag_reason(metadata: DataFrame, name: str, into: str) -> DataFrame:
    """Add the drop reason that a flag column gives: true and 1 keep; false, 0, null and NaN drop.

    Returns:
        ``metadata`` plus ``into``: ``name`` where the sample is dropped, else null.
    """
    kind = metadata.schema[name].dataType
    flag = nan_as_null(name, kind)
    met = F.coalesce(flag if isinstance(kind, T.BooleanType) else flag == F.lit(1), F.lit(False))
    return metadata.withColumn(into, F.when(~met, F.lit(name)))


def is_bad_flag(name: str, kind: T.DataType) -> Column:
    """Tell flags that are neither yes nor no: numbers other than 0 and 1."""
    if isinstance(kind, T.BooleanType):
        return F.lit(False)
    flag = nan_as_null(name, kind)
    return F.coalesce((flag != F.lit(0)) & (flag != F.lit(1)), F.lit(False))


def with_raw_arguments(condition: str, floats: set[str]) -> str:
    """Let ``isnan(c)`` and ``nanvl(c, d)`` see columns as they are, NaN included."""
    lowered = {name.lower(): name for name in floats}

    def raw_argument(argument: str) -> str:
        match = _BARE_NAME.fullmatch(argument)
        name = lowered.get((match["plain"] or match["quoted"].replace("``", "`")).lower()) if match else None
        return argument if name is None else f"`{_RAW}{name.replace('`', '``')}`"

    def raw_call(match: re.Match[str]) -> str:
        if not match["call"]:
            return match[0]
        function = match[0][: match.start("arguments") - match.start()]
        return f"{function}{', '.join(map(raw_argument, match['arguments'].split(',')))})"

    return _TOKEN.sub(raw_call, condition)
