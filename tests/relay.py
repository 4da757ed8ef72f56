"""Between clients and a server: passes bytes on, writes down what was asked for and answered, and disturbs on request.

It is a process of its own, ``python -m tests.relay TO_PORT FOLDER``: some clients hold Python's lock while they wait.
(toxiproxy knows connections alone: it can neither answer by a 503 nor choose among requests.)
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from tests.relay_rules import LOG, Chooser, Fault

_REQUEST = re.compile(rb"(GET|PUT|HEAD|POST|DELETE|PROPFIND) (\S+) HTTP/1\.1\r\n")
_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATUSES = {"refused": "503 Slow Down", "denied": "403 Forbidden"}
_ANSWER = "HTTP/1.1 {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_AT_ONCE = struct.pack("ii", 1, 0)
_HEAD_END = b"\r\n\r\n"
_BUFFER_BYTES = 1 << 18


class _Relay:
    def __init__(self, to_port: int, folder: Path) -> None:
        self.to_port = to_port
        self._log: IO[str] = (folder / LOG).open("a", encoding="utf-8", buffering=1)
        self._numbers = count()
        self._chooser = Chooser(folder)
        self._lock = threading.Lock()

    def asked(self, method: str, address: str) -> tuple[int, Fault | None]:
        """Note a request; give its number, and what is to be done to it."""
        parts = urlsplit(address)
        with self._lock:
            number = next(self._numbers)
            print(number, "asked", method, unquote(parts.path), parts.query, sep="\t", file=self._log)
            return number, self._chooser.choose(f"{method} {address}")

    def answered(self, number: int, status: int, sent_bytes: int) -> None:
        with self._lock:
            print(number, "answered", status, sent_bytes, sep="\t", file=self._log)

    def disturbed(self, number: int, fault: Fault) -> None:
        """Note a fault, when it is done: not each one that was chosen can be."""
        with self._lock:
            print(number, "disturbed", fault.kind, sep="\t", file=self._log)


class _Connection:
    """One client's connection, on which requests come one after another."""

    def __init__(self, relay: _Relay, client: socket.socket, server: socket.socket) -> None:
        self._relay, self._client, self._server = relay, client, server
        self._is_answered = True
        self._begin(-1, "", None)

    def _begin(self, number: int, method: str, fault: Fault | None) -> None:
        self._number, self._method, self._fault = number, method, fault
        # Of the answer: its head as far as it came, then its status, and the bytes of its body.
        self._head, self._status = b"", 0
        self._promised_bytes = self._body_bytes = 0

    def ask(self) -> None:
        """Pass on what the client says."""
        with suppress(OSError), self._client:
            while data := self._client.recv(_BUFFER_BYTES):
                found = _REQUEST.match(data) if self._is_answered else None
                if found and not self._begins(found[1].decode(), found[2].decode()):
                    break
                self._server.sendall(data)
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_WR)

    def _begins(self, method: str, address: str) -> bool:
        """Note a request; tell whether the server is to hear of it."""
        self._is_answered = False
        number, fault = self._relay.asked(method, address)
        self._begin(number, method, fault)
        if fault is None or fault.kind in ("lost", "cut"):
            return True
        self._relay.disturbed(number, fault)
        if fault.kind == "late":
            time.sleep(fault.pause_seconds)
            return True
        if fault.kind == "reset":
            self._reset()
        else:
            self._client.sendall(_ANSWER.format(_STATUSES[fault.kind]).encode())
            self._client.shutdown(socket.SHUT_WR)
            # Closed with bytes that nobody read, the connection would be reset, and the answer lost.
            while self._client.recv(_BUFFER_BYTES):
                pass
        return False

    def answer(self) -> None:
        """Pass on what the server says."""
        with self._server, suppress(OSError):
            while data := self._server.recv(_BUFFER_BYTES):
                self._note(data)
                self._is_answered = True
                if self._fault and self._status and self._stops(self._fault, data):
                    return
                self._client.sendall(data)
            self._client.shutdown(socket.SHUT_WR)

    def _stops(self, fault: Fault, data: bytes) -> bool:
        """Do to an answer what is to be done to it; tell whether nothing more of it is passed on."""
        excess = self._body_bytes - self._promised_bytes // 2
        if fault.kind == "lost":
            self._relay.disturbed(self._number, fault)
            self._reset()
            return True
        if fault.kind == "cut" and self._promised_bytes > 1 and excess > 0:
            self._relay.disturbed(self._number, fault)
            self._client.sendall(data[: len(data) - excess])
            self._client.shutdown(socket.SHUT_RDWR)
            return True
        return False

    def _reset(self) -> None:
        """Let the connection end by a reset, once it is closed by the thread that reads from it, which this wakes."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._client.shutdown(socket.SHUT_RD)

    def _note(self, data: bytes) -> None:
        body = data
        if not self._status:
            self._head += data
            while self._head.startswith(b"HTTP/1.1 100") and _HEAD_END in self._head:
                self._head = self._head.partition(_HEAD_END)[2]
            head, separator, body = self._head.partition(_HEAD_END)
            status = _STATUS.match(head)
            if not separator or status is None:
                return
            self._status = int(status[1])
            length = _LENGTH.search(head)
            self._promised_bytes = int(length[1]) if length and self._method != "HEAD" else 0
        self._body_bytes += len(body)
        self._relay.answered(self._number, self._status, len(body))


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
