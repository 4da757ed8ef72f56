"""Member names, keys, shard names, and what a column's name can't hold."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"(?P<control>[\x00-\x1f\x7f])|(?P<root>\A(?:\./)*/)|(?:\A|/)\.\.(?:/|\Z)")
_META = re.compile(r"__[^/]*__(?:$|/)")

# What columns of a frame that are no user's begin with.
OWN_PREFIX = "shardwright: "

# A tar, and compressed ones, which can't be read in ranges: the index says so of each.
SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz", ".tar.lz4")

# What Delta refuses in a column's name without column mapping, which would raise the table's protocol; and the
# dot and the backtick, which Spark's mapInArrow takes for a field of a struct and for a quote.
NOT_IN_TABLES = re.compile(r"[ ,;{}()\n\t=.`]")


def split_name(name: str) -> tuple[str, str] | None:
    """Split a member's name into key and ext; None for a name that is not a sample's.

    The key is the path up to the first dot of the base name, the ext is what follows, as written.
    Not members: base names without a dot or beginning with one, and names of the form ``__x__/…``
    or ``__x__``. A leading ``./`` is no part of the key.

    Source:
        webdataset's ``base_plus_ext`` and ``skip_meta``; unlike there, ``./`` is dropped, the case of
        the ext is kept, and a hidden file in a folder is no sample.
    """
    while name.startswith("./"):
        name = name[2:]
    base = name.rfind("/") + 1
    dot = name.find(".", base)
    if dot <= base or (name.startswith("__") and _META.match(name)):
        return None
    return name[:dot], name[dot + 1 :]


def join_name(key: str, ext: str) -> str:
    """Give the member name of a key and an ext; the inverse of `split_name`."""
    return f"{key}.{ext}"


def unsafe_name(name: str) -> str | None:
    """Say why a name could write outside a reader's folder or garble a terminal; None when it can't."""
    match = _UNSAFE.search(name)
    if match is None:
        return None
    if match["control"]:
        return "the name holds a control character"
    return "the name is absolute" if match["root"] else "the name holds '..'"


def shard_name(shard_id: int, shard_digits: int) -> str:
    """Give the stem of an output shard: ``shard_name(42, 5) == "00042"``."""
    return f"{shard_id:0{shard_digits}d}"


def position_digits(samples_per_shard: int) -> int:
    """Count the digits that positions 0 … samples_per_shard - 1 need in a new key: 10,000 → 4, 1 → 0."""
    return len(str(samples_per_shard - 1)) if samples_per_shard > 1 else 0


def combine_key(shard_id: int, position: int, shard_digits: int, digits: int) -> str:
    """Give the new key of a sample: ``combine_key(42, 7, 5, 4) == "000420007"``.

    Source:
        NeMo Curator's ``_combine_id``; ``digits`` is its ``ceil(log10(samples_per_shard))``.
    """
    return f"{shard_id * 10**digits + position:0{shard_digits + digits}d}"
