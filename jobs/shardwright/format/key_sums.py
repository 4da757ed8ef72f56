"""Sums of a shard's keys, by which others are known to have the same keys without being compared one by one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

# Of Spark's ``xxhash64``.
_SEED = 42
_LOW_BITS = np.uint64(2**32 - 1)


class KeySums(NamedTuple):
    """The halves of the keys' 64-bit hashes added up, 32 bits each, and how many characters each key has.

    All are None where a sample has a problem; ``key_characters`` also where keys differ in it.
    """

    key_low: int | None = None
    key_high: int | None = None
    key_characters: int | None = None


def key_sums(keys: pa.ChunkedArray) -> KeySums:
    """Add up the hashes of keys (text) as Spark's ``xxhash64`` gives them."""
    texts = keys.cast(pa.binary()).to_pylist()
    hashes = np.fromiter((xxhash.xxh64_intdigest(text, _SEED) for text in texts), np.uint64, len(texts))
    lengths = pc.unique(pc.utf8_length(keys)).to_pylist()
    low, high = int((hashes & _LOW_BITS).sum()), int((hashes >> np.uint64(32)).sum())
    return KeySums(low, high, lengths[0] if len(lengths) == 1 else None)
