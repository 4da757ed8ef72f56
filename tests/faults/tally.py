"""What must hold after any fault, and how often it was tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.builders import read_samples, tree_bytes
from tests.conftest import Outcome

Run = Callable[..., Outcome]


class Fault(NamedTuple):
    """One fault that was injected, and what came of it."""

    name: str
    was_committed: bool
    strays: int
    unnamed: int
    lost: int


class Reference(NamedTuple):
    """What a command writes when nothing disturbs it: the bytes of its files, the keys of its samples."""

    files: Mapping[str, bytes]
    keys: frozenset[str]

    @classmethod
    def of(cls, folder: Path) -> Reference:
        return cls(tree_bytes(folder), frozenset(read_samples(folder)))


class Tally:
    """All faults of a run."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def settle(self, name: str, run: Run, words: Sequence[object], reference: Reference) -> Fault:
        """Require what must hold after a fault, let the same command complete the work, and record it.

        Args:
            words: The command: ``export DATASET OUTPUT …``.
            reference: What it writes when nothing disturbs it.
        """
        out, expected = Path(str(words[2])), reference.files
        was_committed = _snapshots(run, out) == 1
        # The old or the new snapshot: where a manifest stands, all of it is there.
        if (out / "manifest.json").exists():
            assert was_committed
            assert _reasons(run, out) <= {"orphan"}
            assert expected.items() <= tree_bytes(out).items()
        done = run(*words)
        assert done.code == 0, done.result
        assert expected.items() <= tree_bytes(out).items()
        assert _snapshots(run, out) == 1
        strays = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
        strays -= {*expected, "manifest.json", ".shardwright/plan.json", ".shardwright/attempt.json"}
        checked = run("verify", out)
        named = {problem["shard"] for problem in checked.result["problems"] or []}
        assert _reasons(run, out) <= {"orphan"}
        assert named == strays
        if strays:
            assert run("clean", out, "--delete").result["deleted"] == len(strays)
        assert run("verify", out, "--deep").code == 0
        lost = len(reference.keys - read_samples(out).keys())
        fault = Fault(name, was_committed, len(strays), len(strays - named), lost)
        self._faults.append(fault)
        return fault

    def lines(self) -> list[str]:
        """Give the table, a line a kind of fault and one for all."""
        if not self._faults:
            return []
        kinds = {name: [fault for fault in self._faults if fault.name == name] for name in self._names()}
        heads = ("fault", "injected", "old snapshot", "new snapshot", "strays", "not named", "samples lost")
        rows = [heads, *(_row(name, faults) for name, faults in kinds.items()), _row("all", self._faults)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        return [
            "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]

    def _names(self) -> list[str]:
        return list(dict.fromkeys(fault.name for fault in self._faults))


def _snapshots(run: Run, out: Path) -> int:
    found = run("history", f"{out}_tables").result.get("snapshots", [])
    return sum(snapshot["operation"] == "export" for snapshot in found)


def _reasons(run: Run, out: Path) -> set[str]:
    return {problem["reason"] for problem in run("verify", out).result["problems"] or []}


def _row(name: str, faults: list[Fault]) -> tuple[str, ...]:
    committed = sum(fault.was_committed for fault in faults)
    counts = [len(faults), len(faults) - committed, committed]
    counts += [sum(fault.strays for fault in faults), sum(fault.unnamed for fault in faults)]
    return (name, *map(str, counts), str(sum(fault.lost for fault in faults)))
