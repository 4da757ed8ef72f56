"""Look into samples before an export writes them: names, hashes and images; one row an unsound sample."""

from __future__ import annotations

import codecs
import hashlib
import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from shardwright.errors import DataError, SampleReason
from shardwright.files import Ranges, open_ahead
from shardwright.format.headers import ustar_split
from shardwright.format.names import join_name
from shardwright.tasks.streams import by_value

FOUND = pa.schema(
    [
        pa.field("shard_index", pa.int64()),
        pa.field("shard_path", pa.string()),
        pa.field("position", pa.int64()),
        pa.field("key", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
IMAGE_EXTS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jxl")
MAX_IMAGE_BYTES = 256 << 20
MAX_IMAGE_PIXELS = 89_478_485  # Pillow's own bound; decoded, an image of this size takes 358 MB

_MEMBERS = ("member_exts", "payload_offsets", "payload_bytes")
_HEAD_BYTES = 256
_ALGORITHMS = {32: "md5", 64: "sha256", 128: "sha512"}  # by digits of hex
# What downloads hold in an image's place; the first that matches is named.
_LOOKS = {
    "an HTML page": rb"<(!doctype\s+html|html|head|body|title|script|meta|div)\b",
    "SVG or other XML": rb"<(\?xml|!doctype|[a-z][\w:]*[\s/>])",
    "JSON": rb"\s*(\{\s*[\"}]|\[\s*[\[\]{\"\d-])",
    "a gzip stream": rb"\x1f\x8b",
    "a HEIF, AVIF or video file": rb".{4}ftyp",
    "a JPEG XL image": rb"\xff\x0a|\0\0\0\x0cJXL ",
}

# What Pillow's plugins and codecs raise on bytes they can't take; its open() turns some of it into
# UnidentifiedImageError, its load() nothing. Not MemoryError: that is the machine's, not the image's.
_PYTHON_ERRORS = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError)
_PILLOW_RAISES = (*_PYTHON_ERRORS, RuntimeError, struct.error, zlib.error)


Images = Literal["decode", "header"]


@dataclass(frozen=True)
class InspectJob:
    """What to look at beside names; ``header`` finds no image that is cut behind its header, ``decode`` does."""

    images: Images | None


class _Unsound(NamedTuple):
    """What is wrong with a sample; ``offset`` is the payload's."""

    offset: int | None
    reason: SampleReason
    detail: str


def inspect_samples(batches: Iterable[pa.RecordBatch], job: InspectJob) -> Iterator[pa.RecordBatch]:
    """Give a row (schema `FOUND`) for each unsound sample: its first problem.

    Args:
        batches: In any order: ``shard_index``, ``shard_path``, ``position``, ``key``, ``new_key``, ``member_exts``,
            ``payload_offsets``, ``payload_bytes`` and perhaps ``hash``: hex of MD5, SHA-256 or SHA-512, null where
            none is known.

    Names come first, then each image: its size, its hash (the first image's alone), what Pillow says. One payload
    is held at a time. As in Pillow a JPEG without its end marker is broken, one whose pixels were overwritten is not.
    """
    ordered = (batch.sort_by([("shard_path", "ascending"), ("position", "ascending")]) for batch in batches)
    for path, rows in by_value(ordered, "shard_path"):
        for batch in rows:
            with open_ahead(path, partial(_payloads, batch, job)) as tar:
                found = [
                    {**sample, **problem._asdict()}
                    for sample in batch.to_pylist()
                    if (problem := next(_problems(sample, tar, job), None))
                ]
            if found:
                yield pa.RecordBatch.from_pylist(found, schema=FOUND)


def _payloads(batch: pa.RecordBatch, job: InspectJob) -> Iterator[tuple[int, int]]:
    """Give offset and size of the payloads that will be read, if nothing is wrong with the samples."""
    for sample in batch.to_pylist():
        expected = sample.get("hash")
        for ext, offset, size in zip(*(sample[name] for name in _MEMBERS), strict=True):
            if _is_read(ext, expected is not None, job) and 0 < size <= MAX_IMAGE_BYTES:
                yield offset, size
                expected = None


def _is_read(whole_ext: str, has_hash: bool, job: InspectJob) -> bool:
    """Tell whether a payload is looked into: an image that has a hash to compare it with, or that Pillow can open."""
    ext = whole_ext.rpartition(".")[2].lower()
    return ext in IMAGE_EXTS and (has_hash or (job.images is not None and ext in _formats()))


def _problems(sample: Mapping[str, Any], tar: Ranges, job: InspectJob) -> Iterator[_Unsound]:
    """Find problems in their order; whoever stops at the first has nothing read behind it."""
    for ext in sample["member_exts"]:
        name = join_name(sample["new_key"], ext)
        if ustar_split(name.encode()) is None:
            yield _Unsound(None, "long_name", f"ustar can't hold the name '{name[:60]}…'")
    expected = sample.get("hash")
    members = zip(*(sample[name] for name in _MEMBERS), strict=True)
    for whole_ext, offset, size in members:
        if not _is_read(whole_ext, expected is not None, job):
            continue
        looked_at = _is_read(whole_ext, False, job)
        if size > MAX_IMAGE_BYTES:
            yield _Unsound(offset, "image_too_large", f"it has {size:,} bytes, at most {MAX_IMAGE_BYTES:,} are read")
            continue
        payload = _read(tar, offset, size)
        if expected is not None:
            algorithm = _ALGORITHMS.get(len(expected))
            if algorithm is None:
                yield _Unsound(
                    offset, "wrong_hash", f"the row has {expected[:12]!a}…, no hex of MD5, SHA-256 or SHA-512"
                )
            elif (found := hashlib.new(algorithm, payload, usedforsecurity=False).hexdigest()) != expected.lower():
                detail = f"its {algorithm} is {found[:12]}…, the row's hash is {expected[:12]!a}…"
                yield _Unsound(offset, "wrong_hash", detail)
            expected = None
        if looked_at and (problem := _look(payload, decode=job.images == "decode")):
            yield _Unsound(offset, *problem)


def _read(tar: Ranges, offset: int, size: int) -> bytes:
    payload = tar.read(offset, size)
    if len(payload) < size:
        raise DataError(
            f"{tar.path} at byte {offset:,}",
            f"{size:,} bytes were expected, {len(payload):,} are there; the shard changed since it was indexed",
            "Run the command again: it indexes the shard anew. Nothing was committed.",
        )
    return payload


def _look(payload: bytes, *, decode: bool) -> tuple[SampleReason, str] | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with _own_settings(), Image.open(io.BytesIO(payload), formats=sorted({*_formats().values()})) as image:
            if decode:
                image.load()  # of several frames, the first
    except UnidentifiedImageError:
        return _unidentified(payload[:_HEAD_BYTES])
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        return "image_too_large", _words(error)
    except _PILLOW_RAISES as error:
        return "broken_image", _words(error)
    return None


@contextmanager
def _own_settings() -> Iterator[None]:
    """Hold Pillow to its defaults for one image: other code in the process may have set, and want, something else."""
    from PIL import Image, ImageFile

    theirs = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = MAX_IMAGE_PIXELS, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = theirs


@cache
def _formats() -> dict[str, str]:
    """Give Pillow's format for each image ext that it can read; no other format is tried, so none runs a program."""
    from PIL import Image

    known = Image.registered_extensions()
    return {ext: known[f".{ext}"] for ext in IMAGE_EXTS if f".{ext}" in known}


def _unidentified(head: bytes) -> tuple[SampleReason, str]:
    from PIL import Image

    for name in _formats().values():
        accept = Image.OPEN[name][1]
        if accept and accept(head[:16]):
            return "broken_image", f"it begins as {name} does, but its header is truncated or corrupt"
    if not head:
        return "not_an_image", "it is empty"
    text = re.sub(rb"<!--.*?-->", b"", head.removeprefix(codecs.BOM_UTF8), flags=re.S).lstrip()
    looks = next((looks for looks, pattern in _LOOKS.items() if re.match(pattern, text, re.I | re.S)), None)
    return "not_an_image", f"it looks like {looks or ('text' if _is_text(text) else 'unknown bytes')}: {head[:24]!r}"


def _is_text(head: bytes) -> bool:
    try:  # a character may be cut at the end
        return "".join(codecs.getincrementaldecoder("utf-8")().decode(head).split()).isprintable()
    except UnicodeDecodeError:
        return False


def _words(error: Exception) -> str:
    """Give what Pillow says, safe for a terminal."""
    return f"Pillow: {type(error).__name__}: {error}".encode("unicode_escape").decode()[:200]
