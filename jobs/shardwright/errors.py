"""Every error that shardwright raises on purpose, and who acts on it.

::

    ShardwrightError
    ├── RequestError   2  the request was wrong: whoever typed it changes the command or the job file
    │   └── ColumnsError     columns that differ between sidecars beyond what one type can hold
    ├── DataError      1  the data failed a check: whoever owns the dataset repairs it, or sets it aside
    │   ├── ChangedError     a file is not the one that was listed
    │   ├── ProblemsError    problems found in shards or sidecars, each with its place
    │   └── CountsError      two counts that must be equal are not; nothing was committed
    └── RunError       3  storage or Spark failed while running: whoever runs the job tries again
        └── UnreadableFileError  one file could not be read

The number is the exit code of the command line. Classes build their message from the facts that
the caller passes: where, what was found, what was expected, what to do now.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

LISTED_PROBLEMS = 20
_IN_TRACEBACK = re.compile(r"^shardwright\.errors\.(?P<name>\w+): (?P<message>.+?)(?:\n\s*\n|\n\tat |\Z)", re.M | re.S)


def reasons_of(kinds: Any) -> tuple[str, ...]:
    """List the words of a literal type, or of a union of some."""
    return tuple(word for part in get_args(kinds) for word in (get_args(part) or (part,)))


# What can be wrong, by the unit that is set aside: a shard, a sample, a sidecar's row; and with an output.
# README.md says what each means.
TarReason = Literal["truncated", "bad_header", "trailing_data", "compressed", "unsupported"]
ShardReason = TarReason | Literal["missing_tar", "missing_sidecar", "unreadable"]
SampleReason = Literal[
    "too_large",
    "bad_name",
    "long_name",
    "duplicate_member",
    "duplicate_key",
    "bad_json",
    "missing_row",
    "duplicate_row",
    "bad_flag",
    "undecided",
    "wrong_hash",
    "not_an_image",
    "broken_image",
    "image_too_large",
]
RowReason = Literal["unmatched_row", "null_id"]
OutputReason = Literal[
    "missing_file",
    "wrong_size",
    "wrong_checksum",
    "wrong_count",
    "wrong_key",
    "wrong_value",
    "wrong_member",
    "wrong_pair",
    "orphan",
    "stale_index",
    "loads_differently",
    "missing_snapshot",
    "wrong_manifest",
]
Reason = ShardReason | SampleReason | RowReason | OutputReason
Unit = Literal["shard", "sample", "row"]

_FETCH = "Fetch or write the shard again"
# What to do now, by reason; an output's own remedy is to make it again.
REMEDIES: Mapping[str, str] = {
    "truncated": _FETCH,
    "bad_header": _FETCH,
    "trailing_data": "Cut the tar in two where the data begins, or write it again",
    "compressed": "Decompress the tar: ranges can't be read from it",
    "unsupported": "Write the tar again without --sparse",
    "missing_tar": "Fetch the tar, or remove its Parquet file",
    "missing_sidecar": "Put the .parquet of the same name beside the tar",
    "unreadable": "Fetch the Parquet file again, or write it in a codec and encoding that Spark reads",
    "too_large": "Take the sample out, or split its member",
    "bad_name": "Rename the member to UTF-8 without '..', a leading '/' or control characters",
    "long_name": "Shorten the name, or pass --keys renumber",
    "duplicate_member": "Take one of the members out, or rename it",
    "duplicate_key": "Let a key's members stand together; where shards share a key, pass --keys renumber or prefix",
    "bad_json": "Repair the JSON, or pass --no-json-id to copy JSON members as they are",
    "missing_row": "Add the row, or pass --unmatched-samples reject",
    "duplicate_row": "Leave one row for each id",
    "bad_flag": "Let the flag be true, false, 1, 0 or null, or compare it in --where",
    "undecided": "See the filter's rejects, or set the sample aside here too",
    "wrong_hash": "Fetch the image again, or correct the hash",
    "not_an_image": "Take the sample out",
    "broken_image": "Fetch the image again, or take the sample out",
    "image_too_large": "Scale the image down, or take the sample out",
    "unmatched_row": "Fetch the sample, or pass --unmatched-rows ignore",
    "null_id": "Give the row its id, or remove it",
}
_REASONS: Mapping[Unit, Any] = {"shard": ShardReason, "sample": SampleReason, "row": RowReason}
_UNITS: Mapping[str, Unit] = {reason: unit for unit, kinds in _REASONS.items() for reason in reasons_of(kinds)}


class Problem(NamedTuple):
    """One thing that is wrong in a dataset or an output, and where; offsets in bytes from the start of the tar."""

    shard: str
    key: str | None
    offset: int | None
    reason: Reason
    detail: str

    def __str__(self) -> str:
        key = f", key '{self.key}'" if self.key is not None else ""
        offset = f", byte {self.offset:,}" if self.offset is not None else ""
        return f"{self.shard}{key}{offset}: {self.reason}: {self.detail}"

    def as_json(self) -> dict[str, Any]:
        """Give what ``--json`` prints of it."""
        return {**self._asdict(), "remedy": REMEDIES.get(self.reason)}


class ShardwrightError(Exception):
    """Base of all errors that carry a message for the user."""

    exit_code = 3
    problems: Sequence[Problem] = ()


class RequestError(ShardwrightError):
    """The request can't be carried out as asked; nothing was written."""

    exit_code = 2

    def __init__(self, where: str, found: str, remedy: str) -> None:
        super().__init__(f"{where}: {found}. {remedy}")


class ColumnsError(RequestError):
    """Columns that no one schema can hold, each with the sidecars that differ."""

    def __init__(self, where: str, columns: Sequence[str], remedy: str) -> None:
        lines = [f"  {column}" for column in columns[:LISTED_PROBLEMS]]
        if len(columns) > len(lines):
            lines.append(f"  … and {len(columns) - len(lines):,} more")
        Exception.__init__(self, "\n".join([f"{where}: they have no schema in common.", *lines, remedy]))


class DataError(ShardwrightError):
    """The data failed a check; nothing was committed."""

    exit_code = 1

    def __init__(self, where: str, found: str, remedy: str) -> None:
        super().__init__(f"{where}: {found}. {remedy}")


class ChangedError(DataError):
    """A file changed while it was needed as it was."""

    def __init__(self, path: str) -> None:
        remedy = "Run the command again when nothing writes there: it indexes the shard anew. Nothing was committed."
        Exception.__init__(self, f"{path}: it changed since it was listed. {remedy}")


class ProblemsError(DataError):
    """Problems found in one pass over a dataset or an output, listed by place."""

    def __init__(self, where: str, problems: Sequence[Problem], remedy: str, total: int | None = None) -> None:
        self.problems = problems
        count = total if total is not None else len(problems)
        lines = [f"  {_printable(str(problem))}" for problem in problems[:LISTED_PROBLEMS]]
        if count > len(lines):
            lines.append(f"  … and {count - len(lines):,} more")
        reasons = dict.fromkeys(problem.reason for problem in problems)
        lines += [f"{reason}: {REMEDIES[reason]}." for reason in reasons if reason in REMEDIES]
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


class AccessError(RunError):
    """A store refuses what is asked with these credentials."""


def unit_of(reason: str) -> Unit:
    """Give the unit that is set aside for a reason."""
    return _UNITS[reason]


def _printable(text: str) -> str:
    """Escape what could garble a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class UnreadableFileError(RunError):
    """Spark failed on one file."""

    def __init__(self, path: str, cause: str) -> None:
        self.path, self.cause = path, cause
        super().__init__(path, cause, "Run the same command again; if it fails again, the file is damaged")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the nearest known words, or all of them when none is near."""
    names = sorted(known)
    if not names:
        return "There are none."
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(repr(name) for name in near)}?"
    return f"Known: {', '.join(names)}."


def restored(text: str) -> ShardwrightError | None:
    """Find an error of ours in the traceback that a task sent to the driver."""
    match = _IN_TRACEBACK.search(text)
    if match is None:
        return None
    known = (DataError, ChangedError, RequestError)
    error_class = {each.__name__: each for each in known}.get(match["name"], RunError)
    error = error_class.__new__(error_class)
    Exception.__init__(error, match["message"].strip())
    return error
