"""Readers that know nothing of us read what we wrote: webdataset, tarfile, GNU tar, pyarrow, pandas, DuckDB."""

from __future__ import annotations

import gc
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image
from pyspark.sql import SparkSession

from shardwright import ImageTextPairDataset
from tests.builders import Row, write_shard

pytestmark = pytest.mark.spark
SHARDS, SAMPLES = 2, 7
Members = dict[str, bytes]


class Written(NamedTuple):
    """An output, and what must be in it: the rows of its sidecars and the members of its samples, in order."""

    root: Path
    rows: list[Row]
    samples: list[Members]


def picture(number: int, kind: str) -> bytes:
    """Give a picture of one colour that tells its number."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 8), (number * 8, 128, 255 - number * 8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def written(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Twelve of fourteen samples in three shards, from tars with PAX headers."""
    assert SparkSession.getActiveSession() is spark
    folder = tmp_path_factory.mktemp("loaders")
    rows: list[Row] = []
    samples: list[Members] = []
    for shard in range(SHARDS):
        members: list[tuple[str, bytes]] = []
        sidecar: list[Row] = []
        for position in range(SAMPLES):
            number = shard * SAMPLES + position
            old, new = f"photo-{number}", f"{len(rows) // 5:03d}{len(rows) % 5}"
            caption = f"Foto № {number}"
            text = {"id": old, "number": number, "caption": caption}
            sample = {
                "jpg": picture(number, "JPEG"),
                "seg.png": picture(number, "PNG"),
                "txt": caption.encode(),
                "json": json.dumps(text, ensure_ascii=False).encode(),
            }
            members += [(f"{old}.{ext}", payload) for ext, payload in sample.items()]
            row: Row = {"id": old, "number": number, "score": number / 14, "vector": [number / 2, 0.0], "keep": True}
            sidecar.insert(0, {name: value for name, value in row.items() if name != "keep"})
            if position != 3:
                renamed = json.dumps({**text, "id": new}, ensure_ascii=False).encode()
                samples.append({**sample, "json": renamed})
                rows.append({**row, "id": new, "source_key": old, "source_shard": f"part-{shard}.tar"})
        write_shard(folder / "in", f"part-{shard}", members, sidecar, tar_format=tarfile.PAX_FORMAT, mtime=1.5)
    dataset = ImageTextPairDataset.from_webdataset(folder / "in", id_col="id")
    dataset.metadata["keep"] = dataset.metadata["number"] % SAMPLES != 3
    dataset.to_webdataset(folder / "out", filter_column="keep", samples_per_shard=5, max_shards=3)
    return Written(folder / "out", rows, samples)


def named(written: Written) -> list[tuple[str, bytes]]:
    """Give the members that must be there, under their names, in order."""
    return [
        (f"{row['id']}.{ext}", payload)
        for row, sample in zip(written.rows, written.samples, strict=True)
        for ext, payload in sample.items()
    ]


@pytest.fixture
def _webdataset_s_files() -> Iterator[None]:
    """webdataset leaves the files that it opened to the garbage collector: let it pass by within the test."""
    yield
    gc.collect()


UNCLOSED = pytest.mark.filterwarnings(
    "ignore:unclosed file <_io.BufferedReader:ResourceWarning",
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning",
)


@UNCLOSED
@pytest.mark.usefixtures("_webdataset_s_files")
def test_webdataset_gives_every_sample_in_order_with_its_members(written: Written) -> None:
    pipeline = webdataset.WebDataset(f"{written.root}/{{000..002}}.tar", shardshuffle=False)
    found = list(pipeline)
    assert [sample["__key__"] for sample in found] == [row["id"] for row in written.rows]
    assert [
        {name: value for name, value in sample.items() if not name.startswith("__")} for sample in found
    ] == written.samples


@UNCLOSED
@pytest.mark.usefixtures("_webdataset_s_files")
def test_webdataset_decodes_and_batches(written: Written) -> None:
    urls = sorted(map(str, written.root.glob("*.tar")))
    pipeline = (
        webdataset.WebDataset(urls, shardshuffle=False)
        .decode("pil")
        .to_tuple("__key__", "jpg", "seg.png", "txt", "json")
    )
    for row, (key, image, mask, caption, fields) in zip(written.rows, pipeline, strict=True):
        number = row["number"]
        assert (key, fields["id"], fields["number"]) == (row["id"], row["id"], number)
        assert caption == fields["caption"] == f"Foto № {number}"
        assert (image.size, mask.size) == ((16, 8), (16, 8))
        assert abs(image.getpixel((8, 4))[0] - number * 8) <= 3
        assert mask.getpixel((8, 4)) == (number * 8, 128, 255 - number * 8)


def test_tarfile_finds_plain_ustar_members(written: Written) -> None:
    found = []
    for path in sorted(written.root.glob("*.tar")):
        with tarfile.open(path, "r:", format=tarfile.USTAR_FORMAT) as tar:
            for info in tar:
                plain = (info.type, info.mode, info.uid, info.gid, info.uname, info.gname, info.mtime, info.pax_headers)
                assert plain == (tarfile.REGTYPE, 0o644, 0, 0, "", "", 0, {})
                member = tar.extractfile(info)
                assert member is not None
                found.append((info.name, member.read()))
    assert found == named(written)


def test_gnu_tar_lists_and_extracts_without_a_word(written: Written, tmp_path: Path) -> None:
    environment = {"TZ": "UTC0", "LC_ALL": "C", "PATH": "/usr/bin:/bin"}

    def tar(*words: object) -> str:
        done = subprocess.run(
            ["tar", *map(str, words)], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stderr == ""
        return done.stdout

    listed: list[list[str]] = []
    for path in sorted(written.root.glob("*.tar")):
        listed += [line.split() for line in tar("tvf", path).splitlines()]
        tar("xf", path, "-C", tmp_path, "--no-same-owner")
    assert listed == [
        ["-rw-r--r--", "0/0", str(len(payload)), "1970-01-01", "00:00", name] for name, payload in named(written)
    ]
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == sorted(named(written))


def test_sidecars_are_plain_parquet_for_every_reader(written: Written) -> None:
    paths = sorted(written.root.glob("*.parquet"))
    assert [pq.read_metadata(path).num_rows for path in paths] == [5, 5, 2]
    assert ds.dataset(list(map(str, paths))).to_table().to_pylist() == written.rows
    frame = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    frame["vector"] = frame["vector"].map(list)
    assert frame.to_dict("records") == written.rows
    with duckdb.connect() as database:
        rows = database.execute(f"SELECT * FROM read_parquet('{written.root}/*.parquet') ORDER BY id")
        names = [column[0] for column in rows.description or ()]
        assert [dict(zip(names, row, strict=True)) for row in rows.fetchall()] == written.rows
        question = (
            f"SELECT source_shard, count(*), max(score) FROM '{written.root}/*.parquet' GROUP BY ALL ORDER BY ALL"
        )
        assert database.execute(question).fetchall() == [("part-0.tar", 6, 6 / 14), ("part-1.tar", 6, 13 / 14)]
