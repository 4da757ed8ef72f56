"""Every error that shardwright raises on purpose, and who acts on it.

::

    ShardwrightError
    ├── RequestError   2  the request was wrong: whoever typed it changes the command or the job file
    ├── DataError      1  the data failed a check: whoever owns the dataset repairs it, or sets it aside
    │   ├── ProblemsError    problems found in shards or sidecars, each with its place
    │   └── CountsError      two counts that must be equal are not; nothing was committed
    └── RunError       3  storage or Spark failed while running: whoever runs the job tries again

The number is the exit code of the command line. Classes build their message from the facts that
the caller passes: where, what was found, what was expected, what to do now.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

LISTED_PROBLEMS = 20
_IN_TRACEBACK = re.compile(r"^shardwright\.errors\.(?P<name>\w+): (?P<message>.+?)(?:\n\s*\n|\n\tat |\Z)", re.M | re.S)


# What can be wrong with a tar, with a sample, with pairing, with an output; README.md says what each means.
TarReason = Literal["truncated", "bad_header", "trailing_data", "compressed", "unsupported"]
SampleReason = Literal["too_large", "bad_name", "long_name", "duplicate_member", "duplicate_key", "bad_json"]
PairingReason = Literal["missing_row", "unmatched_row", "duplicate_row", "null_id"]
OutputReason = Literal[
    "missing_file",
    "wrong_size",
    "wrong_checksum",
    "wrong_count",
    "wrong_key",
    "unreadable",
    "orphan",
    "loads_differently",
    "missing_snapshot",
    "wrong_manifest",
]
Reason = TarReason | SampleReason | PairingReason | OutputReason


class Problem(NamedTuple):
    """One thing that is wrong in a dataset or an output, and where."""

    shard: str
    key: str | None
    offset: int | None
    reason: Reason
    detail: str

    def __str__(self) -> str:
        key = f", key '{self.key}'" if self.key is not None else ""
        offset = f", byte {self.offset:,}" if self.offset is not None else ""
        return f"{self.shard}{key}{offset}: {self.reason}: {self.detail}"


class ShardwrightError(Exception):
    """Base of all errors that carry a message for the user."""

    exit_code = 3
    problems: Sequence[Problem] = ()


class RequestError(ShardwrightError):
    """The request can't be carried out as asked; nothing was written."""

    exit_code = 2

    def __init__(self, where: str, found: str, remedy: str) -> None:
        super().__init__(f"{where}: {found}. {remedy}")


class DataError(ShardwrightError):
    """The data failed a check; nothing was committed."""

    exit_code = 1

    def __init__(self, where: str, found: str, remedy: str) -> None:
        super().__init__(f"{where}: {found}. {remedy}")


class ProblemsError(DataError):
    """Problems found in one pass over a dataset or an output, listed by place."""

    def __init__(self, where: str, problems: Sequence[Problem], remedy: str, total: int | None = None) -> None:
        self.problems = problems
        count = total if total is not None else len(problems)
        lines = [f"  {problem}" for problem in problems[:LISTED_PROBLEMS]]
        if count > len(lines):
            lines.append(f"  … and {count - len(lines):,} more")
        Exception.__init__(
            self, "\n".join([f"{where}: {count:,} {'problem' if count == 1 else 'problems'} found.", *lines, remedy])
        )


class CountsError(DataError):
    """Two counts that the design holds to be equal differ."""

    def __init__(self, where: str, expected: str, expected_count: int, found: str, found_count: int) -> None:
        Exception.__init__(
            self,
            f"{where}: {found} {found_count:,} samples, {expected} {expected_count:,}. Nothing was committed.",
        )


class RunError(ShardwrightError):
    """Storage or Spark failed while the request was carried out."""

    exit_code = 3

    def __init__(self, where: str, found: str, remedy: str) -> None:
        super().__init__(f"{where}: {found}. {remedy}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the nearest known words, or all of them when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(repr(name) for name in near)}?"
    return f"Known: {', '.join(names)}."


def restored(text: str) -> ShardwrightError | None:
    """Find an error of ours in the traceback that a task sent to the driver."""
    match = _IN_TRACEBACK.search(text)
    if match is None:
        return None
    error_class = {"DataError": DataError, "RequestError": RequestError}.get(match["name"], RunError)
    error = error_class.__new__(error_class)
    Exception.__init__(error, match["message"].strip())
    return error
