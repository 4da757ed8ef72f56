"""What the indexes that loaders keep beside a tar must say of it.

Source:
    DALI's ``wds2idx`` (``00042.idx``, versions 1.1 and 1.2) and Megatron-Energon's ``TarIndex`` (``00042.tar.idx``).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardwright.format.headers import BLOCK_BYTES, Longs, block_count

# A run of headers is expected to be this long; and payloads of this size are worth going around.
_RUN_BYTES, _LARGE_BYTES = 9 << 10, 64 << 10
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


def header_runs(name: str, data: bytes) -> list[tuple[int, int]]:
    """Give where an index says that headers stand, offset and size of each run; nothing where it makes no sense.

    What it says is not to be trusted: it may be another tar's.

    Args:
        name: Of the index: ``NAME.tar.idx`` is Energon's, ``NAME.idx`` DALI's.
    """
    try:
        begins = _energon_runs(data) if name.endswith(".tar.idx") else _dali_runs(data)
    except (ValueError, IndexError):
        return []
    return [(begin, _RUN_BYTES) for begin in begins.tolist()]


def _dali_runs(data: bytes) -> Longs:
    version, *lines = data.decode("utf-8", "replace").splitlines()
    width = DALI_VERSIONS.get(version.partition(" ")[0], 0)
    members = np.array([word for line in lines for word in line.split(" ")]).reshape(-1, width)[:, 1:3].astype(np.int64)
    # Behind each large payload; before the first one everything stands at the front.
    large = members[members[:, 1] >= _LARGE_BYTES]
    return np.append(0, large[:, 0] + block_count(large[:, 1]) * BLOCK_BYTES)


def _energon_runs(data: bytes) -> Longs:
    # What is small stands behind the sample's large payload as a rule, and before the next sample.
    return np.maximum(np.frombuffer(data, "<u8").astype(np.int64) - _RUN_BYTES // 2 // BLOCK_BYTES * BLOCK_BYTES, 0)


def energon_offsets(samples: pa.Table) -> Longs:
    """Give the numbers of Energon's index: where each sample begins, then where the last one ends, padding included."""
    begins = samples["sample_offset"].to_numpy()
    return np.append(begins, begins[-1:] + samples["sample_bytes"].to_numpy()[-1:])
