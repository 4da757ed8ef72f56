"""Between clients and a server: passes bytes on, and writes down what was asked for and how much came back.

It is a process of its own, ``python -m tests.relay TO_PORT FOLDER``: some clients hold Python's lock while they wait.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

LOG, FAILURES = "requests.log", "failures"
_REQUEST = re.compile(rb"(GET|PUT|HEAD|POST|DELETE|PROPFIND) (\S+) HTTP/1\.1\r\n")
_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
_FAILURE = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_BUFFER_BYTES = 1 << 18


@dataclass
class Request:
    """A request: of its answer, the status and the bytes behind the headers."""

    method: str
    path: str
    query: str
    status: int = 0
    sent_bytes: int = 0


def read_log(folder: Path) -> list[Request]:
    """List the requests of a relay so far."""
    requests: dict[str, Request] = {}
    for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
        number, kind, *words = line.split("\t")
        if kind == "asked":
            requests[number] = Request(words[0], words[1], words[2])
        else:
            requests[number].status = int(words[0])
            requests[number].sent_bytes += int(words[1])
    return list(requests.values())


def fail(folder: Path, pattern: str, times: int) -> None:
    """Let the next requests whose method and address match be answered by a 503; none with an empty pattern."""
    (folder / FAILURES).write_text(f"{times}\t{pattern}", encoding="utf-8")


class _Relay:
    def __init__(self, to_port: int, folder: Path) -> None:
        self.to_port, self._folder = to_port, folder
        self._log: IO[str] = (folder / LOG).open("a", encoding="utf-8", buffering=1)
        self._numbers = count()
        self._lock = threading.Lock()
        self._rule, self._failed = "", 0

    def asked(self, request: bytes) -> tuple[int, bool]:
        """Note a request; give its number, and whether it is to fail."""
        method, address = request.decode().split(" ")
        parts = urlsplit(address)
        with self._lock:
            number = next(self._numbers)
            print(number, "asked", method, unquote(parts.path), parts.query, sep="\t", file=self._log)
            return number, self._fails(f"{method} {address}")

    def _fails(self, request: str) -> bool:
        rule = ""
        with suppress(FileNotFoundError):
            rule = (self._folder / FAILURES).read_text(encoding="utf-8")
        if rule != self._rule:
            self._rule, self._failed = rule, 0
        times, _, pattern = rule.partition("\t")
        if not pattern or self._failed >= int(times) or not re.search(pattern, request):
            return False
        self._failed += 1
        return True

    def answered(self, number: int, status: int, sent_bytes: int) -> None:
        with self._lock:
            print(number, "answered", status, sent_bytes, sep="\t", file=self._log)


class _Connection:
    """One client's connection, on which requests come one after another."""

    def __init__(self, relay: _Relay, client: socket.socket, server: socket.socket) -> None:
        self._relay, self._client, self._server = relay, client, server
        self._number, self._status = -1, 0
        self._head = b""
        self._is_answered = True

    def ask(self) -> None:
        """Pass on what the client says."""
        with self._client, suppress(OSError):
            while data := self._client.recv(_BUFFER_BYTES):
                if self._is_answered and self._fails(data):
                    self._client.sendall(_FAILURE)
                    break
                self._server.sendall(data)
            self._server.shutdown(socket.SHUT_WR)

    def _fails(self, data: bytes) -> bool:
        found = _REQUEST.match(data)
        if found is None:
            return False
        self._head, self._status, self._is_answered = b"", 0, False
        self._number, fails = self._relay.asked(found[1] + b" " + found[2])
        return fails

    def answer(self) -> None:
        """Pass on what the server says."""
        with self._server, suppress(OSError):
            while data := self._server.recv(_BUFFER_BYTES):
                self._note(data)
                self._is_answered = True
                self._client.sendall(data)
            self._client.shutdown(socket.SHUT_WR)

    def _note(self, data: bytes) -> None:
        if self._status:
            self._relay.answered(self._number, self._status, len(data))
            return
        self._head += data
        head, separator, body = self._head.partition(b"\r\n\r\n")
        status = _STATUS.match(head)
        if separator and status and status[1] != b"100":
            self._status = int(status[1])
            self._relay.answered(self._number, self._status, len(body))
        elif separator:
            self._head = body


def main(to_port: int, folder: Path) -> None:
    """Serve until the process is ended; the port stands in ``FOLDER/port``."""
    relay = _Relay(to_port, folder)
    listener = socket.create_server(("127.0.0.1", 0))
    (folder / "port.part").write_text(str(listener.getsockname()[1]), encoding="utf-8")
    (folder / "port.part").rename(folder / "port")
    while True:
        client, _ = listener.accept()
        connection = _Connection(relay, client, socket.create_connection(("127.0.0.1", to_port)))
        for passes_on in (connection.ask, connection.answer):
            threading.Thread(target=passes_on, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
