"""Generate a dataset in NeMo's pair layout of any size, for timing: the images do not decode.

An image is a JPEG header and random bytes, its size drawn from a log-normal distribution of the
given mean. Captions, scores and embeddings are random as well, the same ones for the same seed.
"""

from __future__ import annotations

import io
import json
import math
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

EMBEDDING_DIMENSIONS = 64
SHARD_DIGITS = 5

_JPEG_HEAD = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
_JPEG_END = b"\xff\xd9"
_SIZE_SIGMA = 0.5  # half of the images lie between 0.63 and 1.24 of the mean
_WRITTEN_AT = 1_700_000_000.25
_POOL_BYTES = 64 << 20
_WORDS = (
    "red",
    "old",
    "small",
    "boat",
    "house",
    "tree",
    "street",
    "river",
    "by",
    "the",
    "in",
    "light",
)


@dataclass(frozen=True)
class Size:
    """How much to generate, and how.

    ``pax`` puts a PAX header before each member, as the shards have that webdataset, img2dataset
    and NeMo Curator wrote; ``ustar`` does not, which spares tarfile much of its work.
    """

    shards: int = 8
    samples_per_shard: int = 5_000
    mean_image_bytes: int = 50_000
    dialect: str = "pax"

    @property
    def samples(self) -> int:
        """Samples in the whole dataset."""
        return self.shards * self.samples_per_shard

    @property
    def image_gb(self) -> float:
        """Gigabytes of images in the whole dataset."""
        return self.samples * self.mean_image_bytes / 1e9


def ensure_dataset(data: Path, size: Size) -> Path:
    """Return the folder of a complete dataset of this size below ``data``, generated if absent."""
    name = f"source_{size.dialect}_{size.shards}x{size.samples_per_shard}_{size.mean_image_bytes}"
    folder = data / name
    if folder.exists():
        return folder
    # Renamed when complete: a folder of that name can be trusted, whatever happened before.
    unfinished = data / f"{name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    pool = np.random.default_rng(0).bytes(_POOL_BYTES)
    for shard in range(size.shards):
        _write_shard(unfinished, shard, size, pool)
    return unfinished.rename(folder)


def _write_shard(folder: Path, shard: int, size: Size, pool: bytes) -> None:
    random = np.random.default_rng([1, shard])
    table = _metadata(shard, size, random)
    rows = table.select(["id", "caption", "width", "height"]).to_pylist()
    image_bytes = _image_bytes(size, random)
    starts = random.integers(0, _POOL_BYTES - image_bytes)
    # tarfile writes a PAX header for a time that is not a whole number of seconds, and only for that.
    written_at = _WRITTEN_AT if size.dialect == "pax" else int(_WRITTEN_AT)
    with tarfile.open(folder / f"{shard:0{SHARD_DIGITS}d}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for row, start, length in zip(rows, starts.tolist(), image_bytes.tolist(), strict=True):
            body = pool[start : start + length - len(_JPEG_HEAD) - len(_JPEG_END)]
            _add(tar, f"{row['id']}.jpg", _JPEG_HEAD + body + _JPEG_END, written_at)
            _add(tar, f"{row['id']}.json", json.dumps(row).encode(), written_at)
            _add(tar, f"{row['id']}.txt", row["caption"].encode(), written_at)
    pq.write_table(table, folder / f"{shard:0{SHARD_DIGITS}d}.parquet")


def _metadata(shard: int, size: Size, random: np.random.Generator) -> pa.Table:
    count = size.samples_per_shard
    position_digits = math.ceil(math.log10(count))
    numbers = range(shard * 10**position_digits, shard * 10**position_digits + count)
    words = random.choice(_WORDS, (count, 12))
    embedding = random.standard_normal(count * EMBEDDING_DIMENSIONS, dtype=np.float32)
    offsets = np.arange(count + 1, dtype=np.int32) * EMBEDDING_DIMENSIONS
    return pa.table(
        {
            "id": [f"{number:0{SHARD_DIGITS + position_digits}d}" for number in numbers],
            "caption": [" ".join(row) for row in words.tolist()],
            "width": random.integers(200, 2_000, count, dtype=np.int32),
            "height": random.integers(200, 2_000, count, dtype=np.int32),
            "aesthetic_score": random.random(count),
            "nsfw_score": random.random(count),
            "image_embedding": pa.ListArray.from_arrays(offsets, embedding),
        }
    )


def _image_bytes(size: Size, random: np.random.Generator) -> npt.NDArray[np.int64]:
    mu = math.log(size.mean_image_bytes) - _SIZE_SIGMA**2 / 2
    drawn = random.lognormal(mu, _SIZE_SIGMA, size.samples_per_shard)
    return np.clip(drawn, 100, _POOL_BYTES // 2).astype(np.int64)


def _add(tar: tarfile.TarFile, name: str, payload: bytes, written_at: float) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(payload)
    member.mtime = written_at
    tar.addfile(member, io.BytesIO(payload))
