"""Signals: the process ends as it says, leaves no other behind, and the same command completes the work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import write_dataset
from tests.conftest import Outcome

pytestmark = [pytest.mark.spark, pytest.mark.proof]
Run = Callable[..., Outcome]


@pytest.mark.parametrize("seconds", [0.6, 1.2, 2.0, 4.0])
def test_an_interrupt_while_spark_starts_leaves_no_process_behind(tmp_path: Path, seconds: float) -> None:
    """Whenever it comes, the code is the same and the JVM ends too."""
    dataset = write_dataset(tmp_path / "data", 1, 400)
    words = ["reshard", str(dataset), str(tmp_path / "out"), "--samples-per-shard", "1"]
    program = [sys.executable, "-m", "shardwright", *words]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)  # ends when all who hold stderr have ended
    assert (process.returncode, "interrupted by signal 2" in stderr, "Exception" in stderr) == (130, True, False)
    deadline = time.monotonic() + 60
    while has_processes(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not has_processes(process.pid)


def has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_process_leaves_what_the_same_command_completes(
    run: Run, tmp_path: Path, sent: signal.Signals, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = write_dataset(tmp_path / "data", 2, 1_500)
    out = tmp_path / "out"
    words = ["reshard", str(dataset), str(out), "--samples-per-shard", "1", "--json"]
    program = [sys.executable, "-m", "shardwright", *words]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob("*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(sent)
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == code
    if code > 0:
        assert json.loads(stdout)["exit_code"] == code
    assert not (out / "manifest.json").exists()
    assert 0 < len(list(out.glob("*.parquet"))) < 3_000  # it did not write on to the end
    done = run(*words[:-1])
    assert "shards are there" in caplog.text
    assert (done.code, done.result["exported"], done.result["shards"]) == (0, 3_000, 3_000)
    assert run("verify", out).code == 0
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
