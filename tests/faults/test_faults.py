"""Machines that die: an export on a cluster, and what ends its processes and disks, each several times.

After each: the old or the new snapshot, the same bytes once the same command has run again, and no file that
`verify` does not name. `make test-faults` runs it and prints the table.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.builders import write_dataset
from tests.cluster.standalone import Cluster, kill_tree, wait_for
from tests.conftest import Outcome
from tests.faults.tally import Reference, Tally

pytestmark = [pytest.mark.spark, pytest.mark.faults]
Run = Callable[..., Outcome]
KEEP = ["--where", "aesthetic_score >= 0.25", "--samples-per-shard", 2]
SHARDS = 300


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight shards of a hundred samples, of which three quarters are kept."""
    return write_dataset(tmp_path_factory.mktemp("source") / "data", 8, 100)


@pytest.fixture
def reference(run: Run, source: Path) -> Reference:
    """What the export writes when nothing disturbs it, on one machine."""
    out = source.parent / "reference"
    assert run("export", source, out, *KEEP).result["shards"] == SHARDS
    return Reference.of(out)


@pytest.fixture
def words(source: Path, tmp_path: Path) -> list[object]:
    """The command; its index is its own."""
    return ["export", source, tmp_path / "out", *KEEP, "--tables", tmp_path / "out_tables"]


def finished(out: Path, count: int = 1) -> Callable[[], bool]:
    """Give whether some shards are complete."""
    return lambda: sum(1 for _ in out.glob("*.parquet")) >= count


def test_the_cluster_writes_what_one_machine_writes(
    cluster: Cluster, tally: Tally, run: Run, words: list[object], reference: Reference
) -> None:
    with cluster.submit(*words) as application:
        assert application.wait() == 0, application.output
    assert tally.settle("none", run, words, reference, injected=0) == ("none", 0, True, 0, 0, 0, 0)


@pytest.mark.parametrize("turn", range(3))
def test_an_executor_that_is_killed_while_it_writes(
    cluster: Cluster, tally: Tally, run: Run, words: list[object], reference: Reference, turn: int
) -> None:
    out = Path(str(words[2]))
    with cluster.submit(*words) as application:
        wait_for("shards", finished(out, 1 + 40 * turn))
        wait_for("a task that writes", lambda: cluster.writers(out))
        kill_tree(cluster.executors()[turn % 2])
        assert application.wait() == 0, application.output
        assert "Lost executor" in application.output or "ExecutorLostFailure" in application.output
    assert tally.settle("executor killed", run, words, reference).was_committed


@pytest.mark.parametrize("turn", range(3))
def test_a_slow_task_and_its_speculative_copy(
    cluster: Cluster, tally: Tally, run: Run, words: list[object], reference: Reference, turn: int
) -> None:
    """The slow one wakes when the copy has finished, or when the export has been committed."""
    out = Path(str(words[2]))
    conf = {
        "spark.speculation": "true",
        "spark.speculation.interval": "100ms",
        "spark.speculation.quantile": "0.5",
        "spark.speculation.minTaskRuntime": "1s",
    }
    with cluster.submit(*words, conf=conf) as application:
        wait_for("shards", finished(out, 20))
        with cluster.stopped_writer(out):
            if turn == 0:
                wait_for("all shards", finished(out, SHARDS))
            else:
                wait_for("the commit", (out / "manifest.json").exists)
        assert application.wait() == 0, application.output
    assert tally.settle("slow task, speculation", run, words, reference).was_committed


MOMENTS: dict[str, Callable[[Path, Path], bool]] = {
    "samples begin": lambda _, tables: (tables / "samples").exists(),
    "samples": lambda _, tables: any((tables / "samples" / "_delta_log").glob("*.json")),
    "source shards": lambda _, tables: any((tables / "shards" / "_delta_log").glob("*.json")),
    "the index": lambda _, tables: any((tables / "snapshots" / "_delta_log").glob("*0.json")),
    "the plan begins": lambda _, tables: (tables / "exports").exists(),
    "the plan": lambda _, tables: any((tables / "exports" / "_delta_log").glob("*.json")),
    "the claim begins": lambda out, _: (out / ".shardwright").exists(),
    "plan.json": lambda out, _: (out / ".shardwright" / "plan.json").exists(),
    "attempt.json": lambda out, _: (out / ".shardwright" / "attempt.json").exists(),
    "a file": lambda out, _: any((out / ".shardwright").glob("*/.*.tar.*")),
    "a tar": lambda out, _: any(out.glob("*.tar")),
    "a shard": lambda out, _: finished(out)(),
    "a tenth": lambda out, _: finished(out, SHARDS // 10)(),
    "a quarter": lambda out, _: finished(out, SHARDS // 4)(),
    "half": lambda out, _: finished(out, SHARDS // 2)(),
    "three quarters": lambda out, _: finished(out, SHARDS * 3 // 4)(),
    "all shards": lambda out, _: finished(out, SHARDS)(),
    "the manifest's rows": lambda _, tables: any((tables / "manifest" / "_delta_log").glob("*.json")),
    "the commit": lambda _, tables: any((tables / "snapshots" / "_delta_log").glob("*1.json")),
    "manifest.json": lambda out, _: (out / "manifest.json").exists(),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_driver_that_is_killed_at_any_moment(
    cluster: Cluster, tally: Tally, run: Run, words: list[object], reference: Reference, moment: str
) -> None:
    """Its executors may go on for a while."""
    out, tables = Path(str(words[2])), Path(str(words[-1]))
    with cluster.submit(*words) as application:
        wait_for(moment, lambda: MOMENTS[moment](out, tables) or not application.is_running)
        time.sleep(random.Random(moment).choice([0, 0.01, 0.05]))
        application.send(signal.SIGKILL)
        application.wait()
    tally.settle("driver killed", run, words, reference)


@pytest.mark.parametrize("shards", [0, 1, SHARDS // 2])
def test_sigterm(
    cluster: Cluster, tally: Tally, run: Run, words: list[object], reference: Reference, shards: int
) -> None:
    out, tables = Path(str(words[2])), Path(str(words[-1]))
    with cluster.submit(*words) as application:
        wait_for("shards", finished(out, shards) if shards else (tables / "samples").exists)
        application.send(signal.SIGTERM)
        assert application.wait() != 0
    assert not tally.settle("SIGTERM", run, words, reference).was_committed


@pytest.mark.parametrize("turn", range(2))
def test_a_worker_that_is_lost(
    cluster: Cluster, tally: Tally, run: Run, words: list[object], reference: Reference, turn: int
) -> None:
    out = Path(str(words[2]))
    with cluster.submit(*words) as application:
        wait_for("a task that writes", lambda: finished(out, 10 + 100 * turn)() and cluster.writers(out))
        cluster.lose_worker()
        try:
            assert application.wait() == 0, application.output
        finally:
            cluster.add_worker()
    assert tally.settle("worker lost", run, words, reference).was_committed


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a file system in memory at a folder."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("file systems can't be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("shards", [1, SHARDS // 3, SHARDS - 20])
def test_a_disk_that_fills_up(
    cluster: Cluster, tally: Tally, run: Run, words: list[object], reference: Reference, shards: int
) -> None:
    """Something else fills it, once the export has found enough room; near the end, that may be behind the commit."""
    out = Path(str(words[2]))
    with mounted(out, "size=64m"):
        with cluster.submit(*words) as application:
            wait_for("shards", finished(out, shards))
            filler = out.parent / "out" / ".filler"
            fill(filler)
            assert application.wait() == 3, application.output
            assert "No space left on device" in application.output
        filler.unlink()
        settled = tally.settle("disk full", run, words, reference)
        assert not settled.was_committed or shards == SHARDS - 20


def fill(path: Path) -> None:
    """Write until nothing more can be written."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break


def test_an_output_that_is_read_only(
    cluster: Cluster, tally: Tally, run: Run, words: list[object], reference: Reference
) -> None:
    out = Path(str(words[2]))
    with mounted(out, "size=64m,ro"):
        with cluster.submit(*words) as application:
            assert application.wait() == 3, application.output
            assert "Read-only file system" in application.output
        assert list(out.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,rw", str(out)], check=True)
        assert not tally.settle("read-only output", run, words, reference).was_committed


@pytest.mark.parametrize("seconds", [-10 * 365 * 86_400, 10 * 365 * 86_400])
def test_clocks_that_are_wrong(
    cluster: Cluster, tally: Tally, run: Run, words: list[object], reference: Reference, seconds: int
) -> None:
    """What a run left bears the times of another year; nothing asks for them."""
    out = Path(str(words[2]))
    with cluster.submit(*words) as application:
        wait_for("shards", finished(out, SHARDS // 2))
        application.send(signal.SIGKILL)
        application.wait()
    for path in [*out.rglob("*"), *out.glob(".shardwright/**/*")]:
        if path.exists():
            os.utime(path, (time.time() + seconds,) * 2)
    tars = [path.with_suffix(".tar") for path in out.glob("*.parquet")]
    stamps = {path: path.stat().st_mtime_ns for path in tars}
    tally.settle("wrong clock", run, words, reference)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


@pytest.mark.parametrize("turn", range(3))
def test_two_runs_of_one_export_at_once(
    cluster: Cluster, tally: Tally, run: Run, words: list[object], reference: Reference, turn: int
) -> None:
    """On the cluster and on this machine: the later one wins, the earlier one reports that, or what was finished."""
    out = Path(str(words[2]))
    with cluster.submit(*words) as application:
        wait_for("shards", finished(out, 1 + SHARDS // 3 * turn))
        assert run(*words).code == 0
        code = application.wait()
        told = "a later run of this export has taken over", "another run of this export has finished it in"
        assert told[0 if code else 1] in application.output
        assert code in (0, 3)
    assert tally.settle("two runs at once", run, words, reference).was_committed
