"""Time the functions of rules: from the jar as expressions and as UDF classes, of Spark's own functions, and in Python.

Each way aggregates one function over the same Parquet rows (two embeddings of 768 floats, hashes, a caption), in one
session with compiled plans; "reading" does the same without a function, and is part of every other. Ways of one
function must give one result.

Run: ``make bench-udfs ARGS="[--rows N] [--runs N]"``
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import PandasUDFType, pandas_udf

from in_python import NUMPY, PYTHON
from report import heading, table, write_section
from shardwright import functions
from shardwright.store.local import local_session
from shardwright.store.session import fit_to_rows

DIMENSIONS = 768
ROWS_IN_FILE = 25_000
# A way that takes a hundred times as long is timed over fewer rows.
SLOW_SHARE = 10
_CLASSES = {
    "cosine_similarity": ("CosineSimilarity", "double"),
    "dot_product": ("DotProduct", "double"),
    "l2_norm": ("L2Norm", "double"),
    "hamming_hex": ("HammingDistanceHex", "int"),
    "caption_word_count": ("CaptionWordCount", "int"),
    "caption_clean": ("CaptionClean", "string"),
}
_ARGUMENTS = {
    "cosine_similarity": ("a", "b"),
    "dot_product": ("a", "b"),
    "l2_norm": ("a",),
    "hamming_bigint": ("n", "m"),
    "hamming_hex": ("h", "g"),
    "caption_word_count": ("t",),
    "caption_clean": ("t",),
}
Way = Callable[[DataFrame], DataFrame]


def main() -> None:
    """Write the rows, time every way of every function in turn, keep seconds and ratios in RESULTS.md."""
    args = _arguments()
    # Workers find the functions in Python beside this file.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with tempfile.TemporaryDirectory(dir=args.data) as folder:
        _write_rows(Path(folder), args.rows)
        spark = local_session(metadata_bytes=1 << 40)
        fit_to_rows(spark, args.rows)
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "4096")
        for name, (class_name, result) in _CLASSES.items():
            spark.udf.registerJavaFunction(f"class_{name}", f"shardwright.udfs.{class_name}", result)
        warnings.filterwarnings("ignore", "In Python 3.6")
        print(f"{args.rows:,} rows, {DIMENSIONS} floats, {os.cpu_count()} cores")
        print(f"Seconds, medians of {args.runs} runs, and their ratio to the expression's")
        seconds = {name: _compare(spark, Path(folder), name, args.runs) for name in args.functions or _ARGUMENTS}
        spark.stop()
    _write(seconds, args)


def _write(seconds: Mapping[str, Mapping[str, float]], args: argparse.Namespace) -> None:
    lines = [
        *heading("udfs.py"),
        f"- {args.rows:,} rows of two embeddings of {DIMENSIONS} floats, hashes and a caption, summed up over one "
        f"function, in one session with compiled plans; medians of {args.runs} runs. `reading` is part of every other "
        f"way. Slow ways are timed over a tenth of the rows: their seconds are ten times what was measured.",
        "",
    ]
    ways = list(dict.fromkeys(way for taken in seconds.values() for way in taken))
    rows = [
        [name, *(f"{taken[way]:.2f} ({taken[way] / taken['expression']:.2f})" if way in taken else "" for way in ways)]
        for name, taken in seconds.items()
    ]
    header = ["seconds (x the expression's)", *ways]
    write_section("Functions of rules, timed", [*lines, *table(header, rows)])


def _compare(spark: SparkSession, folder: Path, name: str, run_count: int) -> dict[str, float]:
    """Time the ways of one function; give each one's seconds for all rows."""
    frame = spark.read.parquet(str(folder))
    few = spark.read.parquet(*sorted(map(str, folder.iterdir()))[: max(1, len(list(folder.iterdir())) // SLOW_SHARE)])
    share = len(few.inputFiles()) / len(frame.inputFiles())
    results: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for way, (give, is_slow) in _ways(name).items():
        source = few if is_slow else frame
        # The first run compiles.
        runs = [_timed(give(source)) for _ in range(run_count + 1)]
        seconds[way] = statistics.median(run[0] for run in runs[-run_count:]) / (share if is_slow else 1)
        total, count = runs[-1][1]
        results[way] = total / count
    print(f"\n{name}")
    for way, taken in seconds.items():
        print(f"  {way:24} {taken:8.2f} s {taken / seconds['expression']:8.2f}", flush=True)
    for way, value in results.items():
        if way != "reading" and not math.isclose(value, results["expression"], rel_tol=1e-6, abs_tol=1e-6):
            # Rows are the same in every file, so that a share of them has the same mean.
            raise SystemExit(f"{name}: {way} gives {value}, the expression {results['expression']}")
    return seconds


def _timed(values: DataFrame) -> tuple[float, tuple[float, int]]:
    # A frame that ran once keeps what it shuffled: each run has its own.
    rows = values.agg(F.sum("value"), F.count("value"))
    started = time.perf_counter()
    total, count = rows.collect()[0]
    return time.perf_counter() - started, (total, count)


def _ways(name: str) -> dict[str, tuple[Way, bool]]:
    """Give the ways of one function, each with whether it is slow."""
    arguments = ", ".join(_ARGUMENTS[name])
    call = f"{'hamming_distance' if name.startswith('hamming') else name}({arguments})"
    # Summed up; of texts the lengths.
    measured = "length({})" if name == "caption_clean" else "{}"
    ways: dict[str, tuple[Way, bool]] = {
        "reading": (lambda frame: frame.selectExpr(f"{_touch(name)} AS value"), False),
        "expression": (lambda frame: frame.selectExpr(f"{measured.format(call)} AS value"), False),
    }
    if name in _CLASSES:
        of_class = measured.format(f"class_{name}({arguments})")
        ways["UDF class"] = (lambda frame: frame.selectExpr(f"{of_class} AS value"), False)
    if name != "caption_clean":
        ways["Spark's own functions"] = (
            lambda frame: _built_in(frame, name),
            name in ("dot_product", "cosine_similarity"),
        )
    ways["mapInArrow, NumPy"] = (lambda frame: _in_arrow(frame, name), False)
    ways["pandas_udf, NumPy"] = (lambda frame: _pandas(frame, name), False)
    ways["udf, row by row"] = (lambda frame: _row_by_row(frame, name), True)
    return ways


def _touch(name: str) -> str:
    arguments = _ARGUMENTS[name]
    each = "{}[0]" if arguments[0] == "a" else "{}" if name == "hamming_bigint" else "length({})"
    return " + ".join(f"CAST({each.format(argument)} AS double)" for argument in arguments)


def _built_in(frame: DataFrame, name: str) -> DataFrame:
    # The functions choose when they are called: as where the jar is not in the session.
    with patch.object(functions, "_is_registered", return_value=False):
        function = getattr(functions, "hamming_distance" if name.startswith("hamming") else name)
        return frame.select(function(*_ARGUMENTS[name]).alias("value"))


def _in_arrow(frame: DataFrame, name: str) -> DataFrame:
    def give(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            columns = [_vectorized(column) for column in batch.columns]
            yield pa.RecordBatch.from_arrays([pa.array(NUMPY[name](*columns), pa.float64())], ["value"])

    return frame.select(*_ARGUMENTS[name]).mapInArrow(give, "value double")


def _vectorized(column: pa.Array) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | list[str]:
    if pa.types.is_list(column.type):
        return np.asarray(column.flatten()).reshape(len(column), -1)
    return column.to_pylist() if pa.types.is_string(column.type) else np.asarray(column)


def _pandas(frame: DataFrame, name: str) -> DataFrame:
    def columns_of(*series: Any) -> Any:
        arrays = [np.stack(list(one)) if isinstance(one.iloc[0], np.ndarray) else one.to_numpy() for one in series]
        return type(series[0])(np.asarray(NUMPY[name](*arrays), float))

    give = pandas_udf(columns_of, "double", PandasUDFType.SCALAR)
    return frame.select(give(*_ARGUMENTS[name]).alias("value"))


def _row_by_row(frame: DataFrame, name: str) -> DataFrame:
    from pyspark.sql.functions import udf  # noqa: TID251 - what the package does without is what is measured

    return frame.select(udf(PYTHON[name], "double")(*_ARGUMENTS[name]).alias("value"))


def _write_rows(folder: Path, row_count: int) -> None:
    """Write one file, and link it as often as it takes: the rows are many, the page cache holds them all."""
    draw = np.random.default_rng(5)
    count = min(row_count, ROWS_IN_FILE)

    def embeddings() -> pa.Array:
        values = draw.standard_normal((count, DIMENSIONS), np.float32)
        return pa.FixedSizeListArray.from_arrays(values.ravel(), DIMENSIONS).cast(pa.list_(pa.float32()))

    words = np.array(["a", "photo", "of&nbsp;the", "caf\u00e9", "R&amp;B", "\u200bdog", "running", "\u00a0beach,"])
    captions = [" ".join(words[draw.integers(0, 8, draw.integers(3, 20))]) for _ in range(count)]
    hashes = [draw.integers(-(2**62), 2**62, count) for _ in range(2)]
    rows = pa.table(
        {
            "a": embeddings(),
            "b": embeddings(),
            "n": hashes[0],
            "m": hashes[1],
            "h": [f"{value % 2**64:016x}" for value in hashes[0].tolist()],
            "g": [f"{value % 2**64:016X}" for value in hashes[1].tolist()],
            "t": captions,
        }
    )
    first = folder / "00000.parquet"
    pq.write_table(rows, first, use_dictionary=False, compression="none", row_group_size=4096)
    for number in range(1, -(-row_count // count)):
        os.link(first, folder / f"{number:05d}.parquet")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--functions", nargs="*", choices=list(_ARGUMENTS))
    parser.add_argument("--data", type=Path, help="where the rows are written; the system's folder for such by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
