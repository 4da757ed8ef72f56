"""What was injected and what came of it, as a table when the run ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.standalone import Cluster, running
from tests.faults.tally import Tally

_TALLY = Tally()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture(scope="session")
def tally() -> Tally:
    return _TALLY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table: faults injected, samples lost."""
    lines = _TALLY.lines()
    if lines:
        terminalreporter.section("faults injected, and what came of them")
    for line in lines:
        terminalreporter.write_line(line)
