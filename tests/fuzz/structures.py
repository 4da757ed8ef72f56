"""Tars as lists of entries: what readers are to find, and the bytes that say so in each dialect.

Source:
    POSIX.1-2017 (ustar, pax), the GNU tar manual (long names and links, base-256 numbers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from shardwright.format.headers import ustar_split
from tests.builders import tar_bytes

BLOCK = 512
FILE_KINDS = (b"0", b"\0", b"7")
DIALECTS = ("v7", "ustar", "gnu", "pax")
QUIRKS = ("base-256", "blanks", "signed", "comment", "mtime", "size", "no size", "global", "given name")
_MAGIC = {"v7": bytes(8), "ustar": b"ustar\x0000", "gnu": b"ustar  \0", "pax": b"ustar\x0000"}

# A member's name and payload.
File = tuple[bytes, bytes]


class Entry(NamedTuple):
    """One entry of a tar, and how its header is written."""

    name: bytes
    payload: bytes = b""
    kind: bytes = b"0"
    link: bytes = b""
    dialect: str = "ustar"
    quirks: frozenset[str] = frozenset()

    def is_file(self) -> bool:
        # V7 has no kind for folders.
        return self.kind in FILE_KINDS and not (self.kind == b"\0" and self.name.endswith(b"/"))


class Tar(NamedTuple):
    """The bytes of a tar, the regular files that it holds, and where its headers and payloads lie."""

    data: bytes
    files: list[File]
    headers: list[int]  # extension headers included
    payloads: list[range]  # of the files


def build_tar(entries: Sequence[Entry], *, is_padded: bool = True) -> Tar:
    """Write entries one behind the other, then the end blocks, and zeros up to a whole record if padded."""
    data = bytearray()
    headers: list[int] = []
    payloads: list[range] = []
    for entry in entries:
        for header, payload in _parts(entry):
            headers.append(len(data))
            data += header + payload + bytes(-len(payload) % BLOCK)
        if entry.is_file():
            begin = headers[-1] + BLOCK
            payloads.append(range(begin, begin + len(entry.payload)))
    data += bytes(2 * BLOCK)
    data += bytes(-len(data) % 10_240 if is_padded else 0)
    files = [(entry.name, entry.payload) for entry in entries if entry.is_file()]
    return Tar(bytes(data), files, headers, payloads)


def header(
    name: bytes,
    size_field: bytes,
    kind: bytes = b"0",
    dialect: str = "ustar",
    *,
    prefix: bytes = b"",
    link: bytes = b"",
) -> bytes:
    """Write a header, its checksum included."""
    fields = [(0, name), (100, b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"), (124, size_field)]
    fields += [(136, b"00000000000\0"), (156, kind), (157, link), (257, _MAGIC[dialect]), (345, prefix)]
    block = bytearray(BLOCK)
    for begin, field in fields:
        block[begin : begin + len(field)] = field
    return seal(block)


def seal(block: bytes | bytearray, *, is_signed: bool = False) -> bytes:
    """Set a header's checksum; some old writers summed signed characters."""
    rest = bytes(block[:148]) + b" " * 8 + bytes(block[156:])
    total = sum(rest) - 256 * is_signed * sum(byte > 127 for byte in rest)
    return rest[:148] + b"%06o\0 " % (total % 8**6) + rest[156:]


def is_sealed(block: bytes | bytearray) -> bool:
    """Tell whether a header's checksum is right."""
    field = bytes(block[148:156]).partition(b"\0")[0].strip()
    sums = [seal(block, is_signed=is_signed)[148:154] for is_signed in (False, True)]
    return field.isdigit() and int(field, 8) in (int(each, 8) for each in sums)


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def base_256(size: int) -> bytes:
    return (size % 256**12 | 1 << 95).to_bytes(12, "big")


def pax_record(key: bytes, value: bytes) -> bytes:
    """Write ``LENGTH KEY=VALUE\\n``, the length counting its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    digits = next(digits for digits in range(1, 10) if len(str(digits + len(rest))) == digits)
    return b"%d" % (digits + len(rest)) + rest


def extension(kind: bytes, text: bytes, dialect: str) -> tuple[bytes, bytes]:
    """Give an extension header and its payload."""
    return header(b"././@LongLink", octal(len(text)), kind, dialect), text


def _parts(entry: Entry) -> Iterator[tuple[bytes, bytes]]:
    """Give the headers of an entry, each with the payload that follows it."""
    quirks, prefix, name, stated = entry.quirks, b"", entry.name, len(entry.payload)
    if entry.dialect == "ustar":
        prefix, name = ustar_split(name) or (b"", name)
    elif entry.dialect == "gnu":
        if len(entry.link) > 100:
            yield extension(b"K", entry.link + b"\0", "gnu")
        if len(name) > 100 or "given name" in quirks:
            yield extension(b"L", name + b"\0", "gnu")
    elif entry.dialect == "pax":
        if "global" in quirks:
            yield extension(b"g", pax_record(b"comment", b"path size"), "pax")
        if records := _pax_records(entry):
            yield extension(b"x", records, "pax")
        stated *= not ({"size", "no size"} <= quirks and entry.kind in FILE_KINDS)
    size_field = base_256(stated) if "base-256" in quirks and entry.dialect == "gnu" else octal(stated)
    if "blanks" in quirks and entry.dialect != "gnu":
        size_field = b"%11o " % stated
    block = header(name[:100], size_field, entry.kind, entry.dialect, prefix=prefix, link=entry.link[:100])
    yield seal(block, is_signed="signed" in quirks), entry.payload


def _pax_records(entry: Entry) -> bytes:
    quirks = entry.quirks
    records = [
        pax_record(key, value)
        for key, value, is_there in (
            (b"comment", b"path=x\nsize=1", "comment" in quirks),
            (b"path", entry.name, len(entry.name) > 100 or "given name" in quirks),
            (b"mtime", b"1.5", "mtime" in quirks),
            (b"linkpath", entry.link, len(entry.link) > 100),
            (b"size", b"%d" % len(entry.payload), "size" in quirks and entry.kind in FILE_KINDS),
        )
        if is_there
    ]
    return b"".join(records)


_INNER = tar_bytes([("inner.jpg", b"1"), ("inner.txt", b"")])[: 5 * BLOCK]
_LONG = "l" * 60 + "/" + "m" * 70 + "/"
_FOLDERS = ["", "", "", "./", "././", "d/", "d/e.f/", "ü/", _LONG, _LONG + _LONG]
_PAYLOADS = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"", bytes(BLOCK), b"x" * BLOCK, b"x" * (BLOCK + 1), b"y" * 1700, _INNER]),
)
_OTHERS = ["README", ".DS_Store", "d/._a.jpg", "__meta__/a.json", "__index__", "n" * 120]
_UNSAFE = [b"../a.jpg", b"../b.json", b"/a.jpg", b"d/../a.jpg", b"a\x07.jpg", b"\xe9.jpg"]
_QUIRKS = st.frozensets(st.sampled_from(QUIRKS), max_size=4)


def _written(name: bytes, dialect: str) -> str:
    """Give the dialect, or one that can hold the name where it can't."""
    fits = {"v7": len(name) <= 100, "ustar": ustar_split(name) is not None}
    return dialect if fits.get(dialect, True) else "pax"


@st.composite
def _samples(draw: st.DrawFn, dialects: list[str]) -> list[Entry]:
    """Draw the members of a few keys, each key's together."""
    names = st.tuples(st.sampled_from(_FOLDERS), st.sampled_from(["a", "b", "00042", "é", "x y", "日本"])).map("".join)
    exts = st.lists(
        st.sampled_from(["jpg", "txt", "json", "seg.png", "JPG", ""]), min_size=1, max_size=4, unique_by=str.lower
    )
    return [
        draw(_entries(f"{key}.{ext}".encode(), draw(st.sampled_from(FILE_KINDS)), dialects))
        for key in draw(st.lists(names, max_size=4, unique_by=lambda name: name.lstrip("./")))
        for ext in draw(exts)
    ]


@st.composite
def _entries(draw: st.DrawFn, name: bytes, kind: bytes, dialects: list[str], link: bytes = b"") -> Entry:
    dialect = _written(name, draw(st.sampled_from(dialects)))
    payload = draw(_PAYLOADS) if kind in FILE_KINDS else b"Ya.jpg\0\0" * (kind == b"D")
    return Entry(name, payload, kind, link, "pax" if len(link) > 100 and dialect != "gnu" else dialect, draw(_QUIRKS))


def _others(dialects: list[str]) -> st.SearchStrategy[Entry]:
    """Draw what is no sample's member: folders, links, devices, pipes, notes, hidden files; and unsafe names."""
    links = st.sampled_from([b"a.jpg", b"to/" * 50])
    return st.one_of(
        st.tuples(st.sampled_from([b"d/", _LONG.encode()]), st.sampled_from([b"5", b"D"])).flatmap(
            lambda name_kind: _entries(*name_kind, dialects)
        ),
        st.just(Entry(b"d/", kind=b"\0", dialect="v7")),
        st.tuples(st.sampled_from([b"1", b"2"]), links).flatmap(
            lambda kind_link: _entries(b"a.jpg", kind_link[0], dialects, kind_link[1])
        ),
        st.sampled_from([b"3", b"4", b"6", b"V"]).flatmap(lambda kind: _entries(b"dev.jpg", kind, dialects)),
        st.sampled_from(_OTHERS).flatmap(lambda name: _entries(name.encode(), b"0", dialects)),
        st.sampled_from(_UNSAFE).flatmap(lambda name: _entries(name, b"0", dialects)),
    )


@st.composite
def structures(draw: st.DrawFn) -> list[Entry]:
    """Draw the entries of a tar; now and then members repeat, or a key's members stand apart."""
    dialects = draw(st.sampled_from([[dialect] for dialect in DIALECTS] + [list(DIALECTS)]))
    entries = draw(_samples(dialects))
    for other in draw(st.lists(_others(dialects), max_size=2)):
        entries.insert(draw(st.integers(0, len(entries))), other)
    order = draw(st.sampled_from(["kept", "kept", "kept", "mixed", "repeated"]))
    if order == "repeated":
        return entries + entries[:1]
    return draw(st.permutations(entries)) if order == "mixed" else entries


def tars() -> st.SearchStrategy[Tar]:
    """Draw sound tars."""
    return st.builds(lambda entries, is_padded: build_tar(entries, is_padded=is_padded), structures(), st.booleans())
