"""Split the names of all members of a tar into keys and exts: what `names` says of one, for whole columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from shardwright.format.fields import binary_array
from shardwright.format.headers import Bytes, Flags, Longs
from shardwright.format.names import split_name, unsafe_name

_DOT, _SLASH, _UNDERSCORE, _DELETE = b"./_\x7f"
_NOT_ASCII = 0x80


class SplitNames(NamedTuple):
    """What the names of members say, for those that belong to a sample."""

    members: Longs  # their numbers among all members, ascending
    keys: pa.StringArray
    exts: pa.StringArray
    flaws: dict[int, str]  # why a name is refused, by the number among all members


def split_names(names: pa.BinaryArray) -> SplitNames:
    """Split names as `split_name` does, and look at them as `unsafe_name` does.

    Args:
        names: Never null. What is not UTF-8 stands in keys and exts with backslashes, and has a flaw.
    """
    count = len(names)
    offsets = np.frombuffer(names.buffers()[1], dtype=np.int32)[: count + 1].astype(np.int64)
    # One byte more, that an empty name at the end may be looked at too.
    data = np.append(np.frombuffer(names.buffers()[2] or b"", dtype=np.uint8)[: offsets[-1]], np.uint8(_SLASH))
    begins, ends = offsets[:-1], offsets[1:]
    # ``./`` before a name is no part of it.
    dotted = (data[begins] == _DOT) & (ends - begins > 2)
    dotted[dotted] = data[begins[dotted] + 1] == _SLASH
    begins = begins + 2 * dotted
    is_odd = _odd(names, data, begins, ends)
    dots, is_member = _first_dots(data, begins, ends)
    is_member &= ~is_odd
    plain = SplitNames(
        np.flatnonzero(is_member),
        _between(data, begins[is_member], dots[is_member]),
        _between(data, dots[is_member] + 1, ends[is_member]),
        {},
    )
    return _with_odd(plain, names, np.flatnonzero(is_odd)) if is_odd.any() else plain


def _odd(names: pa.BinaryArray, data: Bytes, begins: Longs, ends: Longs) -> Flags:
    """Tell which names are to be looked at one by one; those that might be refused are among them."""
    first = data[begins]
    is_odd = (begins >= ends) | (first == _DOT) | (first == _SLASH) | (first == _UNDERSCORE)
    is_odd |= data[ends - 1] == _SLASH
    suspect = (data < ord(" ")) | (data == _DELETE)
    suspect[1:] |= (data[1:] == _DOT) & (data[:-1] == _DOT)
    if int(data.max()) >= _NOT_ASCII and not _is_utf8(names):
        suspect |= data >= _NOT_ASCII
    is_odd[np.searchsorted(ends, np.flatnonzero(suspect), side="right")] = True
    return np.asarray(is_odd)


def _is_utf8(names: pa.BinaryArray) -> bool:
    try:
        names.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _first_dots(data: Bytes, begins: Longs, ends: Longs) -> tuple[Longs, Flags]:
    """Find the first dot of each base name, and tell which stand behind something: the others are no sample's."""
    bases = begins
    slashes = np.flatnonzero(data == _SLASH)
    last = np.searchsorted(slashes, ends) - 1
    bases = np.maximum(begins, np.where(last >= 0, slashes[last] + 1, 0))
    dots = np.append(np.flatnonzero(data == _DOT), len(data))
    firsts = dots[np.searchsorted(dots, bases)]
    return firsts, (firsts > bases) & (firsts < ends)


def _between(data: Bytes, begins: Longs, ends: Longs) -> pa.StringArray:
    """Cut ranges out of text; they ascend and don't overlap."""
    steps = np.zeros(len(data) + 1, dtype=np.int8)
    steps[begins] = 1
    steps[ends] -= 1
    is_inside = np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)
    return binary_array(pa.string(), ends - begins, data[is_inside])


def _with_odd(plain: SplitNames, names: pa.BinaryArray, odd: Longs) -> SplitNames:
    members, keys, exts, flaws = [], [], [], {}
    for number, raw in zip(odd.tolist(), names.take(pa.array(odd)).to_pylist(), strict=True):
        name, flaw = _decode(raw)
        split = None if name.endswith("/") else split_name(name)
        if split is None:
            continue
        members.append(number)
        keys.append(split[0])
        exts.append(split[1])
        if flaw:
            flaws[number] = flaw
    numbers = np.append(plain.members, np.array(members, dtype=np.int64))
    order = np.argsort(numbers, kind="stable")
    return SplitNames(
        numbers[order],
        pa.concat_arrays([plain.keys, pa.array(keys, pa.string())]).take(pa.array(order)),
        pa.concat_arrays([plain.exts, pa.array(exts, pa.string())]).take(pa.array(order)),
        flaws,
    )


def _decode(raw: bytes) -> tuple[str, str | None]:
    """Decode a name; say what is wrong with it where something is."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return raw.decode(errors="backslashreplace"), "the name is not UTF-8"
    return name, unsafe_name(name)
