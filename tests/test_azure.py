"""Objects as files, against Azurite: what differs between Azure's storage and S3."""

from __future__ import annotations

import base64
import hmac
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from http.client import HTTPConnection
from pathlib import Path

import pytest

from shardwright import files, publishing
from shardwright.errors import ChangedError, RunError
from shardwright.locations import canonical, current_options, storage_options
from shardwright.object_store import PART_BYTES, put
from shardwright.uploads import Upload

pytestmark = pytest.mark.stores

_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shardwright"
SERVER = _CACHE / "azurite-3.35.0/node_modules/.bin/azurite-blob"
ACCOUNT = "devstoreaccount1"
# Azurite's own, which everyone knows.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A container, in the spelling that tables hold."""
    assert SERVER.exists(), "no Azurite: `make test-stores` installs one"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"account_name": ACCOUNT, "account_key": KEY, "endpoint": f"http://127.0.0.1:{port}/{ACCOUNT}"}
    command: list[str | Path] = [
        SERVER,
        "--silent",
        "--disableTelemetry",
        "--skipApiVersionCheck",
        "--blobPort",
        str(port),
        "--location",
    ]
    with subprocess.Popen([*command, tmp_path_factory.mktemp("azurite")], stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(200):
                with socket.socket() as attempt:
                    if attempt.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            _make_container("tests", port)
            with storage_options(options):
                yield canonical("az://tests")
        finally:
            server.terminate()


def _make_container(name: str, port: int) -> None:
    """Make a container, which obstore has no call for."""
    now = datetime.now(timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = f"x-ms-date:{now}\nx-ms-version:2021-08-06\n"
    text = "PUT" + "\n" * 12 + headers + f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")).decode()
    sent = dict(line.split(":", 1) for line in headers.splitlines())
    connection = HTTPConnection("127.0.0.1", port)
    try:
        sent |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"}
        connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers=sent)
        assert connection.getresponse().status == 201
    finally:
        connection.close()


def test_a_container_is_listed_read_and_written_as_a_bucket_is(container: str) -> None:
    assert container == f"abfss://tests@{ACCOUNT}.dfs.core.windows.net"
    data = random.Random(0).randbytes(2 * PART_BYTES + 5)
    root = f"{container}/data"
    put(f"{root}/a.tar", b"a")
    with publishing.published(f"{root}/sub/b.tar", "") as upload:
        assert isinstance(upload, Upload)
        upload.write(data)
    listed = files.list_files(root, recursive=True)
    assert [(file.path, file.size_bytes) for file in listed] == [(f"{root}/a.tar", 1), (f"{root}/sub/b.tar", len(data))]
    assert sorted(files.list_names(root)) == ["a.tar", "sub"]
    with files.open_file(listed[1].path, listed[1]) as file:
        assert file.read(PART_BYTES - 2, 4) == data[PART_BYTES - 2 : PART_BYTES + 2]
        put(listed[1].path, data[::-1])
        with pytest.raises(ChangedError):
            file.read(0, 4)
    files.move_file(f"{root}/a.tar", f"{root}/c.tar")
    files.remove_files([f"{root}/c.tar", f"{root}/none.tar"])
    files.remove_folder(root)
    assert files.list_files(container, recursive=True) == []


def test_an_upload_that_fails_does_not_appear(container: str) -> None:
    def fail() -> None:
        with publishing.published(f"{container}/x.tar", "") as upload:
            assert isinstance(upload, Upload)
            upload.write(bytes(3 * PART_BYTES))
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        fail()
    assert not files.exists(f"{container}/x.tar")


def test_a_wrong_key_is_refused_and_not_shown(container: str) -> None:
    wrong = base64.b64encode(b"planted").decode()
    with (
        storage_options({**current_options().values, "account_key": wrong}),
        pytest.raises(RunError, match="access was refused") as refused,
    ):
        files.list_files(container)
    assert wrong not in str(refused.value)
