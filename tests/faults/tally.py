"""What must hold after any fault, and how often it was tried; outputs may lie on a file system or in a store."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from shardwright.files import list_files, list_paths, read_bytes
from tests.conftest import Outcome

Run = Callable[..., Outcome]
_OWN = {"manifest.json", ".shardwright/plan.json", ".shardwright/attempt.json"}


class Fault(NamedTuple):
    """One case: what was injected, how often, and what came of it."""

    name: str
    injected: int
    was_committed: bool
    strays: int
    unnamed: int
    lost: int
    duplicated: int


class Reference(NamedTuple):
    """What a command writes when nothing disturbs it: the bytes of its files, and its samples, each once."""

    files: Mapping[str, bytes]
    samples: Counter[str]

    @classmethod
    def of(cls, folder: object) -> Reference:
        files = read_shards(folder)
        samples = samples_in(files)
        assert set(samples.values()) == {1}
        return cls(files, samples)


class Tally:
    """All faults of a run."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def settle(self, name: str, run: Run, words: Sequence[object], reference: Reference, *, injected: int = 1) -> Fault:
        """Require what must hold after a fault, let the same command complete the work, and record it.

        Args:
            words: The command: ``export DATASET OUTPUT …``.
            reference: What it writes when nothing disturbs it.
            injected: How many faults came.
        """
        out, expected = str(words[2]), reference.files
        tables = words[words.index("--tables") + 1] if "--tables" in words else f"{out}_tables"
        was_committed = _snapshots(run, tables) == 1
        # The old or the new snapshot: where a manifest stands, all of it is there.
        if "manifest.json" in _names_in(out):
            assert was_committed
            _named(run, out)
            assert expected.items() <= read_shards(out).items()
        done = run(*words)
        assert done.code == 0, done.result
        found = read_shards(out)
        assert expected.items() <= found.items()
        assert _snapshots(run, tables) == 1
        strays = _names_in(out) - expected.keys() - _OWN
        named = _named(run, out)
        assert named == strays
        if strays:
            assert run("clean", out, "--delete").result["deleted"] == len(strays)
        checked = run("verify", out, "--deep")
        assert checked.code == 0, checked.result
        samples = samples_in(found)
        lost, more = reference.samples - samples, samples - reference.samples
        fault = Fault(name, injected, was_committed, len(strays), len(strays - named), lost.total(), more.total())
        self._faults.append(fault)
        return fault

    def lines(self) -> list[str]:
        """Give the table, a line a kind of fault and one for all."""
        if not self._faults:
            return []
        kinds = {name: [fault for fault in self._faults if fault.name == name] for name in self._names()}
        heads = ("fault", "cases", "injected", "old snapshot", "new snapshot", "strays", "not named", "samples lost",
                 "duplicated")  # fmt: skip
        rows = [heads, *(_row(name, faults) for name, faults in kinds.items()), _row("all", self._faults)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        return [
            "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]

    def _names(self) -> list[str]:
        return list(dict.fromkeys(fault.name for fault in self._faults))


def read_shards(folder: object) -> dict[str, bytes]:
    """Give the bytes of an output's tars and Parquet files by name."""
    paths = [file.path for file in list_files(str(folder))]
    return {path.rpartition("/")[2]: read_bytes(path) for path in paths if path.endswith((".tar", ".parquet"))}


def samples_in(files: Mapping[str, bytes]) -> Counter[str]:
    """Count the samples in tars by their images, which no two share: an export may give a sample another key."""
    images: Counter[str] = Counter()
    for name, data in files.items():
        if name.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                members = [tar.extractfile(info) for info in tar if info.name.endswith(".jpg")]
                images.update(hashlib.sha256(member.read()).hexdigest() for member in members if member)
    return images


def _names_in(folder: str) -> set[str]:
    return {path[len(folder) + 1 :] for path in list_paths(folder)}


def _snapshots(run: Run, tables: object) -> int:
    found = run("history", tables).result.get("snapshots", [])
    return sum(snapshot["operation"] == "export" for snapshot in found)


def _named(run: Run, out: str) -> set[str]:
    """List the files that `verify` names, which finds nothing else."""
    problems = run("verify", out).result["problems"] or []
    assert {problem["reason"] for problem in problems} <= {"orphan"}, problems
    return {problem["shard"] for problem in problems}


def _row(name: str, faults: list[Fault]) -> tuple[str, ...]:
    committed = sum(fault.was_committed for fault in faults)
    counts = [len(faults), sum(fault.injected for fault in faults), len(faults) - committed, committed]
    counts += [sum(fault.strays for fault in faults), sum(fault.unnamed for fault in faults)]
    counts += [sum(fault.lost for fault in faults), sum(fault.duplicated for fault in faults)]
    return (name, *map(str, counts))
