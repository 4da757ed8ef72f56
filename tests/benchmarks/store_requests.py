"""Count what an index and an export ask a store for, as a relay before the server wrote it down."""

from __future__ import annotations

import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import parse_qs

from tests.relay_rules import Request
from tests.stores import Bucket

from processes import timed
from report import table
from ways import SAMPLES_PER_SHARD

SOURCE, _COUNTED = "data", "counted"
_KINDS = ("GET", "HEAD", "LIST", "PUT", "PUT of a part", "POST", "DELETE")
_TARS, _SIDECARS, _FOLDER = "source tars", "source Parquet files", "the source's folder"
_INDEX, _TABLES, _OUTPUT, _ELSE = "index", "tables of the export", "output", "else"
_PLACES = (_TARS, _SIDECARS, _FOLDER, _INDEX, _TABLES, _OUTPUT, _ELSE)


def count_requests(bucket: Bucket, folder: Path, where: str, log: Path) -> list[str]:
    """Index, then export anew; give the tables of what was asked for, and what it comes to for a GB that is kept.

    Args:
        bucket: As a relay's clients reach it; the dataset is `SOURCE` in it.
        folder: What the server keeps the bucket's objects in.
        where: What is kept.
    """
    for name in (f"{SOURCE}_tables", _COUNTED, f"{_COUNTED}_tables"):
        shutil.rmtree(folder / name, ignore_errors=True)
    source, output = bucket.url(SOURCE), bucket.url(_COUNTED)
    rule = ["--where", where, "--samples-per-shard", str(SAMPLES_PER_SHARD), "--no-json-id"]
    bucket.requests()
    indexed = _requests_of(bucket, ["index", source], log)
    exported = _requests_of(bucket, ["export", source, output, *rule], log)
    needed = _kept_bytes(folder / _COUNTED)
    return [
        "## Requests",
        "",
        f"An index, then an export that finds it, `--no-json-id`; what is kept are {needed / 1e9:.2f} GB.",
        "",
        *_table("shardwright index", indexed, needed),
        *_table("shardwright export", exported, needed),
        *_sums(exported, needed, bucket.unfinished_uploads()),
    ]


def _requests_of(bucket: Bucket, words: Sequence[str], log: Path) -> list[Request]:
    timed([sys.executable, "-m", "shardwright", *words, *bucket.words()], log)
    return bucket.requests()


def _kept_bytes(output: Path) -> int:
    """Add up the payloads of an output."""
    total = 0
    for shard in output.glob("*.tar"):
        with tarfile.open(shard) as tar:
            total += sum(member.size for member in tar)
    return total


def _table(verb: str, requests: Sequence[Request], kept_bytes: int) -> list[str]:
    """Give a row for each place that was asked for."""
    counts = Counter((_place(request), _kind(request)) for request in requests)
    fetched, refused = Counter[str](), Counter[str]()
    for request in requests:
        fetched[_place(request)] += request.sent_bytes if request.method == "GET" else 0
        refused[_place(request)] += request.status >= 400
    rows = [
        [
            place,
            *(f"{counts[place, kind]:,}" for kind in _KINDS),
            f"{refused[place]:,}",
            f"{fetched[place] / 1e6:,.1f}",
            f"{sum(counts[place, kind] for kind in _KINDS) / kept_bytes * 1e9:,.0f}",
        ]
        for place in _PLACES
        if any(counts[place, kind] for kind in _KINDS)
    ]
    return table([f"`{verb}` asks for", *_KINDS, "of these not there", "MB fetched", "requests a GB kept"], rows)


def _sums(requests: Iterable[Request], kept_bytes: int, unfinished: Sequence[str]) -> list[str]:
    gets = [request for request in requests if _place(request) == _TARS and _kind(request) == "GET"]
    fetched = sum(request.sent_bytes for request in gets)
    return [
        f"- Of tars the export fetched {fetched / kept_bytes:.3f} times the bytes that it kept, in {len(gets):,} ranges"
        f" of {fetched / max(len(gets), 1) / 1e3:,.0f} KB on average.",
        f"- Uploads that were neither finished nor aborted, behind both: {len(unfinished)}.",
    ]


def _kind(request: Request) -> str:
    query = parse_qs(request.query, keep_blank_values=True)
    if request.method == "GET" and not request.path:
        return "LIST"
    return "PUT of a part" if request.method == "PUT" and "partNumber" in query else request.method


def _place(request: Request) -> str:
    """Tell where an object lies, or of a list, what is listed."""
    path = request.path or parse_qs(request.query).get("prefix", [""])[0]
    folder, _, name = path.partition("/")
    if folder == SOURCE:
        return _TARS if name.endswith(".tar") else _SIDECARS if name.endswith(".parquet") else _FOLDER
    return {f"{SOURCE}_tables": _INDEX, f"{_COUNTED}_tables": _TABLES, _COUNTED: _OUTPUT}.get(folder, _ELSE)
