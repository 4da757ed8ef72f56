"""Measure exports from a store to the store, against a plain copy of as many bytes with the same client.

The store is a real S3 server on this machine, which takes its share of the same cores. Times are taken straight at the
server. What it is asked for is counted in a round of its own, through the relay of tests/relay.py, which costs time.

Run: ``PYTHONPATH=. python tests/benchmarks/stores.py [--size-gb N] [--where RULE] [--runs N] [--data FOLDER]``
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.stores import Bucket, gateway, relayed

from dataset import Size, ensure_dataset
from large import written
from processes import Run
from report import RESULTS, heading, spread, table, write_section
from rounds import Way, run_rounds
from shardwright.locations import storage_options
from store_requests import SOURCE, count_requests
from ways import CORES, JSON_ID, NO_JSON_ID, SAMPLES_PER_SHARD, WHERE, WRITER, WRITER_JSON_ID, script

COPY = "plain copy of our output, obstore alone"
RANGES = "the writer's ranges fetched, as many bytes put, obstore alone"
_SHARD_GB = Size.samples_per_shard * Size.mean_image_bytes / 1e9
_OURS, _OTHER, _RANGES = "ours", "other", "ranges"


def main() -> None:
    """Measure, and replace the section of RESULTS.md."""
    args = _arguments()
    size = Size(max(1, round(args.size_gb / _SHARD_GB)))
    source = ensure_dataset(args.data, size)
    # The server keeps each bucket as a folder, so that outputs are compared, and removed, as those on a disk are.
    with tempfile.TemporaryDirectory(prefix="stores-", dir=args.data) as name, gateway(Path(name)) as server:
        bucket = server.new_bucket()
        with storage_options(bucket.options):
            bucket.upload(source, SOURCE)
        log = args.data / "last_run.log"
        folder = server.folder / "buckets" / bucket.name
        runs, kept = run_rounds(_ways(bucket, folder, args.where), args.runs, log, is_cold=False)
        with relayed(server) as relay:
            requests = count_requests(Bucket(bucket.name, relay), folder, args.where, log)
    text = [*heading("stores.py"), *_intro(size, args.where, kept, args.runs), *_times(runs), *requests]
    title = f"Stores, timed: {size.image_gb:.2g} GB, `{args.where}`, S3 server on the same machine"
    write_section(title, text)
    print("\n".join(text))
    print(f"Written to {RESULTS}.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure exports from store to store against a plain copy.")
    default = Path(tempfile.gettempdir()) / "shardwright-benchmark"
    parser.add_argument("--data", type=Path, default=default, help="where all of it lies, the server's objects too")
    parser.add_argument("--runs", type=int, default=3, help="rounds in which each way runs once")
    parser.add_argument("--size-gb", type=float, default=1, help="size of the source's images")
    parser.add_argument("--where", default=WHERE, help="what is kept; all of it where this is true")
    return parser.parse_args()


def _ways(bucket: Bucket, folder: Path, where: str) -> list[Way]:
    """Give the ways in the order in which they run; those that read our output come behind it."""
    options = [f"{name}={value}" for name, value in bucket.options.items()]
    ours, other = bucket.url(_OURS), bucket.url(_OTHER)
    ways = [
        _export(JSON_ID, bucket, folder, where, _OTHER, "--json-id"),
        _export(NO_JSON_ID, bucket, folder, where, _OURS, "--no-json-id", is_kept=True),
    ]
    for name, json_id in ((WRITER_JSON_ID, "json-id"), (WRITER, "no-json-id")):
        command = script("writer.py", ours, other, CORES, json_id, *options)
        ways.append(Way(name, command, reads=folder / SOURCE, output=folder / _OTHER))
    command = script("store_ranges.py", ours, bucket.url(_RANGES), CORES, *options)
    ways.append(Way(RANGES, command, reads=folder / SOURCE, leftovers=(folder / _RANGES,)))
    command = script("store_copy.py", ours, other, CORES, *options)
    return [*ways, Way(COPY, command, reads=folder / _OURS, output=folder / _OTHER)]


def _export(
    name: str, bucket: Bucket, folder: Path, where: str, output: str, option: str, *, is_kept: bool = False
) -> Way:
    """Give an export as a person runs it, which also makes the index."""
    words = [bucket.url(SOURCE), bucket.url(output), "--where", where, "--samples-per-shard", str(SAMPLES_PER_SHARD)]
    command = [sys.executable, "-m", "shardwright", "export", *words, option, *bucket.words()]
    leftovers = (folder / f"{SOURCE}_tables", folder / f"{output}_tables")
    return Way(name, command, folder / SOURCE, folder / output, leftovers, is_kept)


def _intro(size: Size, where: str, kept: int, rounds: int) -> list[str]:
    return [
        f"- Whole processes, in turn, rounds: {rounds}. Source and output lie in versitygw, an S3 server, on the same "
        "machine: what it takes of the cores is in every figure, and no network is. A ratio is of two times of one "
        "round.",
        "- Times are taken straight at the server, requests are counted in a run of their own, through a relay in "
        "Python, whose time is not shown.",
        "",
        f"{size.samples:,} samples in {size.shards} shards, images of {size.mean_image_bytes:,} bytes on average, "
        f"{size.image_gb:.2g} GB; `{where}` keeps {kept:,} of them, written as shards of {SAMPLES_PER_SHARD:,}. In the "
        "first round every output was read back, and all hold the same samples. The copy moves the output of "
        f"`--no-json-id` in {CORES} processes, some objects at a time in each; the ranges are those that the writer "
        "asks for, and nothing is made of them. Both and the writer are timed from when their processes are up. The "
        "write phase is what the export's log says, the writer without Spark its last part once more, from loaded "
        "rows.",
        "",
    ]


def _times(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Give the table of seconds, each beside those of the copy in the same round."""
    written_bytes = {name: written(runs[name][0])[0] for name in (JSON_ID, NO_JSON_ID)}
    seconds: dict[str, list[float]] = {}
    for name in (JSON_ID, NO_JSON_ID):
        seconds[name] = [run.seconds for run in runs[name]]
        seconds[f"{name}: its write phase"] = [written(run)[1] for run in runs[name]]
    for name in (WRITER_JSON_ID, WRITER, RANGES, COPY):
        seconds[name] = [run.printed()["seconds"] for run in runs[name]]
    rows = []
    for name, found in seconds.items():
        ratios = [ours / copy for ours, copy in zip(found, seconds[COPY], strict=True)]
        rate = written_bytes[JSON_ID if "`--json-id`" in name else NO_JSON_ID] / statistics.median(found) / 1e9
        rows.append([name, *spread(found), *spread(ratios), f"{rate:.2f}", *_memory(runs.get(name))])
    header = ["way", "median s", "min-max s", "x plain copy, median", "min-max", "GB/s written"]
    return table([*header, "Python worker MiB", "JVM MiB", "other MiB"], rows)


def _memory(runs: Sequence[Run] | None) -> list[str]:
    """Give the peaks of the largest processes of a way; a phase has none of its own."""
    kinds = ("worker_mib", "jvm_mib", "other_mib")
    peaks = [max(getattr(run, kind) for run in runs or ()) if runs else 0 for kind in kinds]
    return [f"{peak:,.0f}" if peak else "-" for peak in peaks]


if __name__ == "__main__":
    main()
