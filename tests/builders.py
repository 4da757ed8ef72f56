"""Tiny deterministic datasets, built as real files."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Row = dict[str, Any]

# Before version 26 pyarrow can't read a null in a list of fixed size back from Parquet.
NULL_VECTOR = None if int(pa.__version__.split(".")[0]) >= 26 else [0.0, 0.0]


def tar_bytes(members: Sequence[tuple[str, bytes]], tar_format: int = tarfile.USTAR_FORMAT, mtime: float = 0) -> bytes:
    """Write members with Python's tarfile; a float mtime makes a PAX header before each, as webdataset does."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for name, payload in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(payload), mtime
            tar.addfile(info, io.BytesIO(payload))
    return buffer.getvalue()


def sample_members(
    key: str, *, id_col: str = "key", seed: int = 0, image: bytes | None = None, **fields: Any
) -> list[tuple[str, bytes]]:
    """Give a sample's jpg, txt and json; the jpg is random bytes by default."""
    image = image or random.Random(f"{key}/{seed}").randbytes(300 + len(key) * 37 % 1500)
    caption = f"caption of {key}"
    text = json.dumps({id_col: key, "caption": caption, **fields})
    return [(f"{key}.jpg", image), (f"{key}.txt", caption.encode()), (f"{key}.json", text.encode())]


def jpeg_bytes(size: tuple[int, int] = (64, 48)) -> bytes:
    """Give a real JPEG."""
    buffer = io.BytesIO()
    width, height = size
    Image.frombytes("RGB", size, random.Random(0).randbytes(3 * width * height)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_shard(
    folder: Path,
    name: str,
    members: Sequence[tuple[str, bytes]],
    rows: Sequence[Row] | pa.Table | None,
    **tar_options: Any,
) -> None:
    """Write one shard: ``NAME.tar``, and ``NAME.parquet`` unless there are no rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.tar").write_bytes(tar_bytes(members, **tar_options))
    if rows is not None:
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows))
        pq.write_table(table, folder / f"{name}.parquet")


def write_dataset(
    folder: Path,
    shards: int = 3,
    samples: int = 10,
    *,
    id_col: str = "key",
    pax: bool = False,
    image: bytes | None = None,
) -> Path:
    """Write a dataset in NeMo's pair layout, sidecar rows in another order than the tar's.

    Sample i of shard s has the key of ``f"{s * 10_000 + i:09d}"``; scores are multiples of 1/samples.
    """
    for shard in range(shards):
        keys = [f"{shard * 10_000 + position:09d}" for position in range(samples)]
        members = [member for key in keys for member in sample_members(key, id_col=id_col, image=image)]
        rows = [
            {
                id_col: key,
                "caption": f"caption of {key}",
                "aesthetic_score": position / samples,
                "nsfw_score": (position * 7 % samples) / samples,
                "embedding": [position / 8, shard / 8],
            }
            for position, key in enumerate(keys)
        ]
        options = {"tar_format": tarfile.PAX_FORMAT, "mtime": 1.5} if pax else {}
        write_shard(folder, f"{shard:05d}", members, rows[::-1], **options)
    return folder


def read_tar(path: Path) -> list[tuple[str, bytes]]:
    """Read a tar's members with Python's tarfile."""
    with tarfile.open(path) as tar:
        return [(info.name, tar.extractfile(info).read()) for info in tar if info.isreg()]  # type: ignore[union-attr]


def read_samples(folder: Path) -> dict[str, dict[str, bytes]]:
    """Read all samples of a dataset: key to ext to payload; a key that repeats is an error."""
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted(folder.glob("*.tar")):
        keys_here: dict[str, dict[str, bytes]] = {}
        for name, payload in read_tar(path):
            key, _, ext = name.partition(".")
            keys_here.setdefault(key, {})[ext] = payload
        assert not keys_here.keys() & samples.keys()
        samples.update(keys_here)
    return samples


def read_rows(folder: Path) -> list[Row]:
    """Read all sidecars of a dataset, shard by shard."""
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def tree_bytes(folder: Path, patterns: Sequence[str] = ("*.tar", "*.parquet")) -> Mapping[str, bytes]:
    """Give the bytes of a dataset's files by name."""
    return {path.name: path.read_bytes() for pattern in patterns for path in sorted(folder.glob(pattern))}


class TarInMemory:
    """A tar's bytes, read in ranges."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size_bytes = len(data)

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


# Two samples, and a row for each.
AB = [*sample_members("a"), *sample_members("b")]
ROWS = [{"key": "a", "score": 1.0}, {"key": "b", "score": 2.0}]
