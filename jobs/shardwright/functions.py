"""What curation rules need and SQL lacks: embeddings and perceptual hashes compared, captions counted and cleaned.

::

    from shardwright.functions import cosine_similarity

    dataset.metadata["aligned"] = cosine_similarity("image_embedding", "text_embedding") > 0.28

Each function takes columns or names of columns, for an embedding also the numbers of one, and gives a column. With the
jar of Scala functions in the session it calls that; without, it is made of Spark's own functions, which give the same
values more slowly. ``caption_clean`` has no such stand-in. In SQL text (``--where``, ``--rule``, ``spark.sql``) the
same names need the jar.

Null where there is no value, never an error in the middle of a job: for a null argument, a null element, unequal
lengths, a result that is no number, a hash that is none. So a rule that can't be decided is unmet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from pyspark import __version__ as spark_version
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from shardwright.errors import RequestError

__all__ = [
    "caption_clean",
    "caption_word_count",
    "cosine_similarity",
    "dot_product",
    "hamming_distance",
    "l2_norm",
]

NAMES = tuple(__all__)
# A column, its name, or one embedding for all rows.
Embedding = Column | str | Sequence[float] | npt.NDArray[np.floating]
EXTENSION = "shardwright.udfs.Extensions"
_WHITE_SPACE = "\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_HEX_DIGITS = "0123456789abcdefABCDEF"
# As many digits as fit a bigint that has no sign.
_DIGITS_AT_ONCE = 15
_INTEGERS = ("tinyint", "smallint", "int", "bigint")


def cosine_similarity(a: Embedding, b: Embedding) -> Column:
    """Give the cosine of the angle between two embeddings, -1 to 1.

    Args:
        a: ``array<float>`` or ``array<double>``, or the numbers of one embedding; sums are in doubles.
        b: Alike, and as long.

    Returns:
        A double; null for zero vectors and empty ones, which have no angle, for unequal lengths, null elements and NaN.
    """
    if _is_registered("cosine_similarity"):
        return F.call_function("cosine_similarity", _column(a), _column(b))
    lengths = F.sqrt(_dot(a, a)) * F.sqrt(_dot(b, b))
    return _bound(_bound(lengths, lambda length: _dot(a, b) / F.when(length != 0, length)), _cosine)


def dot_product(a: Embedding, b: Embedding) -> Column:
    """Give the sum of the products of two embeddings' elements.

    Args:
        a: ``array<float>`` or ``array<double>``, or the numbers of one embedding; sums are in doubles.
        b: Alike, and as long.

    Returns:
        A double: 0 for empty arrays; null for unequal lengths, null elements and NaN.
    """
    if _is_registered("dot_product"):
        return F.call_function("dot_product", _column(a), _column(b))
    return _number(_dot(a, b))


def l2_norm(a: Embedding) -> Column:
    """Give the Euclidean length of an embedding.

    Returns:
        A double: 0 for an empty array; null for null elements and NaN.
    """
    if _is_registered("l2_norm"):
        return F.call_function("l2_norm", _column(a))
    return _number(F.sqrt(_dot(a, a)))


def hamming_distance(a: Column | str, b: Column | str) -> Column:
    """Give in how many bits two perceptual hashes differ.

    Args:
        a: A bigint of 64 bits, or a string of hexadecimal digits in any case and of any length.
        b: Of the same kind; a string as long.

    Returns:
        An int; null for strings of unequal lengths, for empty ones, and for anything but digits.
    """
    if _is_registered("hamming_distance"):
        return F.call_function("hamming_distance", _column(a), _column(b))
    left, right = _column(a), _column(b)
    is_text = (F.typeof(left) == "string") & (F.typeof(right) == "string")
    is_integer = F.typeof(left).isin(*_INTEGERS) & F.typeof(right).isin(*_INTEGERS)
    is_void = (F.typeof(left) == "void") | (F.typeof(right) == "void")
    # Types are known before a plan runs, and what is not for them is left out of it; it must fit all the same.
    texts = [F.when(is_text, value).cast("string") for value in (left, right)]
    longs = [F.when(is_integer, value).cast("bigint") for value in (left, right)]
    return (
        F.when(is_void, F.lit(None).cast("int"))
        .when(is_text, _hex_distance(*texts))
        .when(is_integer, F.bit_count(longs[0].bitwiseXOR(longs[1])))
        .otherwise(F.raise_error(F.lit("hamming_distance takes two bigints or two strings")).cast("int"))
    )


def caption_word_count(text: Column | str) -> Column:
    """Give how many words a caption has: runs of characters other than Unicode's white space.

    Returns:
        An int: 0 for an empty caption.
    """
    if _is_registered("caption_word_count"):
        return F.call_function("caption_word_count", _column(text))
    return F.regexp_count(_column(text), F.lit(f"[^{_WHITE_SPACE}]+"))


def caption_clean(text: Column | str) -> Column:
    """Give a caption as people read it.

    HTML's character references are decoded once, all that the standard names and all numbers, if they end in a
    semicolon. Then control characters, soft hyphens and characters without width go (joiners, marks of direction, the
    byte order mark). Then each run of white space becomes one space, and none stays at the ends.

    Raises:
        RequestError: The jar is not in the session.
    """
    if _is_registered("caption_clean"):
        return F.call_function("caption_clean", _column(text))
    raise missing_function("shardwright.functions", "caption_clean")


def missing_function(where: str, name: str) -> RequestError:
    """Say which jar brings a function that the session lacks."""
    jar = f"shardwright-udfs_{'2.13' if int(spark_version.split('.')[0]) >= 4 else '2.12'}-0.1.0.jar"
    remedy = (
        f"Run make udfs for a session on this machine; else add the jar: --jars {jar} "
        f"--conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension,{EXTENSION}"
    )
    return RequestError(where, f"no function '{name}' in the session; it comes with {jar}", remedy)


def _is_registered(name: str) -> bool:
    spark = SparkSession.getActiveSession()
    return spark is not None and spark.catalog.functionExists(name)


def _column(value: Embedding) -> Column:
    if isinstance(value, str):
        return F.col(value)
    # Before Spark 4 a column of Spark Connect is no Column.
    if not isinstance(value, Sequence | np.ndarray):
        return value
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise RequestError(
            "shardwright.functions", f"an embedding is none: {error}", "Pass one row of numbers"
        ) from None
    if numbers.ndim != 1:
        raise RequestError(
            "shardwright.functions", f"an embedding has {numbers.ndim} dimensions", "Pass one row of numbers"
        )
    return F.lit(numbers)


def _dot(a: Embedding, b: Embedding) -> Column:
    # In coalesce a column loses its name: the fields are then called 0 and 1. A missing element is null, and makes the
    # sum null.
    pairs = F.arrays_zip(F.coalesce(_column(a)), F.coalesce(_column(b)))
    return F.aggregate(
        pairs,
        F.lit(0.0),
        lambda total, pair: total + pair.getField("0").cast("double") * pair.getField("1").cast("double"),
    )


def _bound(value: Column, use: Callable[[Column], Column]) -> Column:
    """Give what ``use`` makes of a value that is computed once, however often it names it."""
    return F.transform(F.array(value), use).getItem(0)


def _cosine(value: Column) -> Column:
    # Rounding may give a last bit more than 1.
    number = F.when(~F.isnan(value), value)
    return F.when(number > 1, F.lit(1.0)).when(number < -1, F.lit(-1.0)).otherwise(number)


def _number(value: Column) -> Column:
    """Give null for NaN, which Spark holds to be larger than any threshold."""
    return F.nanvl(value, F.lit(None).cast("double"))


def _hex_distance(a: Column, b: Column) -> Column:
    is_hash = (F.length(a) == F.length(b)) & (F.length(a) > 0)
    for value in (a, b):
        is_hash &= F.translate(value, _HEX_DIGITS, "") == ""
    starts = F.sequence(F.lit(1), F.greatest(F.length(a), F.lit(1)), F.lit(_DIGITS_AT_ONCE))

    def bits(start: Column) -> Column:
        x, y = (F.conv(value.substr(start, F.lit(_DIGITS_AT_ONCE)), 16, 10).cast("bigint") for value in (a, b))
        return F.bit_count(x.bitwiseXOR(y)).cast("double")

    return F.when(is_hash, F.aggregate(starts, F.lit(0.0), lambda total, start: total + bits(start)).cast("int"))
