"""A real S3 server on this machine, what it was asked for, and datasets in it."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import pytest

from shardwright.locations import storage_options
from shardwright.object_store import list_objects, put
from tests.relay_rules import Request, Rule, read_log, write_rule

SERVER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shardwright/bin/versitygw-v1.8.0"
KEY, SECRET = "planted-key", "planted-secret-4f81"


class Server(NamedTuple):
    """A server on this machine, whose buckets are folders."""

    port: int
    folder: Path

    def new_bucket(self) -> Bucket:
        name = f"bucket-{len(list((self.folder / 'buckets').iterdir()))}"
        (self.folder / "buckets" / name).mkdir()
        return Bucket(name, self)


class Bucket:
    """A bucket of a server on this machine."""

    def __init__(self, name: str, server: Server) -> None:
        self.name, self._server = name, server
        self._seen = 0

    @property
    def options(self) -> dict[str, str]:
        """The options that lead here."""
        return {
            "endpoint": f"http://127.0.0.1:{self._server.port}",
            "region": "us-east-1",
            "access_key_id": KEY,
            "secret_access_key": SECRET,
        }

    def words(self) -> list[str]:
        """Give the options as the command line takes them."""
        return [word for name, value in self.options.items() for word in ("--storage-option", f"{name}={value}")]

    def url(self, *parts: str) -> str:
        return "/".join([f"s3://{self.name}", *parts])

    def upload(self, folder: Path, prefix: str) -> str:
        """Put a folder's files into the bucket; give the URL of the folder that they make."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                put(self.url(prefix, str(path.relative_to(folder))), path.read_bytes())
        return self.url(prefix)

    def all_keys(self) -> list[str]:
        """List all objects."""
        return sorted(file.path.removeprefix(f"s3://{self.name}/") for file in list_objects(self.url()))

    def unfinished_uploads(self) -> list[str]:
        """List the keys of uploads that were neither finished nor aborted."""
        found = _ask(f"127.0.0.1:{self._server.port}", f"/{self.name}", "uploads=")
        return re.findall(r"<Upload>.*?<Key>(.*?)</Key>", found, re.DOTALL)

    def requests(self) -> list[Request]:
        """List what was asked of this bucket since the last call, by all processes; paths become keys."""
        requests = read_log(self._server.folder)
        new = requests[self._seen :]
        self._seen = len(requests)
        prefix = f"/{self.name}"
        return [
            replace(each, path=each.path[len(prefix) + 1 :]) for each in new if f"{each.path}/".startswith(f"{prefix}/")
        ]

    @contextmanager
    def disturbed(self, rule: Rule) -> Iterator[None]:
        """Let a rule's requests be disturbed; those of all buckets, unless its pattern says otherwise."""
        write_rule(self._server.folder, rule)
        try:
            yield
        finally:
            write_rule(self._server.folder, None)

    def failing(self, pattern: str, times: int) -> AbstractContextManager[None]:
        """Let requests fail as a store does that is asked too often: those whose method and address match."""
        return self.disturbed(Rule("refused", pattern, times=times))


def _ask(host: str, path: str, query: str) -> str:
    """Ask what obstore has no call for: a GET, signed as AWS wants it (Signature Version 4)."""
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    nothing = hashlib.sha256().hexdigest()
    headers = {"host": host, "x-amz-content-sha256": nothing, "x-amz-date": now}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"GET\n{path}\n{query}\n{lines}\n{names}\n{nothing}"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    connection = HTTPConnection(host)
    try:
        connection.request("GET", f"{path}?{query}", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        return answer.read().decode()
    finally:
        connection.close()


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run a server and a relay before it; both end with the block."""
    with gateway(folder) as behind, relayed(behind) as server:
        yield server


@contextmanager
def gateway(folder: Path) -> Iterator[Server]:
    """Run a server that is reached directly; what it is asked for is not written down."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "buckets").mkdir()
    command: list[str | Path] = [
        SERVER,
        "--port",
        f"127.0.0.1:{port}",
        "--quiet",
        "--keep-alive",
        "posix",
        folder / "buckets",
    ]
    settings = {**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    with subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(lambda: _listens(port))
            yield Server(port, folder)
        finally:
            server.terminate()


@contextmanager
def relayed(server: Server) -> Iterator[Server]:
    """Run a relay before a server: what is asked for there is written down."""
    command: list[str | Path] = [sys.executable, "-m", "tests.relay", str(server.port), server.folder]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1]) as relay:
        try:
            _wait_for((server.folder / "port").exists)
            yield server._replace(port=int((server.folder / "port").read_text()))
        finally:
            relay.terminate()


def _wait_for(is_there: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_there():
            return
        time.sleep(0.1)
    raise TimeoutError("the server does not start")


def _listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of the whole run."""
    assert SERVER.exists(), "no S3 server: `make test-stores` builds one"
    with serve(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3_server: Server) -> Iterator[Bucket]:
    """A new bucket, and the options with which this process reaches it."""
    made = s3_server.new_bucket()
    with storage_options(made.options):
        yield made
