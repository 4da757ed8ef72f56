"""Columns of user metadata: quoting, and the names they take in ``exports``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F

from shardwright.format.names import NOT_IN_TABLES

_NOT_A_NAME = re.compile(r"\W")


def column(name: str) -> Column:
    """Give the column of exactly this name, dots and spaces included."""
    return F.col(f"`{name.replace('`', '``')}`")


def table_columns(names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Map metadata columns to their names in ``exports``.

    A name that Delta or Spark refuses, or that equals a taken one but for case, becomes ``meta_<name>`` with
    other characters as ``_``; ``_2``, ``_3``, … where that is taken too.
    """
    used = {name.lower() for name in taken}
    mapping: dict[str, str] = {}
    for name in names:
        candidate = name
        if name.lower() in used or NOT_IN_TABLES.search(name) or not name:
            stem = f"meta_{_NOT_A_NAME.sub('_', name)}"
            candidate, count = stem, 1
            while candidate.lower() in used:
                count += 1
                candidate = f"{stem}_{count}"
        used.add(candidate.lower())
        mapping[name] = candidate
    return mapping
