"""One Spark session for the whole run, and the command line inside it."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession

from shardwright.cli import main
from shardwright.locations import storage_options
from shardwright.store.jvm import delta_jars
from shardwright.store.local import local_session, spark_properties
from shardwright.store.session import session
from tests.builders import write_dataset
from tests.stores import Bucket, bucket, s3_server

__all__ = ["bucket", "s3_server"]

# The same examples everywhere, and no deadline: other work on the machine fails no test.
settings.load_profile("ci")


_INPUTS: dict[str, tuple[int, str]] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember which tests handle which input; over Spark Connect leave out what it lacks."""
    for item in items:
        for mark in item.iter_markers("input"):
            _INPUTS[item.nodeid] = mark.args
        for mark in item.iter_markers("classic") if config.getoption("--connect") else ():
            item.add_marker(pytest.mark.skip(reason=mark.args[0]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the inputs that break other tools, by number, with what became of each."""
    lines = [
        (*_INPUTS[report.nodeid], outcome)
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.getreports(outcome)
        if report.nodeid in _INPUTS
    ]
    if lines:
        terminalreporter.section(f"inputs that break other tools: {len({line[0] for line in lines})}")
    for number, what, outcome in sorted(lines):
        terminalreporter.write_line(f"{number:2d} {outcome}: {what}")
    skipped = Counter(report.longrepr[2] for report in terminalreporter.getreports("skipped"))
    for reason, count in skipped.items():
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}", yellow=True)


def start_over_connect() -> None:
    """Start a server of Spark Connect with what any Spark needs, and a session that talks to it alone."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.remote("local[2]").config("spark.ui.enabled", "false")
    settings_file = resources.files("shardwright") / "conf" / "spark.conf"
    for name, value in spark_properties(settings_file.read_text(encoding="utf-8")):
        builder = builder.config(name, value)
    builder = builder.config("spark.driver.extraClassPath", os.pathsep.join(delta_jars()))
    with warnings.catch_warnings():
        # Settings of the server are set for the session, too, which refuses them with a warning.
        warnings.simplefilter("ignore", UserWarning)
        remote = builder.getOrCreate()
    assert not hasattr(remote, "_jsparkSession")


class Outcome(NamedTuple):
    """What a command did: its exit code, its JSON result, what it wrote to stderr."""

    code: int
    result: dict[str, Any]
    stderr: str


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the same tests run over Spark Connect."""
    parser.addoption("--connect", action="store_true", help="the session is one of Spark Connect")


@pytest.fixture(scope="session")
def spark(request: pytest.FixtureRequest) -> Iterator[SparkSession]:
    """The session that the command line starts on one machine; it reads stores where a test needs that."""
    if request.config.getoption("--connect"):
        start_over_connect()
    else:
        needs_stores = any(item.get_closest_marker("stores") for item in request.session.items)
        local_session(stores=["s3"] if needs_stores else [])
    with session() as active:
        yield active
    active.stop()


@pytest.fixture
def run(spark: SparkSession, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process; the verbs find the session that is there."""

    def run_command(*words: object) -> Outcome:
        assert spark is SparkSession.getActiveSession()
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([*map(str, words), "--json"])
        out, err = capfd.readouterr()
        return Outcome(int(stop.value.code or 0), json.loads(out) if out.strip() else {}, err)

    return run_command


@pytest.fixture
def run_there(run: Callable[..., Outcome], bucket: Bucket) -> Callable[..., Outcome]:
    """Run a command with the options that lead to the bucket, which its process has from nowhere else."""

    def run_command(*words: object) -> Outcome:
        with storage_options({}):
            return run(*words, *bucket.words())

    return run_command


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three shards of ten samples."""
    return write_dataset(tmp_path / "data")
