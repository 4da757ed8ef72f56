"""Walk a tar from header to header: where its members lie, and where it is damaged.

JSON members are looked into as well: they are small and lie between headers, so that they come with them.

Source:
    POSIX.1-2017 (ustar, pax), the GNU tar manual (long names, base-256 numbers).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from shardwright.format.batch import EXTENSION, SKIPPED, HeaderBatch
from shardwright.format.fields import DamageError, pax_records, read_digits, read_number
from shardwright.format.headers import BLOCK_BYTES, Longs
from shardwright.format.json_id import MAX_JSON_BYTES, json_flaw
from shardwright.format.window import MAX_WINDOW_BYTES, RangeReader, Window

_ZERO_BLOCK = bytes(BLOCK_BYTES)
_CHECK_ROWS = 8_192
_MAX_EXTENSION_BYTES = 1 << 20
_PAX_GLOBAL, _PAX, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"gxLKS"
_EXTENSIONS = frozenset((_PAX_GLOBAL, _PAX, _GNU_NAME, _GNU_LINK))
_FILES = frozenset(b"\x0007")
_PLAIN_FILE, _FOLDER = b"05"
_BRACE = ord("{")
# Links, devices, folders, pipes: whatever size their header states, no payload follows.
_WITHOUT_PAYLOAD = frozenset(b"123456")
# GNU's labels of volumes and lists of folders' contents.
_NOTES = frozenset(b"VD")
_SPARSE = "sparse members can't be copied byte for byte; write the tar without --sparse"
# What PAX headers state that we go by.
_OVERRIDING = frozenset((b"path", b"size"))


class Members(NamedTuple):
    """The regular files of a tar, a value each, in the tar's order; offsets and sizes in bytes.

    ``starts`` are the first headers, extension headers included; ``headers`` those before the payload.
    """

    starts: Longs
    headers: Longs
    sizes: Longs
    names: pa.BinaryArray  # never null
    bad_json: dict[int, str]  # members named like JSON that hold no object, and why
    skipped_count: int  # folders, links, devices
    dialect: str
    damage: DamageError | None


def list_members(tar: RangeReader) -> Members:
    """List a tar's members; of payloads only JSON is read, and damage ends the list where it stands."""
    walk = _Walk(tar)
    damage = None
    for step in (walk.run, walk.check_headers):
        try:
            step()
        except DamageError as met:
            # A header whose checksum is wrong stands before what the walk met because of it.
            damage = met
    return walk.members(damage)


class _Walk:
    """The way from header to header up to the end blocks."""

    def __init__(self, tar: RangeReader) -> None:
        self._tar = tar
        self._window = Window(tar)
        self._batch = HeaderBatch()
        self._numbers: dict[bytes, int] = {}  # by the field that they were read from: captions are of few sizes
        self._overrides: dict[bytes, bytes] = {}
        self._checked: list[tuple[Longs, Longs, Longs, pa.Array]] = []
        self._member_count = 0
        self._bad_json: dict[int, str] = {}
        self._skipped_count = 0
        self._dialect = "v7"

    def members(self, damage: DamageError | None) -> Members:
        """Give the members whose headers were checked."""
        none = np.empty(0, dtype=np.int64)
        starts, headers, sizes, names = zip((none, none, none, pa.array([], pa.binary())), *self._checked, strict=True)
        return Members(
            np.concatenate(starts),
            np.concatenate(headers),
            np.concatenate(sizes),
            pa.concat_arrays(names),
            self._bad_json,
            self._skipped_count,
            self._dialect,
            damage,
        )

    def run(self) -> None:  # noqa: PLR0915 - another call for each header would take as long as all of this
        """Go from header to header.

        Raises:
            DamageError: Where the tar can't be read on.
        """
        blocks, offsets, sizes = self._batch.blocks, self._batch.offsets, self._batch.sizes
        number_of = self._numbers.get
        end = self._tar.size_bytes
        data, begin, last = b"", 0, -1  # the window's bytes, their offset in the tar, and the last place for a header
        at = payload = 0
        while True:
            place = at - begin
            if place > last:
                data, begin, place = self._read_on(at, payload), at, 0
                last = len(data) - BLOCK_BYTES
            body = place + BLOCK_BYTES
            block = data[place:body]
            kind = block[156]
            if not kind and block == _ZERO_BLOCK:
                return self._check_end(at)
            if len(blocks) == _CHECK_ROWS:
                self.check_headers()
            blocks.append(block)
            offsets.append(at)
            payload = at + BLOCK_BYTES
            size = number_of(block[124:136])
            if size is None:
                size = self._number(block[124:136], at)
            # Nearly all headers are of these two kinds, and nothing more is to be asked of them one by one. Without
            # a p and a z a PAX header can't say path, size or GNU.sparse: most say a time alone.
            if kind == _PLAIN_FILE and size <= end - payload and not self._overrides:
                sizes.append(size)
            elif (
                kind == _PAX
                and 0 < size <= BLOCK_BYTES <= last - place
                and data.find(b"p", body, body + BLOCK_BYTES) < 0
                and data.find(b"z", body, body + BLOCK_BYTES) < 0
            ):
                self._dialect = "pax"
                sizes.append(EXTENSION)
                at = payload + BLOCK_BYTES
                continue
            elif kind in _EXTENSIONS:
                self._read_extension(kind, at, size)
                sizes.append(EXTENSION)
            else:
                size = self._add_entry(block, at, size)
            # Whether this is called JSON is still to be seen; to look at too many takes less than to read every name.
            if 0 < size <= last - place and data[body] == _BRACE:
                self._look(data[body : body + size])
            at = payload + (size + BLOCK_BYTES - 1 & -BLOCK_BYTES)

    def _read_on(self, at: int, seen_end: int) -> bytes:
        """Move the window to a header, the one before which ends at ``seen_end``."""
        end = self._tar.size_bytes
        if not end:
            raise DamageError(0, "truncated", "the file is empty, a tar ends with two zero blocks")
        if at + BLOCK_BYTES > end:
            found = "inside a header" if at < end else "without the two zero blocks that end a tar"
            raise DamageError(at, "truncated", f"the tar stops {found}")
        return self._window.move(at, seen_end)

    def _look(self, payload: bytes) -> None:
        """Note a payload that came with the headers around it where it is a JSON object.

        Whether it is called JSON is still to be seen: to look at too many takes less than to read every name here.
        """
        if json_flaw(payload) is None:
            self._batch.objects.append(len(self._batch.sizes) - 1)

    def _number(self, field: bytes, at: int) -> int:
        """Read a size and keep it for the headers that state the same."""
        size = self._numbers[field] = read_number(field, at)
        return size

    def check_headers(self) -> None:
        """Verify the checksums of the headers met so far, note their members, and find bad JSON among them.

        Raises:
            DamageError: At the first header whose checksum is wrong; members end before it.
        """
        found = self._batch.check()
        self._numbers.clear()
        if found.magic and not self._member_count:
            self._name_dialect(found.magic)
        for place in found.unknown_json.tolist():
            if flaw := self._json_flaw(int(found.headers[place]) + BLOCK_BYTES, int(found.sizes[place])):
                self._bad_json[self._member_count + place] = flaw
        self._checked.append((found.starts, found.headers, found.sizes, found.names))
        self._member_count += len(found.names)
        if found.bad_offset is not None:
            raise DamageError(found.bad_offset, "bad_header", "the header's checksum is wrong")

    def _json_flaw(self, payload: int, size: int) -> str | None:
        """Say why a JSON member is no object; the rewriting of ids needs one."""
        if size > MAX_JSON_BYTES:
            return f"it has {size:,} bytes, more than {MAX_JSON_BYTES:,} are not read"
        return json_flaw(self._window.read(payload, size))

    def _name_dialect(self, magic: bytes) -> None:
        if self._dialect == "v7":
            known = {b"ustar  \0": "gnu", b"ustar\x0000": "ustar"}
            self._dialect = known.get(magic, "v7")

    def _read_extension(self, kind: int, at: int, size: int) -> None:
        """Note what an extension header says of the next member (or, a global one, of all that follow)."""
        payload = at + BLOCK_BYTES
        if size > _MAX_EXTENSION_BYTES or payload + size > self._tar.size_bytes:
            raise DamageError(at, "bad_header", f"an extension header of {size:,} bytes can't be read")
        is_pax = kind in (_PAX, _PAX_GLOBAL)
        self._dialect = "pax" if is_pax or self._dialect == "pax" else "gnu"
        # Like tarfile, up to the first NUL, wherever the size says that the text ends.
        text = self._window.read(payload, -(-size // BLOCK_BYTES) * BLOCK_BYTES)
        if kind == _GNU_NAME:
            self._override({b"path": text.partition(b"\0")[0]}, at)
        elif is_pax and (b"path=" in text or b"size=" in text or b"GNU.sparse" in text):
            records = dict(pax_records(text, at))
            if any(key.startswith(b"GNU.sparse.") for key in records):
                raise DamageError(at, "unsupported", _SPARSE)
            given = {key: value for key, value in records.items() if key in _OVERRIDING}
            if given and kind == _PAX_GLOBAL:
                raise DamageError(at, "unsupported", "a global PAX header gives all members one name or size")
            self._override(given, at)

    def _override(self, given: dict[bytes, bytes], at: int) -> None:
        """Note what overrides fields of the next header; of two values readers would take either."""
        for key, value in given.items():
            if not value or self._overrides.setdefault(key, value) != value:
                found = "two values" if value else "no value"
                raise DamageError(at, "bad_header", f"extension headers give a member's {key.decode()} {found}")

    def _add_entry(self, block: bytes, at: int, size: int) -> int:
        """Note a member, or skip what is none; give the size of the payload that follows."""
        kind, overrides = block[156], self._overrides
        if overrides:
            self._overrides = {}
            if b"size" in overrides:
                size = read_digits(overrides[b"size"], 10, at)
        # V7 has no kind for folders.
        if not kind and block[:100].partition(b"\0")[0].endswith(b"/"):
            kind = _FOLDER
        if kind in _WITHOUT_PAYLOAD or kind in _NOTES:
            self._skipped_count += 1
            self._batch.sizes.append(SKIPPED)
            return size if kind in _NOTES else 0
        if kind not in _FILES:
            detail = _SPARSE if kind == _GNU_SPARSE else f"no two readers agree on members of kind {chr(kind)!r}"
            raise DamageError(at, "unsupported", detail)
        left = self._tar.size_bytes - at - BLOCK_BYTES
        if size > left:
            raise DamageError(at, "truncated", f"the member's payload needs {size:,} bytes, {left:,} are left")
        if b"path" in overrides:
            if overrides[b"path"].endswith(b"/"):
                raise DamageError(at, "bad_header", "a file is given the name of a folder")
            self._batch.given_names[len(self._batch.sizes)] = overrides[b"path"]
        self._batch.sizes.append(size)
        return size

    def _check_end(self, at: int) -> None:
        """Require that a member ends what came so far, a second end block, and nothing but zeros behind it."""
        if (start := self._batch.pending_start()) is not None:
            raise DamageError(start, "bad_header", "an extension header is followed by no member")
        if self._window.read(at + BLOCK_BYTES, BLOCK_BYTES) != _ZERO_BLOCK:
            is_last = self._tar.size_bytes <= at + BLOCK_BYTES
            found = "one zero block ends the tar" if is_last else "a lone zero block stands in the tar"
            raise DamageError(at, "truncated", f"{found}, two are needed")
        for begin in range(at, self._tar.size_bytes, MAX_WINDOW_BYTES):
            rest = self._window.read(begin, min(MAX_WINDOW_BYTES, self._tar.size_bytes - begin))
            if rest.count(0) != len(rest):
                offset = begin + len(rest) - len(rest.lstrip(b"\0"))
                detail = "data follows the end of the tar; readers stop there and would lose it"
                raise DamageError(offset, "trailing_data", detail)
