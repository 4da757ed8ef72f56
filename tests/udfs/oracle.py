"""The functions in plain Python: what Scala, Spark's own functions and the columnar twins must agree with."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from html.entities import html5

Embedding = Sequence[float | None] | None

# Unicode's White_Space.
WHITE_SPACE = [*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
# Format characters that are seen: number signs and the like of Arabic and Syriac, and annotations.
_SEEN = [*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, *range(0xFFF9, 0xFFFC)]
INVISIBLE = {
    chr(code)
    for code in range(0x10000)
    if (unicodedata.category(chr(code)) in ("Cc", "Cf") or code == 0x2065)
    and code not in WHITE_SPACE
    and code not in _SEEN
}
_WORD = re.compile(f"[^{''.join(map(chr, WHITE_SPACE))}]+")
_REFERENCE = re.compile(r"&(?:#(?P<decimal>[0-9]+)|#[xX](?P<hex>[0-9a-fA-F]+)|(?P<name>[a-zA-Z][a-zA-Z0-9]*));")


def dot_product(a: Embedding, b: Embedding) -> float | None:
    if a is None or b is None or len(a) != len(b):
        return None
    products = []
    for x, y in zip(a, b, strict=True):
        if x is None or y is None:
            return None
        products.append(x * y)
    return _number(sum(products, 0.0))


def l2_norm(a: Embedding) -> float | None:
    squares = dot_product(a, a)
    return None if squares is None else math.sqrt(squares)


def cosine_similarity(a: Embedding, b: Embedding) -> float | None:
    dot, left, right = dot_product(a, b), l2_norm(a), l2_norm(b)
    if dot is None or not left or not right:
        return None
    return _number(dot / (left * right))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def hamming_of_longs(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else ((a ^ b) & (2**64 - 1)).bit_count()


def hamming_of_hex(a: str | None, b: str | None) -> int | None:
    if a is None or b is None or len(a) != len(b):
        return None
    if not all(re.fullmatch("[0-9a-fA-F]+", text) for text in (a, b)):
        return None
    return (int(a, 16) ^ int(b, 16)).bit_count()


def caption_word_count(text: str | None) -> int | None:
    return None if text is None else len(_WORD.findall(text))


def caption_clean(text: str | None) -> str | None:
    if text is None:
        return None
    return " ".join(_WORD.findall("".join(char for char in decoded(text) if char not in INVISIBLE)))


def decoded(text: str) -> str:
    return _REFERENCE.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    if match["name"]:
        return html5.get(f"{match['name']};", match[0])
    # Python leaves out what is no text; the standard does not, and then what is invisible goes anyway.
    return html.unescape(match[0]) or chr(int(match["hex"] or match["decimal"], 16 if match["hex"] else 10))
