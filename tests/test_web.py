"""Files on a web server: ranges are read, a file that changes is noticed, nothing is written."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardwright import files
from shardwright.errors import ChangedError, DataError, RequestError
from shardwright.format.uids import UidFile
from shardwright.store.keep_lists import open_keep_list
from shardwright.tasks.packed import Packed
from shardwright.tasks.scan import Tar, scan_shards
from shardwright.tasks.uids import read_uids
from tests.builders import AB, tar_bytes

FILES: dict[str, bytes] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        data = FILES.get(self.path)
        if data is None:
            self.send_error(404)
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        body = data[int(found[1]) : int(found[2]) + 1] if found else data
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{md5(data, usedforsecurity=False).hexdigest()}"')
        self.send_header("Last-Modified", "Tue, 24 Nov 2026 20:00:00 GMT")
        if found:
            self.send_header("Content-Range", f"bytes {found[1]}-{found[2]}/{len(data)}")
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def web() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_on_a_web_server_is_read_in_ranges(web: str) -> None:
    FILES["/data/x.bin"] = bytes(range(200))
    known = files.describe(f"{web}/data/x.bin")
    assert known is not None
    assert known.size_bytes == 200
    assert files.describe(f"{web}/data/y.bin") is None
    # This server heeds no condition: the answer is compared with what is known.
    with files.open_file(known.path, known) as file:
        assert file.read(10, 5) == bytes(range(10, 15))
        FILES["/data/x.bin"] = bytes(200)
        with pytest.raises(ChangedError):
            file.read(10, 5)
    assert not files.is_writable(f"{web}/data")


def test_the_tars_of_a_web_server_are_those_that_wids_lists(web: str) -> None:
    FILES.clear()
    with pytest.raises(RequestError, match=r"there is no wids\.json"):
        files.list_files(f"{web}/data")
    data = tar_bytes(AB)
    FILES["/data/wids.json"] = json.dumps({"shardlist": [{"url": "1.tar"}, {"url": "0.tar"}]}).encode()
    FILES["/data/0.tar"] = FILES["/data/1.tar"] = data
    FILES["/data/0.parquet"] = b"?"
    listed = files.list_files(f"{web}/data")
    assert [file.path for file in listed] == [f"{web}/data/{name}" for name in ("0.parquet", "0.tar", "1.tar")]
    tars = Packed(Tar, (Tar(number, *file) for number, file in enumerate(listed[1:])))
    rows = pa.Table.from_batches(scan_shards([pa.record_batch({"number": [0, 1]})], tars))
    assert rows["sample_count"].drop_null().to_pylist() == [2, 2]
    del FILES["/data/1.tar"]
    with pytest.raises(DataError, match=r"1\.tar: wids\.json names it, and the server has no such file"):
        files.list_files(f"{web}/data")
    FILES["/data/wids.json"] = json.dumps({"shardlist": [{"url": "https://example.org/1.tar"}]}).encode()
    with pytest.raises(RequestError, match=r"which lies in no place below it"):
        files.list_files(f"{web}/data")


def test_keep_lists_are_read_from_a_web_server(web: str) -> None:
    uids = np.array([(1, 2), (3, 4)], "u8,u8")
    FILES["/keep.npy"] = uids.tobytes()
    found = open_keep_list(f"{web}/keep.npy", "uid")
    assert found.uids == UidFile(f"{web}/keep.npy", 0, 2)
    (batch,) = read_uids([pa.record_batch({"number": [0]})], found.uids)
    assert batch.column(0).to_pylist() == [f"{1:016x}{2:016x}", f"{3:016x}{4:016x}"]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"uid": ["a"]}), sink)
    FILES["/keep.parquet"] = sink.getvalue().to_pybytes()
    assert open_keep_list(f"{web}/keep.parquet", "uid").entry_count == 1
