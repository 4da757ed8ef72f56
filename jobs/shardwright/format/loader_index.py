"""What the indexes that loaders keep beside a tar must say of it.

Source:
    DALI's ``wds2idx`` (``00042.idx``, versions 1.1 and 1.2) and Megatron-Energon's ``TarIndex`` (``00042.tar.idx``).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardwright.format.headers import Longs

# With the words a member: ext, offset and size, then its name.
DALI_VERSIONS = {"v1.1": 3, "v1.2": 4}


def dali_lines(samples: pa.Table, version: str) -> list[str]:
    """Give the lines of DALI's index, from a table of `scan.SAMPLES`: a count, then a line a sample."""
    exts = samples["member_exts"].combine_chunks()
    counts = exts.value_lengths().to_numpy()
    flat = exts.flatten()
    keys = samples["key"].take(pa.array(np.repeat(np.arange(len(samples)), counts))).combine_chunks()
    words = [
        flat,
        *(samples[name].combine_chunks().flatten().cast(pa.string()) for name in ("payload_offsets", "payload_bytes")),
        pc.binary_join_element_wise(keys, flat, "."),
    ]
    members = pc.binary_join_element_wise(*words[: DALI_VERSIONS[version]], " ")
    bounds = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    lines: list[str] = pc.binary_join(pa.ListArray.from_arrays(bounds, members), " ").to_pylist()
    return [f"{version} {len(samples)}", *lines]


def energon_offsets(samples: pa.Table) -> Longs:
    """Give the numbers of Energon's index: where each sample begins, then where the last one ends, padding included."""
    begins = samples["sample_offset"].to_numpy()
    return np.append(begins, begins[-1:] + samples["sample_bytes"].to_numpy()[-1:])
