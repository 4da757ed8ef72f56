"""Compare the indexes that loaders keep beside a tar with the tar."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np
import pyarrow as pa

from shardwright.errors import Problem
from shardwright.files import read_bytes
from shardwright.format.loader_index import DALI_VERSIONS, dali_lines, energon_offsets


def check_indexes(stem: str, name: str, samples: pa.Table) -> Iterator[Problem]:
    """Check ``NAME.idx`` (DALI) and ``NAME.tar.idx`` (Energon) where they are there; samples as the tar has them."""
    for suffix, find_fault in ((".idx", _dali_fault), (".tar.idx", _energon_fault)):
        try:
            fault = find_fault(read_bytes(f"{stem}{suffix}"), samples)
        except FileNotFoundError:
            continue
        if fault is not None:
            row, detail = fault
            key = samples["key"][row].as_py() if row is not None and row < len(samples) else None
            yield Problem(f"{name}{suffix}", key, None, "stale_index", detail)


def _dali_fault(data: bytes, samples: pa.Table) -> tuple[int | None, str] | None:
    lines = data.decode("utf-8", "replace").splitlines() or [""]
    version = lines[0].partition(" ")[0]
    if version not in DALI_VERSIONS:
        return None, f"it begins with {lines[0][:20]!r}, DALI reads {' and '.join(DALI_VERSIONS)}"
    for number, (found, wanted) in enumerate(zip_longest(lines, dali_lines(samples, version), fillvalue="")):
        if found.split() != wanted.split():
            return number - 1 if number else None, f"line {number + 1:,} is '{found}', the tar asks for '{wanted}'"
    return None


def _energon_fault(data: bytes, samples: pa.Table) -> tuple[int | None, str] | None:
    wanted = energon_offsets(samples)
    if len(data) != wanted.nbytes:
        return None, f"it has {len(data):,} bytes, {len(samples):,} samples take {wanted.nbytes:,}"
    found = np.frombuffer(data, "<u8")
    wrong = np.flatnonzero(found != wanted.astype("<u8"))
    if not len(wrong):
        return None
    row = int(wrong[0])
    return row, f"number {row + 1:,} is {int(found[row]):,}, in the tar it is {int(wanted[row]):,}"
