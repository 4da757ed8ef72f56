"""Give the JSON member of a sample its new id, and leave every other byte as it was."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

_SPACE = r"[ \t\n\r]*"
_OPEN = re.compile(rf"\ufeff?{_SPACE}\{{")
_NAME_OR_CLOSE = re.compile(rf"{_SPACE}(\}})?")
_QUOTE = re.compile('"')
_COLON = re.compile(f"{_SPACE}:{_SPACE}")
_COMMA_OR_CLOSE = re.compile(f"{_SPACE}(?:(,){_SPACE}|}})")
_END = re.compile(rf"{_SPACE}\Z")
# strict=False: web-crawled captions hold raw control characters; they are not ours to judge.
# Numbers are passed over unread: Python refuses to read very long ones.
_DECODER: Any = json.JSONDecoder(strict=False, parse_int=len, parse_float=len)
_SCAN = _DECODER.scan_once
_STRING = _DECODER.parse_string


# A JSON member is held in memory whole.
MAX_JSON_BYTES = 64 << 20


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


def json_flaw(payload: bytes) -> str | None:
    """Say why a payload is not the object that `with_json_id` asks for; None when it is."""
    text = payload.decode("utf-8", "surrogateescape")
    if (begin := _object_begin(text)) is not None:
        try:
            end = _SCAN(text, begin)[1]
        except (StopIteration, json.JSONDecodeError, RecursionError):
            end = 0
        if end == len(text) or (end and _END.match(text, end)):
            return None
    try:
        _find_values(text, "")  # slower, but it knows what is wrong and where
    except BadJsonError as error:
        return str(error)
    return None


def _object_begin(text: str) -> int | None:
    if text.startswith("{"):
        return 0
    opening = _OPEN.match(text)
    return opening.end() - 1 if opening else None


class _Object(NamedTuple):
    """Where an object's first field may stand, where the values of one field are, and whether it has fields at all."""

    start: int
    spans: list[tuple[int, int]]
    is_empty: bool


def _find_values(text: str, field: str) -> _Object:
    start = _match(_OPEN, text, 0, "'{'").end()
    first = _match(_NAME_OR_CLOSE, text, start, "a field")
    at, has_more = first.end(), first[1] is None
    is_empty = not has_more
    spans = []
    try:
        while has_more:
            name, at = _STRING(text, _match(_QUOTE, text, at, "a quoted name").end(), False)
            begin = _match(_COLON, text, at, "':'").end()
            _, end = _SCAN(text, begin)
            if name == field:
                spans.append((begin, end))
            delimiter = _match(_COMMA_OR_CLOSE, text, end, "',' or '}'")
            at, has_more = delimiter.end(), delimiter[1] is not None
    except StopIteration as stop:
        raise BadJsonError(f"a value was expected at character {stop.value:,}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadJsonError(str(error)) from None
    _match(_END, text, at, "the end")
    return _Object(start, spans, is_empty)


def _match(pattern: re.Pattern[str], text: str, at: int, what: str) -> re.Match[str]:
    found = pattern.match(text, at)
    if found is None:
        raise BadJsonError(f"{what} was expected at character {at:,}")
    return found
