"""Cut a WebDataset in NeMo's pair layout from real photographs, with nothing to download.

The wheels of scikit-image and scikit-learn carry a few real photographs (a Chinese temple, a
flower, an astronaut, a cat, …). This cuts 2,400 JPEGs of many sizes and qualities from them, the
same ones for the same seed, and lays them out as 8 shards of 300 samples: ``00000.tar`` holding
``KEY.jpg``, ``KEY.txt`` and ``KEY.json``, beside it ``00000.parquet`` with one row per sample.

The two scores are stand-ins, measured from the pixels with no model behind them:

- ``aesthetic_score``: the mean of sharpness and colourfulness, each squashed into 0..1. It knows
  nothing of beauty.
- ``nsfw_score``: the share of pixels with a skin-like colour. It knows nothing of content; a
  ginger cat scores high.

``image_embedding`` describes a picture's layout and tones in 64 numbers of unit length: the mean
colours of a 4 x 4 grid (48) and a histogram of its brightness (16).

Run: ``python examples/photos.py FOLDER``
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

Pixels = npt.NDArray[np.float32]

# Files inside the wheels themselves: read as files, so that neither package is imported.
PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "brick": ("skimage", "data/brick.png"),
    "camera": ("skimage", "data/camera.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "coins": ("skimage", "data/coins.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "hubble": ("skimage", "data/hubble_deep_field.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
}

SHARDS = 8
SAMPLES_PER_SHARD = 300
SHARD_DIGITS = 5
POSITION_DIGITS = 3  # enough for positions 0..299
SHORTEST_SIDE, LONGEST_SIDE = 96, 360
QUALITIES = (40, 60, 75, 80, 90, 95)

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "caption": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "source": pa.string(),
        "aesthetic_score": pa.float32(),
        "nsfw_score": pa.float32(),
        "image_embedding": pa.list_(pa.float32()),
    }
)


@dataclass(frozen=True)
class Cut:
    """One JPEG and the truth about it."""

    jpeg: bytes
    source: str
    caption: str
    width: int
    height: int


def write_dataset(folder: Path, seed: int = 20240607) -> int:
    """Write the shards and their sidecars into ``folder``; returns the number of samples."""
    folder.mkdir(parents=True, exist_ok=True)
    photographs = {name: _open_photograph(*where) for name, where in PHOTOGRAPHS.items()}
    random = np.random.default_rng(seed)
    for shard in range(SHARDS):
        cuts = [_cut(photographs, random) for _ in range(SAMPLES_PER_SHARD)]
        _write_shard(folder, shard, cuts)
    return SHARDS * SAMPLES_PER_SHARD


def _open_photograph(package: str, path: str) -> Image.Image:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"The photographs come with {package}: pip install 'shardwright[demo]'.")
    with Image.open(Path(spec.origin).parent / path) as image:
        return image.convert("RGB")


def _cut(photographs: dict[str, Image.Image], random: np.random.Generator) -> Cut:
    source = str(random.choice(list(photographs)))
    photograph = photographs[source]
    width = int(random.integers(SHORTEST_SIDE, min(LONGEST_SIDE, photograph.width) + 1))
    height = int(random.integers(SHORTEST_SIDE, min(LONGEST_SIDE, photograph.height) + 1))
    left = int(random.integers(0, photograph.width - width + 1))
    top = int(random.integers(0, photograph.height - height + 1))
    quality = int(random.choice(QUALITIES))
    mirrored = bool(random.integers(2))

    image = photograph.crop((left, top, left + width, top + height))
    if mirrored:
        image = ImageOps.mirror(image)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=quality)
    caption = (
        f"a {width} x {height} {'mirrored ' if mirrored else ''}crop "
        f"of the photograph '{source}', JPEG quality {quality}"
    )
    return Cut(jpeg.getvalue(), source, caption, width, height)


def _write_shard(folder: Path, shard: int, cuts: list[Cut]) -> None:
    rows = []
    with tarfile.open(folder / f"{shard:0{SHARD_DIGITS}d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for position, cut in enumerate(cuts):
            number = shard * 10**POSITION_DIGITS + position
            key = f"{number:0{SHARD_DIGITS + POSITION_DIGITS}d}"
            facts = {
                "id": key,
                "caption": cut.caption,
                "width": cut.width,
                "height": cut.height,
                "source": cut.source,
            }
            _add(tar, f"{key}.jpg", cut.jpeg)
            _add(tar, f"{key}.txt", cut.caption.encode())
            _add(tar, f"{key}.json", json.dumps(facts).encode())
            rows.append(facts | measure(cut.jpeg))
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(table, folder / f"{shard:0{SHARD_DIGITS}d}.parquet")


def _add(tar: tarfile.TarFile, name: str, payload: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(payload)
    tar.addfile(member, io.BytesIO(payload))


def measure(jpeg: bytes) -> dict[str, float | list[float]]:
    """Score and embed one JPEG from its decoded pixels alone."""
    with Image.open(io.BytesIO(jpeg)) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    luma = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return {
        "aesthetic_score": (_sharpness(luma) + _colourfulness(pixels)) / 2,
        "nsfw_score": _skin_share(pixels, luma),
        "image_embedding": _embedding(pixels, luma),
    }


def _sharpness(luma: Pixels) -> float:
    """Spread of the Laplacian, squashed so that 15 grey levels give one half."""
    inner = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    spread = float(laplacian.std())
    return spread / (spread + 15)


def _colourfulness(pixels: Pixels) -> float:
    """Hasler and Süsstrunk's measure (2003), squashed so that 20 gives one half."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    red_green = red - green
    yellow_blue = (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    mean = np.hypot(red_green.mean(), yellow_blue.mean())
    colourfulness = float(spread + 0.3 * mean)
    return colourfulness / (colourfulness + 20)


def _skin_share(pixels: Pixels, luma: Pixels) -> float:
    """Share of pixels in a box of chroma where skin by daylight lies.

    Narrower than Chai and Ngan's box (1999), which takes in wood and brick as well.
    """
    blue_chroma = 128 + 0.564 * (pixels[..., 2] - luma)
    red_chroma = 128 + 0.713 * (pixels[..., 0] - luma)
    skin = (luma > 80) & (blue_chroma >= 80) & (blue_chroma <= 120)
    return float((skin & (red_chroma >= 140) & (red_chroma <= 165)).mean())


def _embedding(pixels: Pixels, luma: Pixels) -> list[float]:
    rows = np.array_split(pixels, 4, axis=0)
    cells = [cell.mean(axis=(0, 1)) for row in rows for cell in np.array_split(row, 4, axis=1)]
    grid = np.concatenate(cells) / 255 - 0.5
    tones = np.histogram(luma, bins=16, range=(0, 256))[0] / luma.size
    vector = np.concatenate([grid, tones])
    unit: list[float] = (vector / np.linalg.norm(vector)).tolist()
    return unit


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Cut a WebDataset from real photographs.")
    parser.add_argument("folder", type=Path)
    target: Path = parser.parse_args().folder
    print(f"{write_dataset(target):,} samples in {target}")
