"""Give the JSON member of a sample its new id, and leave every other byte as it was."""

from __future__ import annotations

import json
import re
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
# strict=False: web-crawled captions hold raw control characters; they are not ours to judge.
_DECODER: Any = json.JSONDecoder(strict=False)
_SCAN = _DECODER.scan_once
_STRING = _DECODER.parse_string


class BadJsonError(ValueError):
    """The payload is not one JSON object."""


def with_json_id(payload: bytes, field: str, new_id: str) -> bytes:
    """Replace the value of a top-level field by a JSON string; insert the field first where it is missing.

    Everything else keeps its bytes: spacing, order, escapes, NaN, even bytes that are not UTF-8.
    A field that stands there twice is replaced twice, so that no parser finds the old id.

    Raises:
        BadJsonError: The payload is not a JSON object.
    """
    text = payload.decode("utf-8", "surrogateescape")
    value = json.dumps(new_id)
    start, spans, empty = _find_values(text, field)
    if not spans:
        inserted = f"{json.dumps(field)}: {value}{'' if empty else ', '}"
        return (text[:start] + inserted + text[start:]).encode("utf-8", "surrogateescape")
    pieces = []
    done = 0
    for begin, end in spans:
        pieces += [text[done:begin], value]
        done = end
    return "".join([*pieces, text[done:]]).encode("utf-8", "surrogateescape")


def _find_values(text: str, field: str) -> tuple[int, list[tuple[int, int]], bool]:
    """Find where the object's first field may stand, the spans of the field's values, and whether the object is empty."""
    at = _skip_space(text, 1 if text.startswith("\ufeff") else 0)
    if text[at : at + 1] != "{":
        raise BadJsonError("the JSON is not an object")
    start = at + 1
    spans = []
    at = _skip_space(text, start)
    empty = text[at : at + 1] == "}"
    try:
        while not empty:
            if text[at : at + 1] != '"':
                raise BadJsonError(f"a field name was expected at character {at:,}")
            name, at = _STRING(text, at + 1, False)
            at = _skip_space(text, at)
            if text[at : at + 1] != ":":
                raise BadJsonError(f"':' was expected at character {at:,}")
            begin = _skip_space(text, at + 1)
            _, end = _SCAN(text, begin)
            if name == field:
                spans.append((begin, end))
            at = _skip_space(text, end)
            if text[at : at + 1] == "}":
                break
            if text[at : at + 1] != ",":
                raise BadJsonError(f"',' or '}}' was expected at character {at:,}")
            at = _skip_space(text, at + 1)
    except StopIteration as stop:
        raise BadJsonError(f"a value was expected at character {stop.value:,}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadJsonError(str(error)) from None
    if _skip_space(text, at + 1) != len(text):
        raise BadJsonError(f"text follows the object at character {at + 1:,}")
    return start, spans, empty


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
