"""The commands that are timed, by name; all of them keep the samples that meet `WHERE`."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from rounds import Way
from shardwright.store.jvm import delta_jars

SAMPLES_PER_SHARD = 1_000
WHERE = "aesthetic_score > 0.5"

BARE = "Spark session and one trivial job"
JSON_ID, NO_JSON_ID = "shardwright, `--json-id`", "shardwright, `--no-json-id`"
TARFILE = "tarfile as in NeMo Curator, 1 process"
TARFILES = "tarfile as in NeMo Curator, a process a core"
WEBDATASET = "webdataset, 1 process"
WEBDATASETS = "webdataset, a process a core"
RAY = "Ray Data"
WRITER, WRITER_JSON_ID = "our writer without Spark, `--no-json-id`", "our writer without Spark, `--json-id`"
COPY = "cp -r of our output"

VERIFY = "shardwright verify"

CORES = len(os.sched_getaffinity(0))
HERE = Path(__file__).parent


def all_ways(source: Path, data: Path) -> list[Way]:
    """Give the ways in the order in which they run; those that read our output come behind it."""
    ours, other = our_output(data), data / "out_other"
    ways = [
        bare_session(),
        export(JSON_ID, source, other, "--json-id"),
        export(NO_JSON_ID, source, ours, "--no-json-id", is_kept=True),
        _peer(TARFILE, "tarfile", source, other, 1),
        _peer(TARFILES, "tarfile", source, other, CORES),
        _peer(WEBDATASET, "webdataset", source, other, 1),
        _peer(WEBDATASETS, "webdataset", source, other, CORES),
    ]
    if find_spec("ray"):
        ways.append(_peer(RAY, "ray", source, other, 1))
    for name, json_id in ((WRITER_JSON_ID, "json-id"), (WRITER, "no-json-id")):
        command = script("writer.py", ours, other, CORES, json_id)
        ways.append(Way(name, command, reads=source, output=other))
    return [*ways, Way(COPY, ["cp", "-r", str(ours), str(other)], reads=ours, output=other)]


def our_output(data: Path) -> Path:
    """Give where the output lies that others read: the one with `NO_JSON_ID`."""
    return data / "out_ours"


def verify(output: Path) -> Way:
    """Give the check of an output."""
    return Way(VERIFY, [sys.executable, "-m", "shardwright", "verify", str(output), "--json"], reads=output)


def bare_session() -> Way:
    """Give the least that any program on Spark takes."""
    return Way(BARE, script("bare.py", os.pathsep.join(delta_jars())))


def export(name: str, source: Path, output: Path, *options: str, is_kept: bool = False) -> Way:
    """Give an export as a person runs it, which also makes the index."""
    words = [str(source), str(output), "--where", WHERE, "--samples-per-shard", str(SAMPLES_PER_SHARD), *options]
    command = [sys.executable, "-m", "shardwright", "export", *words]
    return Way(name, command, source, output, (tables_of(source), tables_of(output)), is_kept)


def script(name: str, *words: object) -> list[str]:
    """Give the command that runs a script beside this one."""
    return [sys.executable, str(HERE / name), *map(str, words)]


def tables_of(dataset: Path) -> Path:
    """Give where shardwright puts tables by default."""
    return dataset.with_name(f"{dataset.name}_tables")


def _peer(name: str, peer: str, source: Path, output: Path, process_count: int) -> Way:
    command = script("peers.py", peer, source, output, SAMPLES_PER_SHARD, process_count)
    return Way(name, command, reads=source, output=output)
