"""The functions as people write them in Python: over NumPy arrays, and a row at a time."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


def _dots(a: Any, b: Any) -> Any:
    return np.einsum("ij,ij->i", a, b, dtype=np.float64)


def _hex_distances(a: Sequence[str], b: Sequence[str]) -> list[int]:
    return [(int(x, 16) ^ int(y, 16)).bit_count() for x, y in zip(a, b, strict=True)]


def _clean_length(text: str) -> int:
    return len(" ".join(_INVISIBLE.sub("", html.unescape(text)).split()))


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


NUMPY: dict[str, Callable[..., Any]] = {
    "cosine_similarity": lambda a, b: _dots(a, b) / np.sqrt(_dots(a, a) * _dots(b, b)),
    "dot_product": _dots,
    "l2_norm": lambda a: np.sqrt(_dots(a, a)),
    "hamming_bigint": lambda n, m: np.bitwise_count(n.view(np.uint64) ^ m.view(np.uint64)).astype(float),
    "hamming_hex": lambda h, g: np.array(_hex_distances(h, g), float),
    "caption_word_count": lambda t: np.array([len(text.split()) for text in t], float),
    "caption_clean": lambda t: np.array([_clean_length(text) for text in t], float),
}
PYTHON: dict[str, Callable[..., float]] = {
    "cosine_similarity": lambda a, b: _dot(a, b) / math.sqrt(_dot(a, a) * _dot(b, b)),
    "dot_product": _dot,
    "l2_norm": lambda a: math.sqrt(_dot(a, a)),
    "hamming_bigint": lambda n, m: float(((n ^ m) & (2**64 - 1)).bit_count()),
    "hamming_hex": lambda h, g: float((int(h, 16) ^ int(g, 16)).bit_count()),
    "caption_word_count": lambda t: float(len(t.split())),
    "caption_clean": lambda t: float(_clean_length(t)),
}
