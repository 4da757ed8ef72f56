"""What shardwright is timed against: other programs that keep the same samples, in one process or in several.

Each writes the samples of SOURCE whose ``aesthetic_score`` is above 0.5 to OUTPUT, as tars of N samples. In
several processes the source shards are split among them, and each writes output shards of its own.

Run: ``python tests/benchmarks/peers.py tarfile|webdataset|ray SOURCE OUTPUT SAMPLES_PER_SHARD PROCESSES``
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

ID_COLUMN = "id"
SCORE_COLUMN = "aesthetic_score"
LEAST_SCORE = 0.5
SHARD_DIGITS = 5

# Source shards, output folder, samples a shard, number of the first output shard.
Peer = Callable[[Sequence[Path], Path, int, int], None]


def kept_keys(shards: Sequence[Path]) -> set[str]:
    """Read the keys of the samples to keep from the sidecars of these shards."""
    keys: set[str] = set()
    for shard in shards:
        rows = pq.read_table(shard.with_suffix(".parquet"), columns=[ID_COLUMN, SCORE_COLUMN])
        keys.update(rows.filter(pc.greater(rows[SCORE_COLUMN], LEAST_SCORE))[ID_COLUMN].to_pylist())
    return keys


def _run(peer: Peer, source: Path, output: Path, samples_per_shard: int, process_count: int) -> None:
    output.mkdir(parents=True)
    shards = sorted(source.glob("*.tar"))
    if process_count == 1:
        peer(shards, output, samples_per_shard, 0)
        return
    processes = []
    for number in range(process_count):
        begin, end = (len(shards) * cut // process_count for cut in (number, number + 1))
        # How many output shards the others need is not known: each has its own range of numbers.
        first = 10**SHARD_DIGITS * number // process_count
        arguments = (shards[begin:end], output, samples_per_shard, first)
        processes.append(multiprocessing.Process(target=peer, args=arguments))
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("A process failed.")


if __name__ == "__main__":
    name, source_folder, output_folder, *counts = sys.argv[1:]
    # Each peer is in a file of its own, so that none pays for another's imports.
    _run(import_module(f"peer_{name}").export, Path(source_folder), Path(output_folder), *map(int, counts))
