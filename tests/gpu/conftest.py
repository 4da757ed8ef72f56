"""The session of the tests that compare CPU and GPU, or one line that says why they were skipped."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from tests.gpu.parity import has_plugin
from tests.gpu.session import has_gpu


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> SparkSession:
    """A session with RAPIDS; in the gate, one without a GPU, where both sides run on the CPU and the planner is asked.

    So the tests have all run before they first see a GPU.
    """
    if not request.config.pluginmanager.has_plugin("tests.gpu_plan.gate"):
        if not has_gpu():
            pytest.skip("no NVIDIA GPU here: nvidia-smi shows none")
        if not has_plugin(request.getfixturevalue("spark")):
            pytest.skip("the session has no RAPIDS; run: make test-gpu")
    spark: SparkSession = request.getfixturevalue("spark")
    return spark


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud that nothing ran on a GPU."""
    skipped = [report for report in terminalreporter.getreports("skipped") if "tests/gpu/" in report.nodeid]
    for reason in sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped}):
        terminalreporter.write_line(f"CPU and GPU were not compared, {len(skipped)} tests skipped: {reason}")
