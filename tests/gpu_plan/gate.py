"""Ask NVIDIA's planner about every plan that the package starts while tests run; no GPU and no driver is needed.

A plugin of pytest: ``pytest -p tests.gpu_plan.gate``. ``SHARDWRIGHT_RAPIDS_JAR`` names the real jar.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pyspark.sql import DataFrame

import shardwright
from shardwright.store.session import plans_for_gpu
from tests.gpu.session import start_session
from tests.gpu_plan.reviewed import REVIEWED, Reviewed

# Of conf/rapids.conf: what can't even be loaded where there is no GPU.
_NEEDS_GPU = re.compile(r"spark\.plugins|spark\.sql\.cache\.serializer|.*\.resource\.gpu\..*|.*\.pinnedPool\.size")
_CONF = {
    # The twins without the plugin.
    "spark.shardwright.rapids": "true",
    "spark.rapids.skipGpuArchitectureCheck": "true",
    # Else unsupported expressions hide behind a bridge to the CPU.
    "spark.rapids.sql.expression.cpuBridge.enabled": "false",
    # A plan is asked about whole, not stage by stage.
    "spark.sql.adaptive.enabled": "false",
    # The planner fails on a broadcast that a plan uses twice: it looks for the second one's names in the first.
    "spark.sql.exchange.reuse": "false",
    "spark.driver.memory": "3g",
}
# `*Exec <ProjectExec> will run on GPU`, `!Expression <ZipWith> zip_with(…) cannot run on GPU because …`
_LINE = re.compile(r"^\s*(?P<mark>[*!@#$%])\s?(?P<kind>\w*) ?<(?P<name>\w+)> (?P<text>.*)$")
# A checkout may be called like the package.
_PACKAGE = f"{Path(shardwright.__file__).parent}{os.sep}"
README = "README.md"
_VERBS = ("index.py", "filter.py", "export.py", "save_metadata.py", "verify.py", README)


class Refusal(NamedTuple):
    """Something that can't run on a GPU; ``asked_by`` are the package's modules and tests that asked for it."""

    name: str
    text: str
    asked_by: frozenset[str]

    @property
    def reviewed(self) -> Reviewed | None:
        """Give the line of the list that covers it."""
        for one in REVIEWED:
            is_asked = not one.asked_by or one.asked_by & self.asked_by
            if one.name == self.name and one.because in self.text and is_asked:
                return one
        return None


class Gate:
    """What was asked in this run, and what was refused."""

    def __init__(self) -> None:
        self.plan_count = 0
        self.operator_count = 0
        self.askers: Counter[str] = Counter()
        self.refusals: list[Refusal] = []

    def note(self, frame: DataFrame) -> None:
        """Ask about a plan of ours that is about to run, and count it."""
        lines, askers = _explain(frame), _askers()
        self.plan_count += 1
        self.operator_count += sum(line["kind"] == "Exec" for line in lines)
        self.askers.update(askers.intersection(_VERBS))
        self.refusals += _refusals(lines, askers)

    @property
    def unreviewed(self) -> list[Refusal]:
        return [refusal for refusal in self.refusals if refusal.reviewed is None]

    @property
    def unmet(self) -> list[Reviewed]:
        """Give what is on the list and was refused nowhere: it may run by now."""
        met = {refusal.reviewed for refusal in self.refusals}
        return [reviewed for reviewed in REVIEWED if reviewed not in met]

    @property
    def is_whole(self) -> bool:
        """Tell a run in which every verb and the README asked something."""
        return all(self.askers[name] for name in _VERBS)


GATE = Gate()


def ask(frame: DataFrame) -> list[Refusal]:
    """Give what the planner refuses of a plan."""
    return _refusals(_explain(frame), _askers())


def _explain(frame: DataFrame) -> list[re.Match[str]]:
    planner = frame.sparkSession._jvm.com.nvidia.spark.rapids.ExplainPlan  # type: ignore[union-attr]  # noqa: SLF001
    text = planner.explainPotentialGpuPlan(frame._jdf, "ALL")  # noqa: SLF001 - the planner takes Java's frames
    return [found for line in text.splitlines() if (found := _LINE.match(line))]


def _refusals(lines: Sequence[re.Match[str]], askers: frozenset[str]) -> list[Refusal]:
    return [Refusal(line["name"], line["text"], askers) for line in lines if line["mark"] == "!"]


def _askers() -> frozenset[str]:
    """Name our files that stand in the stack."""
    return frozenset(Path(call.filename).name for call in traceback.extract_stack() if _is_ours(call.filename))


def _is_ours(path: str) -> bool:
    return _starts_plans(path) or Path(path).name.startswith("test_")


def _starts_plans(path: str) -> bool:
    """Tell the package and the README, whose test runs queries under its name; what tests ask is no plan of ours."""
    return path.startswith(_PACKAGE) or path == README


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the README's table be written anew, when it is not what the planner says any more."""
    parser.addoption("--write-readme", action="store_true", help="write the table of SQL functions into README.md")


def pytest_sessionstart() -> None:
    """Start the session that tests then find, and listen to what runs in it."""
    spark = start_session(_NEEDS_GPU, _CONF)
    frames = type(spark.range(1))
    for name in ("collect", "head", "first", "take", "count", "toLocalIterator", "persist"):
        _listen(frames, name, lambda frame: frame)
    writers = type(spark.range(1).write)
    for name in ("save", "saveAsTable", "parquet"):
        _listen(writers, name, lambda writer: writer._df)  # noqa: SLF001 - a writer does not tell what it writes


def _listen(owner: type, name: str, frame_of: Callable[[Any], DataFrame]) -> None:
    method = getattr(owner, name)

    @wraps(method)
    def heard(self: Any, *args: Any, **named: Any) -> Any:
        # What Spark's own Python does on the way, such as the `take` of a `head`, is the same plan again.
        if _starts_plans(sys._getframe(1).f_code.co_filename):  # noqa: SLF001 - the cheapest look at the caller
            frame = frame_of(self)
            if plans_for_gpu(frame.sparkSession):
                GATE.note(frame)
        return method(self, *args, **named)

    setattr(owner, name, heard)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was asked and what was refused."""
    terminalreporter.section("plans on a GPU")
    for line in _summary():
        terminalreporter.write_line(line)


def _summary() -> Iterator[str]:
    yield (
        f"{GATE.plan_count:,} plans asked, {GATE.operator_count:,} operators, {len(GATE.unreviewed):,} refusals that "
        f"are not on the list, {len(GATE.refusals) - len(GATE.unreviewed):,} that are"
    )
    yield f"asked by {', '.join(f'{name} {GATE.askers[name]:,}' for name in _VERBS)}"
    for reviewed, count in Counter(refusal.reviewed for refusal in GATE.refusals).items():
        if reviewed is not None:
            yield f"reviewed: {count:,} x {reviewed.name}, {reviewed.because}: {reviewed.why}"
    if GATE.is_whole:
        yield from (f"on the list, and refused nowhere: {unmet.name}, {unmet.because}" for unmet in GATE.unmet)
    for (name, text, modules), count in Counter(
        (refusal.name, re.sub(r"#\d+L?", "", refusal.text)[:300], ", ".join(sorted(refusal.asked_by)))
        for refusal in GATE.unreviewed
    ).items():
        yield f"refused: {count:,} x {name} ({modules}): {text}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run where something was refused, the list is too long, or a verb or the README asked nothing."""
    if session.exitstatus == pytest.ExitCode.OK and (GATE.unreviewed or GATE.unmet or not GATE.is_whole):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
