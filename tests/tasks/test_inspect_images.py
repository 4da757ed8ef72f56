"""The look into images before they are written: real ones, and what stands in their place."""

from __future__ import annotations

import gzip
import re
import warnings
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from shardwright.tasks import inspect
from shardwright.tasks.inspect import InspectJob
from tests.tasks.inspecting import (
    DECODE,
    HEADER,
    NAMES,
    SOUND,
    Level,
    encoded,
    found,
    png,
    png_chunk,
    png_header,
    reason_of,
    rows_of,
    shard,
)


@pytest.mark.parametrize("job", [DECODE, HEADER, NAMES])
def test_inspect_finds_nothing_in_sound_images(tmp_path: Path, job: InspectJob) -> None:
    members = [(f"a.{ext}", payload) for ext, payload in SOUND.items()]
    assert found(rows_of(shard(tmp_path, [*members, ("a.txt", b"<html>"), ("a.json", b"{")])), job) == []


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
