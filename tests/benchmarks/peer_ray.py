"""Ray Data's reader and writer of webdatasets, on all cores; nothing is decoded, and keys stay as they are.

It does less than the others: there are no Parquet files, no sample gets a new key, and output shards hold as many
samples as come together, at least as many as asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from peers import kept_keys


def export(shards: Sequence[Path], output: Path, samples_per_shard: int, _: int) -> None:
    """Write the kept samples of these shards."""
    keys = kept_keys(shards)
    samples = import_module("ray.data").read_webdataset(list(map(str, shards)), decoder=None)
    kept = samples.filter(lambda sample: sample["__key__"] in keys)
    kept.write_webdataset(str(output), encoder=None, min_rows_per_file=samples_per_shard)
