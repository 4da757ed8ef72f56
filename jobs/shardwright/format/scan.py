"""List the samples of a tar from its headers alone.

Source:
    Grouping as in webdataset's ``group_by_keys``.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from shardwright.errors import Problem, SampleReason
from shardwright.format.headers import BLOCK_BYTES, MAX_MEMBER_BYTES, block_count
from shardwright.format.members import Members, RangeReader, list_members
from shardwright.format.names import split_name, unsafe_name

SAMPLES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("sample_offset", pa.int64(), nullable=False),
        pa.field("sample_bytes", pa.int64(), nullable=False),
        pa.field("written_bytes", pa.int64(), nullable=False),
        pa.field("member_exts", pa.list_(pa.string()), nullable=False),
        pa.field("payload_offsets", pa.list_(pa.int64()), nullable=False),
        pa.field("payload_bytes", pa.list_(pa.int64()), nullable=False),
    ]
)


class ShardIndex(NamedTuple):
    """What the headers of one tar say.

    ``samples`` has one row a sound sample, in tar order, offsets and sizes in bytes from the start
    of the tar (schema `SAMPLES`). ``sample_bytes`` runs from its first header to the end of its last
    padded payload, ``written_bytes`` is what it takes in a tar of ours. ``sample_count`` counts the
    unsound samples too, which ``problems`` names; the longest names tell whether ours can hold them.
    """

    samples: pa.Table
    sample_count: int
    longest_name_bytes: int
    longest_ext_bytes: int
    member_count: int
    skipped_count: int
    dialect: str
    problems: list[Problem]


def scan_tar(tar: RangeReader, shard: str) -> ShardIndex:
    """List a tar's samples; problems are returned, never raised.

    Args:
        tar: Its headers are read, its payloads are not.
        shard: What problems call it.
    """
    members = list_members(tar)
    groups = _group(members, shard)
    problems = [*groups.unsound.values(), *_repeated_keys(groups, members, shard)]
    unsound = {problem.key for problem in problems}
    samples = _table(members, groups)
    if unsound:
        samples = samples.filter(pa.array([key not in unsound for key in groups.keys], pa.bool_()))
    if members.damage:
        damage = members.damage
        problems.append(Problem(shard, None, damage.offset, damage.reason, damage.detail))
    return ShardIndex(
        samples=samples,
        sample_count=len(groups.keys),
        longest_name_bytes=max(map(len, members.names), default=0),
        longest_ext_bytes=max((len(ext.encode()) for ext in set(groups.exts)), default=0),
        member_count=len(members.headers),
        skipped_count=members.skipped_count + len(members.headers) - len(groups.members),
        dialect=members.dialect,
        problems=problems,
    )


class _Groups(NamedTuple):
    """Consecutive members of one key; ``firsts`` are the numbers of their first members among ``members``."""

    keys: list[str]
    firsts: list[int]
    members: list[int]  # those that belong to a sample, numbered as the tar's members are
    exts: list[str]
    unsound: dict[str, Problem]


def _group(members: Members, shard: str) -> _Groups:
    groups = _Groups([], [], [], [], {})
    seen: set[str] = set()
    key: str | None = None
    for number, raw in enumerate(members.names):
        name, problem = _decode(raw)
        split = None if name.endswith("/") else split_name(name)
        if split is None:
            continue
        if split[0] != key:
            key = split[0]
            groups.keys.append(key)
            groups.firsts.append(len(groups.exts))
            seen.clear()
        ext = split[1]
        lowered = ext.lower()
        if members.sizes[number] > MAX_MEMBER_BYTES:
            problem = "too_large", f"a member of {members.sizes[number]:,} bytes, ustar holds {MAX_MEMBER_BYTES:,}"
        elif lowered in seen:
            problem = "duplicate_member", f"the sample has two members '{ext}', compared without case"
        if problem:
            groups.unsound.setdefault(key, Problem(shard, key, members.headers[number], *problem))
        seen.add(lowered)
        groups.members.append(number)
        groups.exts.append(ext)
    return groups


def _decode(raw: bytes) -> tuple[str, tuple[SampleReason, str] | None]:
    """Decode a name; give the reason and detail of a problem where it has one."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return raw.decode(errors="backslashreplace"), ("bad_name", "the name is not UTF-8")
    why = unsafe_name(name)
    return name, ("bad_name", why) if why else None


def _repeated_keys(groups: _Groups, members: Members, shard: str) -> list[Problem]:
    """Find keys whose members do not stand together: readers would see two samples."""
    if len(set(groups.keys)) == len(groups.keys):
        return []
    last = {key: group for group, key in enumerate(groups.keys)}
    return [
        Problem(
            shard,
            key,
            members.headers[groups.members[groups.firsts[last[key]]]],
            "duplicate_key",
            f"{count:,} groups of members have this key, a key is one sample's",
        )
        for key, count in Counter(groups.keys).items()
        if count > 1
    ]


def _table(members: Members, groups: _Groups) -> pa.Table:
    indices = np.array(groups.members, dtype=np.int64)
    starts = np.array(members.starts, dtype=np.int64)[indices]
    payloads = np.array(members.headers, dtype=np.int64)[indices] + BLOCK_BYTES
    sizes = np.array(members.sizes, dtype=np.int64)[indices]
    bounds = np.array([*groups.firsts, len(groups.exts)], dtype=np.int64)
    list_offsets = pa.array(bounds.astype(np.int32))
    lasts = bounds[1:] - 1
    sample_offsets = starts[bounds[:-1]]
    written = np.concatenate([[0], np.cumsum((1 + block_count(sizes)) * BLOCK_BYTES)])
    sample_ends = payloads[lasts] + block_count(sizes[lasts]) * BLOCK_BYTES
    return pa.table(
        [
            pa.array(groups.keys, pa.string()),
            pa.array(sample_offsets, pa.int64()),
            pa.array(sample_ends - sample_offsets, pa.int64()),
            pa.array(np.diff(written[bounds]), pa.int64()),
            pa.ListArray.from_arrays(list_offsets, pa.array(groups.exts, pa.string())),
            pa.ListArray.from_arrays(list_offsets, pa.array(payloads, pa.int64())),
            pa.ListArray.from_arrays(list_offsets, pa.array(sizes, pa.int64())),
        ],
        schema=SAMPLES,
    )
