"""The same frame on the CPU and on the GPU: rows compared cell by cell, and what did not run on the GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession

from shardwright.store.session import refused_by_gpu

_ENABLED = "spark.rapids.sql.enabled"
_MOST_SHOWN = 20
# A GPU sums in another order: of embeddings, whose products are about 1, and of anything else.
_ABSOLUTE, _RELATIVE = 1e-12, 1e-9


def assert_cpu_and_gpu_agree(spark: SparkSession, frame_of: Callable[[], DataFrame]) -> None:
    """Fail where a cell differs, or where a part of the plan stays on the CPU; say which, and show the plan.

    Args:
        frame_of: Makes the frame anew; its first column tells its rows apart.
    """
    on_cpu, _ = _run(spark, frame_of, enabled=False)
    on_gpu, plan = _run(spark, frame_of, enabled=True)
    found = list(differences(on_cpu, on_gpu))
    lines = [f"{len(found):,} cells differ", *found[:_MOST_SHOWN]] if found else []
    lines += [f"not on the GPU: {refused}" for refused in refused_by_gpu(frame_of())]
    if has_plugin(spark) and "Gpu" not in plan:
        lines.append("nothing ran on the GPU")
    assert not lines, "\n".join([*lines, "the plan for the GPU:", plan])


def has_plugin(spark: SparkSession) -> bool:
    """Tell a session that has a GPU."""
    return "com.nvidia.spark.SQLPlugin" in (spark.conf.get("spark.plugins", "") or "")


def differences(on_cpu: Sequence[Row], on_gpu: Sequence[Row]) -> Iterator[str]:
    """Name each cell that differs, and each row that only one side has, by the row's first column."""
    cpu, gpu = ({row[0]: row for row in rows} for rows in (on_cpu, on_gpu))
    assert len(cpu) == len(on_cpu), "the first column does not tell rows apart"
    if len(on_gpu) != len(gpu):
        yield f"{len(on_gpu) - len(gpu):,} rows came twice from the GPU"
    for key in sorted({*cpu, *gpu}):
        if key not in cpu or key not in gpu:
            yield f"{key}: only on the {'CPU' if key in cpu else 'GPU'}: {cpu.get(key) or gpu.get(key)}"
            continue
        for name, value, other in zip(cpu[key].__fields__, cpu[key], gpu[key], strict=True):
            if not _agree(value, other):
                yield f"{key}: {name} is {value!r} on the CPU, {other!r} on the GPU"


@contextmanager
def gpu_plans(spark: SparkSession, *, enabled: bool) -> Iterator[None]:
    """Have RAPIDS take over the plans of a session, or leave them; what was set before is set again."""
    before = spark.conf.get(_ENABLED, "false")
    spark.conf.set(_ENABLED, str(enabled).lower())
    try:
        yield
    finally:
        spark.conf.set(_ENABLED, str(before))


def plans_that_ran(spark: SparkSession) -> list[str]:
    """Give the plans that a session remembers, in the order in which they ran."""
    executions = spark._jsparkSession.sharedState().statusStore().executionsList()  # noqa: SLF001 - said nowhere else
    return [str(executions.apply(number).physicalPlanDescription()) for number in range(executions.size())]


def _run(spark: SparkSession, frame_of: Callable[[], DataFrame], *, enabled: bool) -> tuple[list[Row], str]:
    with gpu_plans(spark, enabled=enabled):
        frame = frame_of()
        rows = frame.collect()
        return rows, frame._jdf.queryExecution().executedPlan().toString()  # noqa: SLF001 - what ran, said nowhere else


def _agree(value: Any, other: Any) -> bool:
    if isinstance(value, float) and isinstance(other, float):
        return (math.isnan(value) and math.isnan(other)) or math.isclose(
            value, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE
        )
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return len(value) == len(other) and all(map(_agree, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_agree(value[key], other[key]) for key in value)
    return bool(value == other)
