"""The twins of udfs/src/main/scala-rapids, step by step the same, on the cuDF of ``cudf.py``."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from tests.udfs import oracle
from tests.udfs.cudf import Column, Lists, if_else, scalar

_DIGITS = [int(chr(byte), 16) if chr(byte) in "0123456789abcdefABCDEF" else None for byte in range(256)]
_HEX_VALUES = Column(
    np.array([value or 0 for value in _DIGITS], np.int32), np.array([value is not None for value in _DIGITS])
)


def only_usable(lists: Lists, usable: Column | Lists) -> Lists:
    masked = lists.merge_and_set_validity(usable)
    return masked.purge_non_empty_nulls() if masked.has_non_empty_nulls() else masked


def aligned(a: Lists, b: Lists) -> tuple[Lists, Lists]:
    is_same = a.count_elements().binary(np.equal, b.count_elements())
    usable = if_else(is_same, is_same, scalar(None, is_same))
    return only_usable(a, usable), only_usable(b, usable)


def dots(a: Lists, b: Lists) -> Column:
    left, right = (lists.child.cast_to(np.float64) for lists in (a, b))
    return a.list_sum(left.binary(np.multiply, right))


def zero_where_empty(sums: Column, lists: Lists) -> Column:
    counts = lists.count_elements()
    return if_else(counts.binary(np.equal, scalar(0, counts)), scalar(0.0, sums), sums)


def dot_product(left: Lists, right: Lists) -> Column:
    a, b = aligned(left, right)
    return zero_where_empty(dots(a, b), a).nans_to_nulls()


def l2_norm(lists: Lists) -> Column:
    a = only_usable(lists, lists)
    return zero_where_empty(dots(a, a).unary(np.sqrt), a).nans_to_nulls()


def cosine_similarity(left: Lists, right: Lists) -> Column:
    a, b = aligned(left, right)
    lengths = dots(a, a).unary(np.sqrt).binary(np.multiply, dots(b, b).unary(np.sqrt))
    cosines = dots(a, b).binary(np.divide, lengths).nans_to_nulls()
    return Column(np.clip(cosines.values, -1.0, 1.0), cosines.valid)


def hamming_distance_hex(left: Lists, right: Lists) -> Column:
    a, b = aligned(left, right)
    x, y = (_HEX_VALUES.gather(lists.child.cast_to(np.int32)) for lists in (a, b))
    return a.list_sum(x.binary(np.bitwise_xor, y).unary(np.bitwise_count).cast_to(np.int32))


def caption_word_count(texts: list[str | None]) -> list[int | None]:
    spaced = [_replace_each(text, {chr(code): " " for code in oracle.WHITE_SPACE}) for text in texts]
    # Where nothing is found, cuDF may give no list.
    counts = [len(re.findall("[^ ]+", text or "")) or None for text in spaced]
    return [None if text is None else count or 0 for text, count in zip(texts, counts, strict=True)]


def caption_clean(texts: list[str | None]) -> list[str | None]:
    decoded = [oracle.decoded(text) if text is not None and "&" in text else text for text in texts]
    characters = {chr(code): " " for code in oracle.WHITE_SPACE} | dict.fromkeys(oracle.INVISIBLE, "")
    seen = [_replace_each(text, characters) for text in decoded]
    return [None if text is None else re.sub(" +", " ", text).strip(" ") for text in seen]


def _replace_each(text: str | None, by: Mapping[str, str]) -> str | None:
    return None if text is None else text.translate({ord(char): new for char, new in by.items()})
