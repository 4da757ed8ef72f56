"""A dataset of what breaks other tools: a shard an input, built as real files, with what is to become of it."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from shardwright.format.names import split_name
from tests.builders import jpeg_bytes, tar_bytes

JPEG = jpeg_bytes()
ERROR_IMAGE = jpeg_bytes((32, 32))
RULES = {
    "score": "score > 0",
    "no_error_image": f"sha256 IS NULL OR sha256 <> '{hashlib.sha256(ERROR_IMAGE).hexdigest()}'",
}
# Shards with a large member in front of a small sample: names and sizes.
LARGE = (("36a", 8**11), ("36b", 5 << 30))
_ROW = pa.schema([("key", pa.string()), ("score", pa.float64()), ("sha256", pa.string()), ("status", pa.string())])


@dataclass
class Input:
    """One shard: its tar, its rows, the source keys that the export keeps, and who is rejected for which reason."""

    name: str
    what: str
    members: Sequence[tuple[str, bytes]]
    kept: Sequence[str] = ()
    rejected: Sequence[tuple[str | None, str]] = ()
    tar: bytes | None = None
    rows: Sequence[dict[str, Any]] | pa.Table | None = field(default=None)
    suffix: str = ".tar"

    @property
    def number(self) -> int:
        return int(self.name[:2])

    def payloads(self) -> dict[str, list[tuple[str, bytes]]]:
        """Give the members of each kept sample, in the tar's order."""
        found: dict[str, list[tuple[str, bytes]]] = {key: [] for key in self.kept}
        for name, payload in self.members:
            split = split_name(name)
            if split and split[0] in found:
                found[split[0]].append((split[1], payload))
        return found


def row(key: str | None, score: float | None = 1.0, **values: Any) -> dict[str, Any]:
    return {"key": key, "score": score, "sha256": None, "status": "success", **values}


def image(mode: str = "RGB", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (20, 10)).save(buffer, kind)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """Give a PNG of a few bytes that claims to be large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def tar_of(*entries: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """Write members and other kinds of entries; names may hold any bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                tar.addfile(info, io.BytesIO(entry[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "a.jpg"
    return info


def inputs() -> list[Input]:
    """Give the inputs by name; the first two digits are the row of the list in the README's tests."""
    pair = [("a.jpg", JPEG), ("a.txt", b"a"), ("b.jpg", JPEG), ("b.txt", b"b")]
    whole = tar_bytes(pair)
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512  # where the end blocks begin
    deep = "folder/" * 20 + "name"
    split = f"{'p' * 60}/{'n' * 60}"
    hard = [("\udce9.jpg", JPEG), ("é (1).jpg", JPEG), ("日本 x.jpg", JPEG)]
    tree = [("tree/of/a.jpg", JPEG)]
    return [
        Input("01", "a PAX header on every member", pair, "ab", tar=tar_bytes(pair, tarfile.PAX_FORMAT, 1.5)),
        Input(
            "02a",
            "GNU long names",
            [(f"{deep}.jpg", JPEG)],
            [deep],
            tar=tar_bytes([(f"{deep}.jpg", JPEG)], tarfile.GNU_FORMAT),
        ),
        Input(
            "02b",
            "PAX paths",
            [(f"{deep}.jpg", JPEG)],
            [deep],
            tar=tar_bytes([(f"{deep}.jpg", JPEG)], tarfile.PAX_FORMAT),
        ),
        Input("03", "a ustar prefix", [(f"{split}.jpg", JPEG)], [split]),
        Input(
            "04",
            "names that are not ASCII, not UTF-8, hold spaces",
            hard,
            ["é (1)", "日本 x"],
            [("\\xe9", "bad_name")],
            tar_of(*hard),
        ),
        Input(
            "05",
            "exts of several parts",
            [("x.seg.png", image("L")), ("x.depth.png", image("I;16")), ("x.mp4.json", b"[]"), ("x.jpg", JPEG)],
            "x",
        ),
        Input(
            "06",
            "dots meant as part of the key, dots in folders",
            [("22.05.png", image()), ("22.06.png", image()), ("v1.5/a.jpg", JPEG)],
            ["22", "v1.5/a"],
        ),
        Input(
            "07",
            "upper-case exts, and twins but for case",
            [("a.JPG", JPEG), ("b.JPG", JPEG), ("b.jpg", JPEG)],
            "a",
            [("b", "duplicate_member")],
        ),
        Input(
            "08",
            "samples without caption, without image, of JSON alone",
            [("a.jpg", JPEG), ("b.txt", b"b"), ("c.json", b"{}")],
            "abc",
        ),
        Input(
            "09",
            "samples with different members",
            [("a.jpg", JPEG), ("b.jpg", JPEG), ("b.cls", b"1"), ("c.webp", image(kind="WEBP"))],
            "abc",
        ),
        Input(
            "10",
            "rows without samples, samples without rows",
            pair,
            "a",
            [("b", "missing_row"), ("gone", "unmatched_row")],
            rows=[row("a"), row("failed", status="failed_to_download"), row("gone", status=None)],
        ),
        Input("11", "tar and Parquet in different orders", pair, "ab", rows=[row("b", 2.0), row("a", 3.0)]),
        Input("12", "a member twice", [*pair, ("b.txt", b"again")], "a", [("b", "duplicate_member")]),
        Input("13a", "the last key of one tar", [("k.jpg", JPEG)], "k"),
        Input("13b", "is the first of the next", [("k.jpg", image(kind="JPEG"))], "k"),
        Input(
            "14",
            "members of a key that are not adjacent",
            [*pair, ("a.json", b"{}")],
            "b",
            [("a", "duplicate_key")] * 2,
        ),
        Input("15a", "a tar cut inside a payload", pair, [], [(None, "truncated")], whole[:600]),
        Input("15b", "a tar cut inside a header", pair, [], [(None, "truncated")], whole[: end - 1024 + 100]),
        Input("15c", "a tar cut on a boundary", pair, [], [(None, "truncated")], whole[:end]),
        Input("15d", "a tar of no bytes", [], [], [(None, "truncated")], b""),
        Input("15e", "a tar with one end block", pair, [], [(None, "truncated")], whole[: end + 512]),
        Input("16", "two tars concatenated", pair, [], [(None, "trailing_data")], whole + whole),
        Input("17", "an empty tar", []),
        Input(
            "18",
            "folders, links and devices among the members, a whole tree",
            tree,
            ["tree/of/a"],
            tar=tar_of(
                special("tree", tarfile.DIRTYPE),
                special("s.jpg", tarfile.SYMTYPE),
                special("h.jpg", tarfile.LNKTYPE),
                special("d.jpg", tarfile.CHRTYPE),
                special("p.jpg", tarfile.FIFOTYPE),
                *tree,
            ),
        ),
        Input(
            "19",
            "files that belong to no sample",
            [("._x.jpg", b""), (".DS_Store", b""), ("README", b""), ("__x__/a.jpg", b""), ("__meta__.json", b"{}")],
            ["__meta__"],
        ),
        Input("20", "a ./ before each name", [("./a.jpg", JPEG), ("./d/b.jpg", JPEG)], ["a", "d/b"]),
        Input("22", "a shard that keeps nothing", pair, rows=[row("a", 0.0), row("b", None)]),
        Input(
            "23",
            "a page, a cut image, a bomb, each called an image",
            [
                ("a.jpg", b"<html>404</html>"),
                ("b.jpg", JPEG[:-30]),
                ("c.png", png_that_claims(30_000, 30_000)),
                ("d.jpg", JPEG),
            ],
            "d",
            [("a", "not_an_image"), ("b", "broken_image"), ("c", "image_too_large")],
        ),
        Input(
            "24",
            "one error image under many keys",
            [(f"{key}.jpg", ERROR_IMAGE) for key in "abc"] + [("d.jpg", JPEG)],
            "d",
            rows=[*(row(key, sha256=hashlib.sha256(ERROR_IMAGE).hexdigest()) for key in "abc"), row("d")],
        ),
        Input(
            "25",
            "a payload that is not the one that was hashed",
            pair,
            "a",
            [("b", "wrong_hash")],
            rows=[row("a", sha256=hashlib.sha256(JPEG).hexdigest()), row("b", sha256="0" * 64)],
        ),
        Input("28", "webp among jpg", [("a.jpg", JPEG), ("b.webp", image(kind="WEBP"))], "ab"),
        Input(
            "29",
            "captions of no bytes, with newlines, NUL, emoji",
            [("a.txt", b""), ("b.txt", b"x\n\ty\0"), ("c.txt", "🦊".encode())],
            "abc",
        ),
        Input(
            "30",
            "JSON with NaN, indents, no id, bytes that are not UTF-8; and what is no object",
            [
                ("a.json", b'{"x": NaN, "y": -Infinity, "key": 7}'),
                ("b.json", b'{\n    "key": "b"\n}'),
                ("c.json", b"{}"),
                ("d.json", b'{"t": "\xff"}'),
                ("e.json", b"[1]"),
                ("f.json", b""),
            ],
            "abcd",
            [("e", "bad_json"), ("f", "bad_json")],
        ),
        Input(
            "31",
            "an id twice, an id that is null",
            pair,
            "a",
            [("b", "duplicate_row"), (None, "null_id")],
            rows=[row("a"), row("b"), row("b"), row(None)],
        ),
        Input(
            "33",
            "a row index of dask, other types of columns",
            pair,
            "a",
            rows=pa.table(
                {
                    "key": ["a", "b"],
                    "score": pa.array([1, 0]),
                    "sha256": pa.nulls(2),
                    "status": pa.nulls(2),
                    "__null_dask_index__": [0, 1],
                }
            ),
        ),
        Input(
            "35a", "a tar inside gzip", pair, [], [(None, "compressed")], gzip.compress(whole, mtime=0), suffix=".tgz"
        ),
        Input("35b", "a tar inside a tar", [("a.tar", whole), ("a.tar.gz", gzip.compress(whole, mtime=0))], "a"),
        Input(
            "38",
            "a tar whose writer was killed",
            pair,
            [],
            [(None, "truncated"), (None, "missing_sidecar")],
            whole[:end],
        ),
        Input("42", "keys such as <uid>-0", [("00ab-0.jpg", JPEG), ("00ab-1.jpg", JPEG)], ["00ab-0", "00ab-1"]),
        Input(
            "43",
            "4 channels, CMYK, 16 bits, grey",
            [
                ("a.png", image("RGBA")),
                ("b.jpg", image("CMYK", "JPEG")),
                ("c.png", image("I;16")),
                ("d.jpg", image("L", "JPEG")),
            ],
            "abcd",
        ),
        Input(
            "44",
            "names that are absolute, hold .. or control characters",
            [("/a.jpg", JPEG), (".//e.jpg", JPEG), ("../b.jpg", JPEG), ("c\x1b[31m.jpg", JPEG), ("d.jpg", JPEG)],
            "d",
            [("/a", "bad_name"), ("/e", "bad_name"), ("../b", "bad_name"), ("c\x1b[31m", "bad_name")],
        ),
    ]


def write_inputs(folder: Path) -> list[Input]:
    """Write the shards, two more that are large files with holes, and what earlier runs leave between them."""
    folder.mkdir()
    zoo = inputs()
    for shard in zoo:
        (folder / f"{shard.name}{shard.suffix}").write_bytes(
            tar_bytes(shard.members) if shard.tar is None else shard.tar
        )
        keys = {key for name, _ in shard.members if (key := (split_name(name) or (None,))[0])}
        rows = shard.rows if shard.rows is not None else [row(key) for key in sorted(keys) if key.isprintable()]
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=_ROW)
        if shard.name != "38":
            pq.write_table(table, folder / f"{shard.name}.parquet", row_group_size=1)
    for name in ("temp_3.parquet", "36.tar.tmp", "99_stats.json"):
        (folder / name).write_bytes(b"left by an earlier run")
    (folder / "_tmp").mkdir()
    (folder / "_tmp" / "x.parquet").write_bytes(b"")
    return [*zoo, *(write_large(folder, *large) for large in LARGE)]


def write_large(folder: Path, name: str, size: int) -> Input:
    """Write a tar with a large member that is a hole in the file, then a small sample."""
    info = tarfile.TarInfo("a.bin")
    info.size = size
    rest = tar_bytes([("b.jpg", JPEG)])
    with (folder / f"{name}.tar").open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.seek(-(-size // 512) * 512, io.SEEK_CUR)
        file.write(rest)
    pq.write_table(pa.Table.from_pylist([row("a", 0.0), row("b")], schema=_ROW), folder / f"{name}.parquet")
    return Input(name, "", [("b.jpg", JPEG)], "b", [("a", "too_large")] if size >= 8**11 else [])
