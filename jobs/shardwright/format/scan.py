"""List the samples of a tar from its headers, and from what its JSON members hold.

Source:
    Grouping as in webdataset's ``group_by_keys``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardwright.errors import Problem, SampleReason
from shardwright.format.headers import BLOCK_BYTES, MAX_MEMBER_BYTES, Flags, Longs, block_count
from shardwright.format.key_sums import KeySums, key_sums
from shardwright.format.members import Members, list_members
from shardwright.format.split import SplitNames, split_names
from shardwright.format.window import RangeReader

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
    def key_sums(self) -> KeySums:
        """What tells the keys from others; nothing where a sample has a problem."""
        is_sound = self.samples["problem"].null_count == len(self.samples)
        return key_sums(self.samples["key"]) if is_sound else KeySums()

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
        tar: Its headers are read, and of its payloads JSON alone.
        shard: What problems call it.
    """
    members = list_members(tar)
    names = split_names(members.names)
    groups = _group(names)
    flaws = _flaws(members, names, groups)
    damage = members.damage
    return ShardIndex(
        shard=shard,
        samples=_table(members, names, groups, flaws),
        longest_name_bytes=_longest(members.names),
        longest_ext_bytes=_longest(names.exts),
        member_count=len(members.names),
        skipped_count=members.skipped_count + len(members.names) - len(names.members),
        dialect=members.dialect,
        damage=Problem(shard, None, damage.offset, damage.reason, damage.detail) if damage else None,
    )


class _Groups(NamedTuple):
    """Consecutive members of one key, counted among those that belong to a sample."""

    keys: pa.StringArray
    firsts: Longs  # the place of each group's first member
    of_members: Longs  # the group of each member


class _Flaw(NamedTuple):
    """Why a sample is unsound, and at which header."""

    reason: SampleReason
    offset: int
    detail: str


def _group(names: SplitNames) -> _Groups:
    is_first = np.ones(len(names.keys), dtype=bool)
    is_first[1:] = pc.not_equal(names.keys[1:], names.keys[:-1])
    firsts = np.flatnonzero(is_first)
    return _Groups(names.keys.take(pa.array(firsts)), firsts, np.cumsum(is_first) - 1)


def _flaws(members: Members, names: SplitNames, groups: _Groups) -> dict[int, _Flaw]:
    """Find each unsound sample's first flaw, by group; one that matters only to those who rewrite JSON gives way."""
    flaws: dict[int, _Flaw] = {}
    for group, flaw in (*_member_flaws(members, names, groups), *_repeated_keys(members, names, groups)):
        if group not in flaws or flaws[group].reason == "bad_json":
            flaws[group] = flaw
    return flaws


def _member_flaws(members: Members, names: SplitNames, groups: _Groups) -> Iterator[tuple[int, _Flaw]]:
    sizes = members.sizes[names.members]
    exts, json_ext = _without_case(names.exts)
    is_large = sizes > MAX_MEMBER_BYTES
    is_repeated = _repeats(groups.of_members * (len(exts) + 1) + exts)
    is_misnamed = np.isin(names.members, list(names.flaws))
    is_bad_json = np.isin(names.members, list(members.bad_json)) & (exts == json_ext)
    for place in np.flatnonzero(is_large | is_repeated | is_misnamed | is_bad_json).tolist():
        number = int(names.members[place])
        flaw: tuple[SampleReason, str]
        if is_large[place]:
            flaw = "too_large", f"a member of {sizes[place]:,} bytes, ustar holds {MAX_MEMBER_BYTES:,}"
        elif is_repeated[place]:
            flaw = "duplicate_member", f"the sample has two members '{names.exts[place]}', compared without case"
        elif is_misnamed[place]:
            flaw = "bad_name", names.flaws[number]
        else:
            flaw = "bad_json", members.bad_json[number]
        yield int(groups.of_members[place]), _Flaw(flaw[0], int(members.headers[number]), flaw[1])


def _without_case(exts: pa.StringArray) -> tuple[Longs, int]:
    """Number exts, those that differ in case alike; give the number of ``json`` as well."""
    encoded = exts.dictionary_encode()
    numbers = {"json": 0}
    lowered = [numbers.setdefault(ext.lower(), len(numbers)) for ext in encoded.dictionary.to_pylist()]
    return np.array(lowered, dtype=np.int64)[encoded.indices.to_numpy()], numbers["json"]


def _repeats(values: Longs) -> Flags:
    """Tell which values were there before."""
    ordered = np.sort(values)
    is_repeated = np.zeros(len(values), dtype=bool)
    if (ordered[1:] == ordered[:-1]).any():
        is_repeated[:] = True
        is_repeated[np.unique(values, return_index=True)[1]] = False
    return is_repeated


def _repeated_keys(members: Members, names: SplitNames, groups: _Groups) -> Iterator[tuple[int, _Flaw]]:
    """Find keys whose members do not stand together: readers would see several samples."""
    if pc.count_distinct(groups.keys).as_py() == len(groups.keys):
        return
    keys = groups.keys.to_pylist()
    counts = Counter(keys)
    for group, key in enumerate(keys):
        if counts[key] > 1:
            detail = f"{counts[key]:,} groups of members have this key, a key is one sample's"
            first = names.members[groups.firsts[group]]
            yield group, _Flaw("duplicate_key", int(members.headers[first]), detail)


def _table(members: Members, names: SplitNames, groups: _Groups, flaws: Mapping[int, _Flaw]) -> pa.Table:
    starts, sizes = members.starts[names.members], members.sizes[names.members]
    payloads = members.headers[names.members] + BLOCK_BYTES
    bounds = np.append(groups.firsts, len(names.members))
    list_offsets = pa.array(bounds.astype(np.int32))
    lasts = bounds[1:] - 1
    sample_offsets = starts[groups.firsts]
    written = np.append(0, np.cumsum((1 + block_count(sizes)) * BLOCK_BYTES))
    sample_ends = payloads[lasts] + block_count(sizes[lasts]) * BLOCK_BYTES
    return pa.table(
        [
            groups.keys,
            pa.array(sample_offsets, pa.int64()),
            pa.array(sample_ends - sample_offsets, pa.int64()),
            pa.array(np.diff(written[bounds]), pa.int64()),
            pa.ListArray.from_arrays(list_offsets, names.exts),
            pa.ListArray.from_arrays(list_offsets, pa.array(payloads, pa.int64())),
            pa.ListArray.from_arrays(list_offsets, pa.array(sizes, pa.int64())),
            *_flaw_columns(len(groups.keys), flaws),
        ],
        schema=SAMPLES,
    )


def _flaw_columns(count: int, flaws: Mapping[int, _Flaw]) -> list[pa.Array]:
    kinds = (pa.string(), pa.int64(), pa.string())
    if not flaws:
        return [pa.nulls(count, kind) for kind in kinds]
    rows = [flaws.get(group) for group in range(count)]
    return [pa.array([flaw and flaw[part] for flaw in rows], kind) for part, kind in enumerate(kinds)]


def _longest(texts: pa.Array) -> int:
    return pc.max(pc.binary_length(texts)).as_py() or 0
