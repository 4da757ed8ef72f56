"""Stores that fail: an export from store to store while a relay disturbs its requests, two at once, one that is killed.

After each: the bytes of an undisturbed export once the same command has run again, no upload without an end but those
that nobody could know of, and no file that `verify` does not name. The server and the stores' own clients are real.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import read_tar, tar_bytes, write_dataset
from tests.cluster.standalone import Application, wait_for
from tests.conftest import Outcome
from tests.faults.tally import Reference, Tally
from tests.relay_rules import Request, Rule
from tests.stores import Bucket

pytestmark = [pytest.mark.spark, pytest.mark.stores, pytest.mark.faults]
Run = Callable[..., Outcome]
WHERE = ["--where", "aesthetic_score >= 0.25", "--samples-per-shard"]
KEEP, OTHER = [*WHERE, 8], [*WHERE, 12]
SHARDS = 23


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards of forty samples, of which three quarters are kept; two have an image of several parts."""
    folder = write_dataset(tmp_path_factory.mktemp("source") / "data", 6, 40)
    for name, size in (("00001", 9 << 20), ("00004", 18 << 20)):
        members = read_tar(folder / f"{name}.tar")
        members[60] = (members[60][0], random.Random(name).randbytes(size))
        (folder / f"{name}.tar").write_bytes(tar_bytes(members))
    return folder


@pytest.fixture
def reference(run: Run, source: Path) -> Reference:
    """What the export writes when nothing disturbs it, on a file system."""
    assert run("export", source, source.parent / "reference", *KEEP).result["shards"] == SHARDS
    return Reference.of(source.parent / "reference")


@pytest.fixture
def words(bucket: Bucket, source: Path) -> list[object]:
    """The command, from the bucket to the bucket."""
    return ["export", bucket.upload(source, "data"), bucket.url("out"), *KEEP]


@contextmanager
def started(bucket: Bucket, words: Sequence[object], folder: Path) -> Iterator[Application]:
    """Run a command in a process of its own; what is left of it ends with the context."""
    command = [sys.executable, "-m", "shardwright", *map(str, words), *bucket.words()]
    log = folder / "command.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    application = Application(process, log)
    try:
        yield application
    finally:
        application.kill()


def goes_on(done: Outcome) -> bool:
    """Tell whether a command failed as storage makes it fail: in one line, which says what to do."""
    lines = done.result.get("error", "").splitlines()
    return done.code == 3 and len(lines) == 1 and "Run the same command again" in lines[0]


def endless_uploads(requests: Sequence[Request]) -> Counter[str]:
    """Count, by key, the uploads that nobody could end: nobody heard that they began, or their end was disturbed."""
    return Counter(
        request.path
        for request in requests
        if (request.method == "POST" and request.query.rstrip("=") == "uploads" and request.fault in ("lost", "cut"))
        or (request.method == "DELETE" and "uploadId" in request.query and request.fault == "reset")
    )


FAULTS = {
    "503, 1 %": Rule("refused", one_of=100),
    "503, 10 %": Rule("refused", one_of=10),
    "connection reset, 1 %": Rule("reset", one_of=100),
    "connection reset, 10 %": Rule("reset", one_of=10),
    "answer lost, 10 %": Rule("lost", one_of=10),
    "body cut short, 10 %": Rule("cut", r"^GET [^?]*$", one_of=10),
    "list cut short, 10 %": Rule("cut", r"^(GET|POST) .*\?", one_of=10),
    "50-200 ms, 10 %": Rule("late", one_of=10),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", FAULTS)
def test_an_export_whose_requests_are_disturbed(
    tally: Tally, run_there: Run, bucket: Bucket, words: list[object], reference: Reference, name: str, seed: int
) -> None:
    """It succeeds, or says in a line that the same command goes on."""
    bucket.requests()
    with bucket.disturbed(replace(FAULTS[name], seed=seed)):
        done = run_there(*words)
    requests = bucket.requests()
    injected = sum(bool(request.fault) for request in requests)
    assert injected
    assert done.code == 0 or goes_on(done), done.result
    fault = tally.settle(name, run_there, words, reference, injected=injected)
    assert (fault.strays, fault.unnamed, fault.lost, fault.duplicated) == (0, 0, 0, 0)
    assert not Counter(bucket.unfinished_uploads()) - endless_uploads(requests)


@pytest.mark.parametrize("seed", range(2))
def test_an_export_whose_requests_are_not_tried_again(
    tally: Tally, run_there: Run, bucket: Bucket, words: list[object], reference: Reference, seed: int
) -> None:
    bucket.requests()
    # What ends an upload that failed is let through: nothing else could.
    with bucket.disturbed(Rule("refused", f"^(POST|PUT) /{bucket.name}/out/", one_of=10, seed=seed)):
        done = run_there(*words, "--storage-option", "max_retries=0")
    injected = sum(bool(request.fault) for request in bucket.requests())
    assert goes_on(done), done.result
    fault = tally.settle("503, 10 %, no retries", run_there, words, reference, injected=injected)
    assert (fault.was_committed, fault.strays, fault.lost, fault.duplicated) == (False, 0, 0, 0)
    assert bucket.unfinished_uploads() == []


@pytest.mark.parametrize("moment", ["theirs/", "out/.shardwright/plan.json"])
def test_of_two_exports_at_once_one_wins_and_the_other_is_told(
    tally: Tally, run: Run, run_there: Run, bucket: Bucket, words: list[object], source: Path, reference: Reference,
    tmp_path: Path, moment: str,
) -> None:  # fmt: skip
    """Each has tables of its own: two sessions of Spark that write one table need a log store that locks."""
    assert run("export", source, tmp_path / "other", *OTHER).code == 0
    mine = [*words, "--tables", bucket.url("mine")]
    theirs = [*words[:3], *OTHER, "--tables", bucket.url("theirs")]
    with bucket.disturbed(writing_slowly(bucket)), started(bucket, theirs, tmp_path) as other:
        wait_for(moment, lambda: has(bucket, moment))
        done = run_there(*mine)
        codes = done.code, other.wait()
    assert sorted(codes) == [0, 2], (done.result, other.output)
    told = other.output if done.code == 0 else done.result["error"]
    assert re.search(r"another export began in this folder meanwhile|samples_per_shard was \d+ and now is", told), told
    won = (mine, reference) if done.code == 0 else (theirs, Reference.of(tmp_path / "other"))
    fault = tally.settle("two exports at once", run_there, *won)
    assert (fault.was_committed, fault.strays, fault.lost, fault.duplicated) == (True, 0, 0, 0)
    assert bucket.unfinished_uploads() == []


@pytest.mark.parametrize("moment", ["data_tables/samples/", "out/.shardwright/plan.json"])
def test_one_export_twice_at_once_writes_the_same_bytes_and_one_snapshot(
    tally: Tally, run_there: Run, bucket: Bucket, words: list[object], reference: Reference, tmp_path: Path, moment: str
) -> None:
    with bucket.disturbed(writing_slowly(bucket)), started(bucket, words, tmp_path) as other:
        wait_for(moment, lambda: has(bucket, moment))
        done = run_there(*words)
        codes = done.code, other.wait()
    assert set(codes) <= {0, 3}, (done.result, other.output)
    assert 0 in codes, (done.result, other.output)
    if 3 in codes:
        told = other.output if done.code == 0 else done.result["error"]
        assert re.search("a later run of this export has taken over|at the same moment", told), told
    fault = tally.settle("one export twice at once", run_there, words, reference)
    assert (fault.was_committed, fault.strays, fault.lost, fault.duplicated) == (True, 0, 0, 0)
    assert bucket.unfinished_uploads() == []


MOMENTS: dict[str, Callable[[Bucket], object]] = {
    "an upload begins": Bucket.unfinished_uploads,
    "a tar": lambda bucket: has(bucket, "out/", ".tar"),
    "half of the shards": lambda bucket: has(bucket, "out/", ".parquet", SHARDS // 2),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_process_that_is_killed_while_it_writes(
    tally: Tally, run_there: Run, bucket: Bucket, words: list[object], reference: Reference, tmp_path: Path, moment: str
) -> None:
    """Nobody aborts its uploads, and nobody stumbles over them."""
    with bucket.disturbed(writing_slowly(bucket)), started(bucket, words, tmp_path) as process:
        wait_for(moment, lambda: MOMENTS[moment](bucket))
        process.kill()
    dangling = set(bucket.unfinished_uploads())
    assert dangling or moment != "an upload begins"
    for verb in ("verify", "clean"):
        refused = run_there(verb, bucket.url("out"))
        assert (refused.code, "the export in it is not finished" in refused.result["error"]) == (2, True)
    fault = tally.settle("process killed", run_there, words, reference)
    assert (fault.was_committed, fault.strays, fault.lost, fault.duplicated) == (False, 0, 0, 0)
    assert dangling <= set(bucket.unfinished_uploads())
    assert run_there("clean", bucket.url("out")).result["orphans"] == []


def test_what_a_process_leaves_that_is_killed_behind_its_commit_is_named_and_removed(
    tally: Tally, run_there: Run, bucket: Bucket, words: list[object], reference: Reference, tmp_path: Path
) -> None:
    out = bucket.url("out")
    with started(bucket, words, tmp_path) as process:
        wait_for("all shards", lambda: has(bucket, "out/", ".parquet", SHARDS))
        # It can remove nothing any more.
        with bucket.failing(r"^DELETE|[?&]delete", times=1_000):
            wait_for("the manifest", lambda: has(bucket, "out/manifest.json"))
            process.kill()
    before = bucket.all_keys()
    left = {key.removeprefix("out/") for key in before if re.match(r"out/\.shardwright/\w{16}/", key)}
    assert left
    assert {problem["shard"] for problem in run_there("verify", out).result["problems"]} == left
    listed = run_there("clean", out)
    assert ({orphan["path"] for orphan in listed.result["orphans"]}, listed.result["deleted"]) == (left, 0)
    assert bucket.all_keys() == before
    assert run_there("clean", out, "--delete").result["deleted"] == len(left)
    assert set(before) - set(bucket.all_keys()) == {f"out/{path}" for path in left}
    assert run_there("verify", out).code == 0
    fault = tally.settle("process killed", run_there, words, reference)
    assert (fault.was_committed, fault.strays, fault.lost, fault.duplicated) == (True, 0, 0, 0)
    assert bucket.unfinished_uploads() == []


def writing_slowly(bucket: Bucket) -> Rule:
    """Hold up what is written to the output, so that something can be done meanwhile."""
    return Rule("late", f"^(PUT|POST) /{bucket.name}/out/")


def has(bucket: Bucket, prefix: str, suffix: str = "", count: int = 1) -> bool:
    """Tell whether some objects are there."""
    return sum(key.startswith(prefix) and key.endswith(suffix) for key in bucket.all_keys()) >= count
