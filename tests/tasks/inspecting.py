"""Samples to look into: images of all sorts, tars of them, and what the look finds."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from PIL import Image

from shardwright.format.scan import scan_tar
from shardwright.local_files import OpenFile
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
