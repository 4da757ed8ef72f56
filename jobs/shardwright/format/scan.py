"""List the samples of a tar from its headers alone.

Source:
    Grouping as in webdataset's ``group_by_keys``.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
        pa.field("problem", pa.string()),
        pa.field("problem_offset", pa.int64()),
        pa.field("problem_detail", pa.string()),
    ]
)


class ShardIndex(NamedTuple):
    """What the headers of one tar say.

    ``samples`` has one row a sample, in tar order, offsets and sizes in bytes from the start of the
    tar (schema `SAMPLES`). ``sample_bytes`` runs from its first header to the end of its last padded
    payload, ``written_bytes`` is what it takes in a tar of ours; ``problem`` is the reason why a
    sample is unsound, at the header ``problem_offset``. ``bad_json`` is there only where nothing else
    is wrong: it matters to those who rewrite JSON. ``damage`` is what is wrong with the tar itself.
    The longest names tell whether ours can hold them.
    """

    shard: str
    samples: pa.Table
    longest_name_bytes: int
    longest_ext_bytes: int
    member_count: int
    skipped_count: int
    dialect: str
    damage: Problem | None

    @property
    def sample_count(self) -> int:
        return len(self.samples)

    @property
    def unsound(self) -> pa.Table:
        """The samples that nobody can export; bad JSON can be copied as it is."""
        return self.samples.filter(pc.not_equal(self.samples["problem"], "bad_json"))

    @property
    def unsound_count(self) -> int:
        return len(self.unsound)

    @property
    def problems(self) -> list[Problem]:
        """Everything that nobody can export: each unsound sample, then the tar."""
        listed = [
            Problem(self.shard, row["key"], row["problem_offset"], row["problem"], row["problem_detail"])
            for row in self.unsound.to_pylist()
        ]
        return [*listed, self.damage] if self.damage else listed


def scan_tar(tar: RangeReader, shard: str) -> ShardIndex:
    """List a tar's samples; problems are returned, never raised.

    Args:
        tar: Its headers are read, its payloads are not.
        shard: What problems call it.
    """
    members = list_members(tar)
    groups = _group(members)
    _flag_repeated_keys(groups, members)
    damage = members.damage
    return ShardIndex(
        shard=shard,
        samples=_table(members, groups),
        longest_name_bytes=max(map(len, members.names), default=0),
        longest_ext_bytes=max((len(ext.encode()) for ext in set(groups.exts)), default=0),
        member_count=len(members.headers),
        skipped_count=members.skipped_count + len(members.headers) - len(groups.members),
        dialect=members.dialect,
        damage=Problem(shard, None, damage.offset, damage.reason, damage.detail) if damage else None,
    )


class _Flaw(NamedTuple):
    """Why a sample is unsound, and at which header."""

    reason: SampleReason
    offset: int
    detail: str


class _Groups(NamedTuple):
    """Consecutive members of one key; ``firsts`` are the numbers of their first members among ``members``."""

    keys: list[str]
    firsts: list[int]
    members: list[int]  # those that belong to a sample, numbered as the tar's members are
    exts: list[str]
    flaws: dict[int, _Flaw]  # by the group's number

    def flag(self, group: int, flaw: _Flaw) -> None:
        """Note a sample's first flaw; one that matters only to those who rewrite JSON gives way."""
        known = self.flaws.get(group)
        if known is None or known.reason == "bad_json":
            self.flaws[group] = flaw


def _group(members: Members) -> _Groups:
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
        elif not problem and lowered == "json" and number in members.bad_json:
            problem = "bad_json", members.bad_json[number]
        if problem:
            groups.flag(len(groups.keys) - 1, _Flaw(problem[0], members.headers[number], problem[1]))
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


def _flag_repeated_keys(groups: _Groups, members: Members) -> None:
    """Find keys whose members do not stand together: readers would see several samples."""
    if len(set(groups.keys)) == len(groups.keys):
        return
    counts = Counter(groups.keys)
    for group, key in enumerate(groups.keys):
        if counts[key] > 1:
            detail = f"{counts[key]:,} groups of members have this key, a key is one sample's"
            groups.flag(group, _Flaw("duplicate_key", members.headers[groups.members[groups.firsts[group]]], detail))


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
            *_flaw_columns(groups),
        ],
        schema=SAMPLES,
    )


def _flaw_columns(groups: _Groups) -> list[pa.Array]:
    count = len(groups.keys)
    kinds = (pa.string(), pa.int64(), pa.string())
    if not groups.flaws:
        return [pa.nulls(count, kind) for kind in kinds]
    flaws = [groups.flaws.get(group) for group in range(count)]
    return [pa.array([flaw and flaw[part] for flaw in flaws], kind) for part, kind in enumerate(kinds)]
