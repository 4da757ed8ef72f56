"""Spark's own standalone cluster on this machine: a master, two workers, and executors that are processes of their own.

The executors' Python knows pyarrow, numpy and xxhash, and shardwright only from the wheel that is submitted.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyspark

from shardwright.store.jvm import delta_jars
from shardwright.store.local import spark_properties

ROOT = Path(__file__).parents[2]
_SPARK_HOME = Path(pyspark.__file__).parent
_SMALL_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
# What spares small plans their time, as on one machine; but not by what shardwright knows a session of its own.
_LOCAL = dict(spark_properties((ROOT / "conf" / "local.conf").read_text(encoding="utf-8")))
_CONF = {
    **{name: value for name, value in _LOCAL.items() if name != "spark.python.daemon.module"},
    "spark.driver.memory": "1g",
    "spark.executor.memory": "1g",
    "spark.driver.extraJavaOptions": _SMALL_JVM,
    "spark.executor.extraJavaOptions": _SMALL_JVM,
    "spark.sql.shuffle.partitions": "4",
}


def wait_for(what: str, condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: It has not come about in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.005)


class Cluster:
    """A running cluster; `submit` starts an application on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = _make_python(folder / "python")
        self._wheel = _build_wheel(folder / "wheel")
        self._port = _free_port()
        self._master: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the master and two workers of one core each."""
        words = ["master.Master", "--host", "127.0.0.1", "--port", str(self._port), "--webui-port", "0"]
        self._master = self._start("master", words, "I have been elected leader")
        for _ in range(2):
            self.add_worker()

    def add_worker(self) -> None:
        """Start one more worker."""
        name = f"worker{len(self._workers)}"
        # Hosts of their own: Spark runs no copy of a task on the host of the first one.
        words = [
            "worker.Worker",
            "--host",
            f"127.0.0.{len(self._workers) + 2}",
            "-c",
            "1",
            "-m",
            "2g",
            "--webui-port",
            "0",
        ]
        words += ["--work-dir", str(self._folder / name), f"spark://127.0.0.1:{self._port}"]
        self._workers.append(self._start(name, words, "Successfully registered with master"))

    def stop(self) -> None:
        """End all processes of the cluster."""
        for process in (*self._workers, *([self._master] if self._master else [])):
            for executor in _children(process.pid):
                _kill(executor)
            process.kill()
            process.wait()

    def _start(self, name: str, words: Sequence[str], ready: str) -> subprocess.Popen[bytes]:
        log = self._folder / f"{name}.log"
        environment = {**self._environment(), "SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": _SMALL_JVM}
        command = [str(_SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{words[0]}", *words[1:]]
        with log.open("wb") as out:
            process = subprocess.Popen(command, env=environment, cwd=self._folder, stdout=out, stderr=out)
        wait_for(f"{name}: {ready}", lambda: ready in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()[-2000:]
        return process

    def _environment(self) -> dict[str, str]:
        left_out = ("PYTHONPATH", "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET", "SPARK_DIST_CLASSPATH")
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        return environment | {
            "SPARK_HOME": str(_SPARK_HOME),
            "PYSPARK_PYTHON": str(self._python),
            "SPARK_LOCAL_DIRS": str(self._folder / "local"),
        }

    @contextmanager
    def submit(
        self, *words: object, conf: Mapping[str, str] | None = None, with_wheel: bool = True
    ) -> Iterator[Application]:
        """Run ``jobs/submit.py`` through spark-submit; what is left of it ends with the context."""
        command = [str(_SPARK_HOME / "bin" / "spark-submit"), "--master", f"spark://127.0.0.1:{self._port}"]
        command += ["--properties-file", "conf/spark.conf", "--jars", ",".join(delta_jars())]
        command += ["--py-files", str(self._wheel)] if with_wheel else []
        for name, value in {**_CONF, **(conf or {})}.items():
            command += ["--conf", f"{name}={value}"]
        command += ["jobs/submit.py", *map(str, words)]
        log = self._folder / f"application{time.monotonic_ns()}.log"
        # A group of its own: spark-submit, its JVM and the driver's Python end together.
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=self._environment(), cwd=ROOT, stdout=out, stderr=out, start_new_session=True
            )
        try:
            yield Application(process, log)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def executors(self) -> list[int]:
        """List the processes of the executors, those of the first worker first."""
        return [
            child
            for worker in self._workers
            if worker.poll() is None
            for child in _children(worker.pid)
            if "CoarseGrainedExecutorBackend" in _command(child)
        ]

    def lose_worker(self) -> None:
        """End the first worker that lives, and with it its executors, as a machine ends."""
        worker = next(worker for worker in self._workers if worker.poll() is None)
        executors = _children(worker.pid)
        worker.kill()
        for executor in executors:
            for process in (executor, *_descendants(executor)):
                _kill(process)
        worker.wait()

    def writers(self, output: Path) -> list[int]:
        """List the Python workers that have a file open among those of an output that have no final name yet."""
        found = []
        for executor in self.executors():
            for process in _descendants(executor):
                with suppress(OSError):
                    for descriptor in Path(f"/proc/{process}/fd").iterdir():
                        with suppress(OSError):
                            if str(descriptor.readlink()).startswith(f"{output}/.shardwright/"):
                                found.append(process)
        return list(dict.fromkeys(found))

    @contextmanager
    def stopped_writer(self, output: Path) -> Iterator[None]:
        """Hold up a Python worker in the midst of a file, until the block ends."""
        stopped: list[int] = []

        def stop_one() -> bool:
            with suppress(ProcessLookupError, FileNotFoundError, StopIteration):
                process = next(iter(self.writers(output)))
                _stop(process)
                if process in self.writers(output):
                    stopped.append(process)
                else:
                    os.kill(process, signal.SIGCONT)  # it had come to the end of the file
            return bool(stopped)

        wait_for("a task that writes", stop_one)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):  # Spark ends a worker whose task is not needed any more
                os.kill(stopped[0], signal.SIGCONT)


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Run a cluster."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Application:
    """An application that was submitted."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What it wrote, to either stream: spark-submit puts the driver's standard error on its own output."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float = 300) -> int:
        """Wait for its end; give the exit code."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End it with all that it started, at once, as a machine ends."""
        if self.is_running:
            kill_tree(self._process.pid)
            self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to spark-submit, its JVM and the driver's Python."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def kill_tree(process: int) -> None:
    """End a process and all that it started, at once."""
    for each in (process, *_descendants(process)):
        _kill(each)


def _stop(process: int) -> None:
    os.kill(process, signal.SIGSTOP)
    stat = Path(f"/proc/{process}/stat")
    wait_for("a process that stops", lambda: stat.read_text(encoding="utf-8").rpartition(") ")[2].startswith("T"))


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _descendants(process: int) -> list[int]:
    return [other for child in _children(process) for other in (child, *_descendants(child))]


def _children(process: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _make_python(folder: Path) -> Path:
    """Make an interpreter that has what this one has, except what is installed for editing: shardwright itself."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def _build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--quiet", "--disable-pip-version-check"]
    constraints = ["--build-constraint", "constraints.txt"]
    subprocess.run([*command, *constraints, "--wheel-dir", str(folder)], cwd=ROOT, check=True, capture_output=True)
    # Spark passes a wheel over that is called one.
    return next(folder.glob("*.whl")).rename(folder / "shardwright.zip")
