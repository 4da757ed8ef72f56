"""The job file: one section a verb, its keys the options of that verb."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from shardwright.errors import RequestError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


# Options that take several values.
_LISTS = ("rule", "check")


STORAGE = "storage"


def read_job(path: str, verb: str, known: Iterable[str], verbs: Iterable[str]) -> dict[str, Any]:
    """Read a verb's section; ``rules`` become the values of ``--rule``, in order.

    Raises:
        RequestError: The file is missing or no TOML, or a section or key is unknown.
    """
    job = _read_toml(path)
    for name in job:
        if name not in (*verbs, STORAGE):
            raise RequestError(path, f"unknown section '{name}'", did_you_mean(name, (*verbs, STORAGE)))
    section = _table(path, verb, job.get(verb, {})).copy()
    keys = {*known, "rules"} if "rule" in known else set(known)
    for key in section:
        if key not in keys:
            raise RequestError(f"{path} [{verb}]", f"unknown key '{key}'", did_you_mean(key, keys))
    rules = _table(path, f"{verb}.rules", section.pop("rules", {}))
    for name in rules:
        if "=" in name:
            raise RequestError(f"{path} [{verb}.rules]", f"the name '{name}' holds a '='", "Name the rule without it")
    for key, value in section.items():
        if isinstance(value, list | dict) and key not in _LISTS:
            raise RequestError(f"{path} [{verb}]", f"'{key}' is {value!r}", "Give it one value")
        # As on the command line, where each option says what it can take.
        words = [str(item) for item in value] if isinstance(value, list) else str(value)
        section[key] = [words] if key in _LISTS and isinstance(words, str) else words
    if rules:
        section["rule"] = [f"{name}={condition}" for name, condition in rules.items()]
    return section


def read_storage(path: str) -> dict[str, str]:
    """Read the section ``[storage]``: options of stores, for all verbs; values are never shown."""
    options = _table(path, STORAGE, _read_toml(path).get(STORAGE, {}), hidden=True)
    for name, value in options.items():
        if isinstance(value, list | dict):
            raise RequestError(f"{path} [{STORAGE}]", f"'{name}' is no single value", "Give it one")
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in options.items()}


def _read_toml(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise RequestError(path, f"it can't be read ({error.strerror})", "Pass --job with a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(path, f"it is not TOML ({error})", "Mend the file") from None


def _table(path: str, name: str, found: Any, *, hidden: bool = False) -> dict[str, Any]:
    if not isinstance(found, dict):
        shown = "a value" if hidden else repr(found)
        raise RequestError(path, f"'{name}' is {shown}, not a section", f"Write [{name}], and below it NAME = VALUE")
    return found
