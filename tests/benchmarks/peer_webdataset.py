"""webdataset's own reader and writer: read, filter by key, write. Nothing is decoded, and keys stay as they are.

It does less than the others: there are no Parquet files, and no sample gets a new key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import webdataset as wds

from peers import SHARD_DIGITS, kept_keys


def export(shards: Sequence[Path], output: Path, samples_per_shard: int, first_shard: int) -> None:
    """Write the kept samples of these shards, with the defaults of both ends."""
    keys = kept_keys(shards)
    kept = wds.WebDataset(list(map(str, shards)), shardshuffle=False).select(lambda sample: sample["__key__"] in keys)
    pattern = str(output / f"%0{SHARD_DIGITS}d.tar")
    with wds.ShardWriter(pattern, maxcount=samples_per_shard, start_shard=first_shard, verbose=0) as writer:
        for sample in kept:
            writer.write(sample)
