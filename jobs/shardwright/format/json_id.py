"""Give the JSON member of a sample its new id, and leave every other byte as it was."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

_SPACE = re.compile(r"[ \t\n\r]*")
# strict=False: web-crawled captions hold raw control characters; they are not ours to judge.
# Numbers are passed over unread: Python refuses to read very long ones.
_DECODER: Any = json.JSONDecoder(strict=False, parse_int=len, parse_float=len)
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
    found = _find_values(text, field)
    if not found.spans:
        inserted = f"{json.dumps(field)}: {value}{'' if found.is_empty else ', '}"
        return (text[: found.start] + inserted + text[found.start :]).encode("utf-8", "surrogateescape")
    pieces = []
    done = 0
    for begin, end in found.spans:
        pieces += [text[done:begin], value]
        done = end
    return "".join([*pieces, text[done:]]).encode("utf-8", "surrogateescape")


class _Object(NamedTuple):
    """Where an object's first field may stand, where the values of one field are, and whether it has fields at all."""

    start: int
    spans: list[tuple[int, int]]
    is_empty: bool


def _find_values(text: str, field: str) -> _Object:
    at = _skip_space(text, 1 if text.startswith("\ufeff") else 0)
    start = _expect(text, at, "{")
    at = _skip_space(text, start)
    is_empty = text.startswith("}", at)
    spans = []
    try:
        while not is_empty:
            name, at = _STRING(text, _expect(text, at, '"'), False)
            begin = _skip_space(text, _expect(text, _skip_space(text, at), ":"))
            _, end = _SCAN(text, begin)
            if name == field:
                spans.append((begin, end))
            at = _skip_space(text, end)
            if text.startswith("}", at):
                break
            at = _skip_space(text, _expect(text, at, ","))
    except StopIteration as stop:
        raise BadJsonError(f"a value was expected at character {stop.value:,}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadJsonError(str(error)) from None
    if _skip_space(text, at + 1) != len(text):
        raise BadJsonError(f"text follows the object at character {at + 1:,}")
    return _Object(start, spans, is_empty)


def _expect(text: str, at: int, char: str) -> int:
    """Give the place behind a character that must stand here."""
    if not text.startswith(char, at):
        raise BadJsonError(f"{char!r} was expected at character {at:,}")
    return at + 1


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
