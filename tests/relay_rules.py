"""What a relay is told, and what it tells: which requests to disturb, and the log of all of them."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

LOG, _RULE = "requests.log", "rule.json"
Kind = Literal["refused", "denied", "reset", "lost", "cut", "late"]


@dataclass(frozen=True)
class Rule:
    """How some requests are disturbed, and which.

    ``refused`` are answered by a 503, ``denied`` by a 403, and ``reset`` have their connections reset, before the
    server hears of them; of ``lost`` the connection is reset in place of the server's answer; of ``cut`` the answer's
    body stops half way, where there is one; ``late`` reach the server after a pause.

    Args:
        pattern: Is searched for in method and address.
        one_of: Of each so many that match, one is disturbed; the seed says which.
        times: No more than so many.
        seconds: The longest pause; the shortest is a quarter of it.
    """

    kind: Kind
    pattern: str = ""
    one_of: int = 1
    seed: int = 0
    times: int = 1_000_000
    seconds: float = 0.2


class Fault(NamedTuple):
    """What is done to one request."""

    kind: Kind
    pause_seconds: float


@dataclass
class Request:
    """A request: of its answer, the status and the bytes behind the headers; which fault it met."""

    method: str
    path: str
    query: str
    status: int = 0
    sent_bytes: int = 0
    fault: str = ""


def read_log(folder: Path) -> list[Request]:
    """List the requests of a relay so far."""
    requests: dict[str, Request] = {}
    for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
        number, kind, *words = line.split("\t")
        if kind == "asked":
            requests[number] = Request(words[0], words[1], words[2])
        elif kind == "disturbed":
            requests[number].fault = words[0]
        else:
            requests[number].status = int(words[0])
            requests[number].sent_bytes += int(words[1])
    return list(requests.values())


def write_rule(folder: Path, rule: Rule | None) -> None:
    """Let a relay disturb requests from now on; with none it passes all of them on."""
    # The same rule twice is two rules: each counts from one.
    told = {} if rule is None else {**asdict(rule), "told_at": time.monotonic_ns()}
    (folder / f"{_RULE}.part").write_text(json.dumps(told), encoding="utf-8")
    (folder / f"{_RULE}.part").rename(folder / _RULE)


class Chooser:
    """Chooses, in the relay, the requests that are disturbed: by their number among those that match."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _RULE
        self._told: dict[str, Any] = {}
        self._matched = self._chosen = 0

    def choose(self, request: str) -> Fault | None:
        """Give what is to be done to the next request, of this method and address."""
        told: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            told = json.loads(self._path.read_text(encoding="utf-8"))
        if told != self._told:
            self._told, self._matched, self._chosen = told, 0, 0
        if not told:
            return None
        rule = Rule(**{name: value for name, value in told.items() if name != "told_at"})
        if self._chosen >= rule.times or not re.search(rule.pattern, request):
            return None
        block, place = divmod(self._matched, rule.one_of)
        self._matched += 1
        random = Random(f"{rule.seed}/{block}")
        if place != random.randrange(rule.one_of):
            return None
        self._chosen += 1
        return Fault(rule.kind, random.uniform(rule.seconds / 4, rule.seconds))
