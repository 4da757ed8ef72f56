"""Share out numbered groups of rows among tasks, evenly: Spark's hash of the numbers would leave tasks empty."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from shardwright.frames.small_table import array_of

_SEED = np.uint32(42)


def spread(rows: DataFrame, number: str, count: int, tasks: int) -> DataFrame:
    """Give each task a run of numbers, as many as the next one, or one more.

    Args:
        number: The column of numbers, from 0 to ``count`` - 1; equal ones come to the same task.
        tasks: At most ``count``.
    """
    marks = array_of("bigint", _marks(tasks))
    group = F.expr(f"cast(`{number}` * {tasks} div {count} as int)")
    return rows.repartition(tasks, F.element_at(marks, group + 1))


def _marks(tasks: int) -> list[int]:
    """Give for each task a number that Spark's hash partitioning sends to it."""
    marks: dict[int, int] = {}
    begin, step = 0, 16 * tasks
    while len(marks) < tasks:
        numbers = np.arange(begin, begin + step, dtype=np.uint64)
        for task, mark in zip((_hash(numbers) % tasks).tolist(), numbers.tolist(), strict=True):
            marks.setdefault(task, mark)
        begin += step
    return [marks[task] for task in range(tasks)]


def _hash(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
    """Hash as Spark's ``hash`` of a bigint does: Murmur3, x86, 32 bits."""
    hashed = np.full(len(numbers), _SEED)
    for half in (numbers & np.uint64(2**32 - 1), numbers >> np.uint64(32)):
        mixed = _rotated(half.astype(np.uint32) * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
        hashed = _rotated(hashed ^ mixed, 13) * np.uint32(5) + np.uint32(0xE6546B64)
    hashed ^= np.uint32(8)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        hashed = (hashed ^ (hashed >> np.uint32(shift))) * np.uint32(factor)
    return hashed.view(np.int32)


def _rotated(values: npt.NDArray[np.uint32], bits: int) -> npt.NDArray[np.uint32]:
    return (values << np.uint32(bits)) | (values >> np.uint32(32 - bits))
