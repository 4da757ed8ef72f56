"""The look into samples before they are written: real images, and what stands in their place."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import re
import struct
import subprocess
import sys
import textwrap
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from shardwright import files
from shardwright.errors import DataError
from shardwright.format.scan import scan_tar
from shardwright.local_files import OpenFile
from shardwright.tasks import inspect
from shardwright.tasks.inspect import FOUND, InspectJob, inspect_samples
from tests.builders import tar_bytes

DECODE, HEADER, NAMES = InspectJob("decode"), InspectJob("header"), InspectJob(None)
Members = Sequence[tuple[str, bytes]]
Level = Literal["decode", "header"]


def picture(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
    noise = random.Random(0).randbytes(size[0] * size[1] * 3)
    return Image.frombytes("RGB", size, noise).convert(mode)


def encoded(image_format: str, mode: str = "RGB", size: tuple[int, int] = (48, 32), **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture(mode, size).save(buffer, image_format, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))


def png(width: int, height: int) -> bytes:
    """Give a black image of one bit a pixel, small whatever its size."""
    rows = zlib.compressobj()
    data = b"".join(rows.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)) + rows.flush()
    return png_header(width, height) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def rows_of(path: Path, shard_index: int = 0, new_keys: Mapping[str, str] | None = None, **columns: Any) -> pa.Table:
    """Lay the samples of a tar out as an export would ask for them."""
    with OpenFile(str(path)) as tar:
        samples = scan_tar(tar, path.name).samples
    keys = samples["key"].to_pylist()
    return pa.table(
        {
            "shard_index": pa.array([shard_index] * len(keys), pa.int64()),
            "shard_path": [str(path)] * len(keys),
            "position": pa.array(range(len(keys)), pa.int64()),
            "key": keys,
            "new_key": [(new_keys or {}).get(key, key) for key in keys],
            **{name: samples[name] for name in ("member_exts", "payload_offsets", "payload_bytes")},
            **columns,
        }
    )


def shard(folder: Path, members: Members, name: str = "source.tar") -> Path:
    (folder / name).write_bytes(tar_bytes(members))
    return folder / name


def found(rows: pa.Table, job: InspectJob = DECODE) -> list[dict[str, Any]]:
    batches = list(inspect_samples(rows.to_batches(), job))
    assert all(batch.schema == FOUND for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


def reason_of(folder: Path, payload: bytes, job: InspectJob = DECODE, ext: str = "jpg") -> tuple[str, str] | None:
    """Inspect one sample of one image; give its reason and detail."""
    problems = found(rows_of(shard(folder, [(f"a.{ext}", payload)])), job)
    return (problems[0]["reason"], problems[0]["detail"]) if problems else None


SOUND = {
    "jpg": encoded("JPEG"),
    "progressive.jpg": encoded("JPEG", progressive=True),
    "grey.jpg": encoded("JPEG", "L"),
    "cmyk.jpeg": encoded("JPEG", "CMYK"),
    "exif.jpg": encoded("JPEG", exif=b"Exif\0\0garbage"),
    "PNG": encoded("PNG"),
    "rgba.png": encoded("PNG", "RGBA"),
    "palette.png": encoded("PNG", "P"),
    "bits16.png": encoded("PNG", "I;16"),
    "bit1.png": encoded("PNG", "1"),
    "animated.png": encoded("PNG", save_all=True, append_images=[picture("L").convert("RGB")]),
    "gif": encoded("GIF"),
    "animated.gif": encoded("GIF", save_all=True, append_images=[picture("L")]),
    "bmp": encoded("BMP"),
    "tif": encoded("TIFF"),
    "lzw.tiff": encoded("TIFF", "CMYK", compression="tiff_lzw"),
    "webp": encoded("WEBP"),
    "animated.webp": encoded("WEBP", save_all=True, append_images=[picture("L").convert("RGB")]),
    "webp.jpg": encoded("WEBP"),
    "gif.png": encoded("GIF"),
    "trailing.jpg": encoded("JPEG") + b"what a camera appends",
}


@pytest.mark.parametrize("job", [DECODE, HEADER, NAMES])
def test_inspect_finds_nothing_in_sound_images(tmp_path: Path, job: InspectJob) -> None:
    members = [(f"a.{ext}", payload) for ext, payload in SOUND.items()]
    assert found(rows_of(shard(tmp_path, [*members, ("a.txt", b"<html>"), ("a.json", b"{")])), job) == []


def test_inspect_says_where_the_problem_is(tmp_path: Path) -> None:
    members = [("a.jpg", SOUND["jpg"]), ("b.txt", b"b"), ("b.seg.PNG", b"<html>"), ("b.jpg", b"{}"), ("c.txt", b"c")]
    path = shard(tmp_path, members)
    rows = rows_of(path, shard_index=7)
    assert found(rows) == [
        {
            "shard_index": 7,
            "shard_path": str(path),
            "position": 1,
            "key": "b",
            "offset": rows["payload_offsets"][1].as_py()[1],
            "reason": "not_an_image",
            "detail": "it looks like an HTML page: b'<html>'",
        }
    ]


@pytest.mark.parametrize("level", ["decode", "header"])
@pytest.mark.parametrize(
    ("payload", "looks"),
    [
        (b"", "it is empty"),
        (b"\n <!-- x --> <!DOCTYPE html><html>", "an HTML page"),
        (b"\xef\xbb\xbf<HTML lang='en'>", "an HTML page"),
        (b'<?xml version="1.0"?><svg/>', "SVG or other XML"),
        (b"<svg xmlns='x'>", "SVG or other XML"),
        (b'{"error": 404}', "JSON"),
        (b"[]", "JSON"),
        (gzip.compress(SOUND["jpg"]), "a gzip stream"),
        (b"404: Not Found\r\n", "text"),
        ("nicht verfügbar".encode() * 40, "text"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "a HEIF, AVIF or video file"),
        (b"\x00\x1b\x07\xfe", "unknown bytes"),
        (bytes(512), "unknown bytes"),
    ],
)
def test_inspect_says_what_stands_in_an_images_place(tmp_path: Path, level: Level, payload: bytes, looks: str) -> None:
    reason, detail = reason_of(tmp_path, payload, InspectJob(level)) or ("", "")
    assert reason == "not_an_image"
    assert looks in detail
    assert detail.isascii()
    assert detail.isprintable()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95, -200, -2, -1])
def test_inspect_finds_a_cut_jpeg_when_it_decodes(tmp_path: Path, progressive: bool, kept: float) -> None:
    whole = encoded("JPEG", size=(256, 256), progressive=progressive)
    assert whole.endswith(b"\xff\xd9")  # the end marker, which the last two cuts take
    cut = whole[: int(kept * len(whole)) if kept > 0 else int(kept)]
    reason, detail = reason_of(tmp_path, cut) or ("", "")
    assert (reason, re.sub(r"\d+", "N", detail)) == (
        "broken_image",
        "Pillow: OSError: image file is truncated (N bytes not processed)",
    )
    assert reason_of(tmp_path, cut, HEADER) is None


@pytest.mark.parametrize("kept", [0.3, 0.6])
@pytest.mark.parametrize("ext", ["PNG", "webp", "gif", "bmp", "tif", "lzw.tiff"])
def test_inspect_finds_other_cut_images_when_it_decodes(tmp_path: Path, ext: str, kept: float) -> None:
    reason, _ = reason_of(tmp_path, SOUND[ext][: int(len(SOUND[ext]) * kept)], ext=ext) or ("", "")
    assert reason == "broken_image"


@pytest.mark.parametrize("level", ["decode", "header"])
@pytest.mark.parametrize(
    "payload",
    [
        SOUND["jpg"][:100],
        SOUND["PNG"][:20],
        SOUND["gif"][:8],
        b"\xff\xd8\xff",
        SOUND["PNG"][:20] + b"\xff" + SOUND["PNG"][21:],  # the header chunk's checksum is wrong
        png_header(8, 8) + png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20))),  # a bomb of text
        png(0, 1),
    ],
)
def test_inspect_finds_broken_headers_at_both_levels(tmp_path: Path, level: Level, payload: bytes) -> None:
    reason, detail = reason_of(tmp_path, payload, InspectJob(level)) or ("", "")
    assert reason == "broken_image"
    assert " at 0x" not in detail


@pytest.mark.parametrize("level", ["decode", "header"])
@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 10_000)])
def test_inspect_does_not_decode_a_bomb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: Level, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("it was decoded"))
    payload = png(*size)
    assert len(payload) < 200_000
    reason, detail = reason_of(tmp_path, payload, InspectJob(level), ext="png") or ("", "")
    assert reason == "image_too_large"
    assert str(size[0] * size[1]) in detail


def test_inspect_bounds_pixels_where_pillow_does(tmp_path: Path) -> None:
    assert Image.MAX_IMAGE_PIXELS == inspect.MAX_IMAGE_PIXELS
    assert 9451 * 9467 < inspect.MAX_IMAGE_PIXELS < 9460 * 9459
    assert reason_of(tmp_path, png(9451, 9467), HEADER, ext="png") is None
    assert (reason_of(tmp_path, png(9460, 9459), HEADER, ext="png") or ("", ""))[0] == "image_too_large"


@pytest.mark.parametrize("job", [HEADER, InspectJob(None)])
def test_inspect_does_not_read_huge_payloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: InspectJob) -> None:
    path = shard(tmp_path, [("a.jpg", SOUND["jpg"]), ("b.jpg", SOUND["jpg"])])
    sizes = [[inspect.MAX_IMAGE_BYTES], [inspect.MAX_IMAGE_BYTES + 1]]
    rows = rows_of(path, hash=["0" * 32] * 2)
    rows = rows.set_column(rows.column_names.index("payload_bytes"), "payload_bytes", [sizes]).slice(1)
    monkeypatch.setattr(OpenFile, "read", lambda *_: pytest.fail("it was read"))
    assert [(row["reason"], row["detail"]) for row in found(rows, job)] == [
        ("image_too_large", "it has 268,435,457 bytes, at most 268,435,456 are read")
    ]


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "sha512"])
def test_inspect_compares_the_first_images_hash(tmp_path: Path, algorithm: Literal["md5", "sha256", "sha512"]) -> None:
    payload = b"need not be an image"
    path = shard(
        tmp_path, [(f"{key}.{ext}", payload + ext.encode()) for key in "abcde" for ext in ("txt", "x.JPG", "png")]
    )
    right = hashlib.new(algorithm, payload + b"x.JPG").hexdigest()
    rows = rows_of(path, hash=[right, right.upper(), "0" * len(right), None, "\x1b[31m"])
    problems = found(rows, InspectJob(None))
    assert [(row["key"], row["reason"], row["detail"]) for row in problems] == [
        ("c", "wrong_hash", f"its {algorithm} is {right[:12]}…, the row's hash is '000000000000'…"),
        ("e", "wrong_hash", "the row has '\\x1b[31m'…, no hex of MD5, SHA-256 or SHA-512"),
    ]
    assert [row["offset"] for row in problems] == [rows["payload_offsets"][row].as_py()[1] for row in (2, 4)]


def test_inspect_needs_no_hash_of_samples_without_images(tmp_path: Path) -> None:
    assert found(rows_of(shard(tmp_path, [("a.txt", b"a")]), hash=["0"]), InspectJob("decode")) == []


def test_inspect_gives_one_row_a_sample_names_before_hashes_before_images(tmp_path: Path) -> None:
    path = shard(tmp_path, [(f"{key}.{ext}", b"<html>") for key in "abc" for ext in ("jpg", "png")])
    right = hashlib.md5(b"<html>").hexdigest()
    rows = rows_of(path, new_keys={"a": "a" * 97}, hash=["0" * 32, "0" * 32, right])
    problems = found(rows, InspectJob("decode"))
    assert [(row["key"], row["offset"] is None, row["reason"]) for row in problems] == [
        ("a", True, "long_name"),
        ("b", False, "wrong_hash"),
        ("c", False, "not_an_image"),
    ]
    assert problems[0]["detail"] == f"ustar can't hold the name '{'a' * 60}…'"


def test_inspect_takes_names_that_fit(tmp_path: Path) -> None:
    path = shard(tmp_path, [("a.jpg", b""), ("b.jpg", b"")])
    assert found(rows_of(path, new_keys={"a": "a" * 96, "b": "d" * 100 + "/" + "b" * 96}), NAMES) == []


@settings(max_examples=20)
@given(st.permutations(range(12)), st.integers(1, 12))
def test_inspect_gives_the_same_rows_however_they_are_mixed(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], batch_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("mixed")
    shards = [
        rows_of(shard(folder, [(f"{s}{n}.jpg", SOUND["jpg"] if n % 3 else b"") for n in range(4)], f"{s}.tar"), s)
        for s in range(3)
    ]
    rows = pa.concat_tables(shards).take(order)
    batches = [
        batch
        for begin in range(0, 12, batch_rows)
        for batch in rows.slice(begin, batch_rows).combine_chunks().to_batches()
    ]
    problems = [row for batch in inspect_samples(batches, DECODE) for row in batch.to_pylist()]
    assert sorted((row["shard_index"], row["shard_path"], row["key"], row["reason"]) for row in problems) == [
        (s, str(folder / f"{s}.tar"), f"{s}{n}", "not_an_image") for s in range(3) for n in (0, 3)
    ]


def test_inspect_opens_each_tar_once_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [shard(tmp_path, [(f"{n}.jpg", SOUND["jpg"]) for n in range(4)], f"{s}.tar") for s in range(2)]
    rows = pa.concat_tables([rows_of(path) for path in paths]).take([0, 4, 1, 5, 2, 6, 3, 7]).combine_chunks()
    opened: list[str] = []

    class Counting(OpenFile):
        def __init__(self, path: str) -> None:
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(files, "open_file", Counting)
    assert found(rows) == []
    assert opened == [str(path) for path in paths]


def test_inspect_leaves_pillow_and_warnings_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other code in a worker may read cut images and have no bound: its way must not change, nor count here."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    filters = list(warnings.filters)
    for payload, reason in ((SOUND["jpg"][:-50], "broken_image"), (png(10_000, 10_000), "image_too_large")):
        assert (reason_of(tmp_path, payload) or ("", ""))[0] == reason
        assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (None, True)
        assert warnings.filters == filters


def test_inspect_checks_formats_that_pillow_has_and_no_others(tmp_path: Path) -> None:
    assert reason_of(tmp_path, b"<html>", ext="jxl") is None
    avif = reason_of(tmp_path, b"<html>", ext="avif")
    assert (avif is not None) == (".avif" in Image.registered_extensions())
    # PostScript is an image to Pillow, which starts Ghostscript for it.
    assert (reason_of(tmp_path, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") or ("", ""))[0] == "not_an_image"


@settings(max_examples=200)
@given(st.data())
def test_inspect_fails_on_no_image(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever stands in an image, there is a verdict."""
    payload = bytearray(SOUND[data.draw(st.sampled_from(sorted(SOUND)))])
    for place in data.draw(st.lists(st.integers(0, len(payload) - 1), max_size=6)):
        payload[place] = data.draw(st.integers(0, 255))
    payload = payload[: data.draw(st.integers(0, len(payload)))]
    problem = reason_of(tmp_path_factory.getbasetemp(), bytes(payload))
    assert problem is None or problem[0] in {"not_an_image", "broken_image", "image_too_large"}


def test_inspect_stops_where_a_shard_changed(tmp_path: Path) -> None:
    path = shard(tmp_path, [("a.jpg", SOUND["jpg"])])
    rows = rows_of(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match=r"source\.tar at byte 512: .* 88 are there; the shard changed"):
        found(rows)


def test_inspect_holds_one_payload_and_imports_pillow_only_for_images(tmp_path: Path) -> None:
    """200 payloads of 2 MiB in one batch, hashed and looked at."""
    program = textwrap.dedent(
        """
        import os, re, sys
        import pyarrow as pa
        from shardwright.tasks.inspect import InspectJob, inspect_samples

        def peak():
            return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

        with open(sys.argv[1], "wb") as file:
            file.truncate(200 * (2 << 20))
        rows = pa.RecordBatch.from_pylist([
            {"shard_index": 0, "shard_path": sys.argv[1], "position": n, "key": str(n), "new_key": str(n), "hash": "0",
             "member_exts": ["jpg"], "payload_offsets": [n * (2 << 20)], "payload_bytes": [2 << 20]}
            for n in range(200)])
        hashed = list(inspect_samples([rows], InspectJob(None)))
        imported = "PIL" in sys.modules
        list(inspect_samples([rows.slice(0, 1)], InspectJob("decode")))
        before = peak()
        count = sum(batch.num_rows for batch in inspect_samples([rows], InspectJob("decode")))
        count += sum(batch.num_rows for batch in inspect_samples([rows], InspectJob("decode")))
        print(len(hashed), imported, count, peak() - before)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.tar")], capture_output=True, text=True, check=True
    )
    hashed, imported, count, growth_kib = done.stdout.split()
    assert (hashed, imported, count) == ("1", "False", "400")
    assert int(growth_kib) < 16 << 10
