"""Read outputs back and require that they hold the same samples, payload for payload."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, groupby
from pathlib import Path

import pyarrow.parquet as pq
import xxhash

ID_FIELD = "id"
SOURCE_KEY = "source_key"


def samples_of(output: Path) -> frozenset[bytes]:
    """Give a digest for each sample of an output: of all that is in it, but for its key and the id in its JSON.

    The ways differ in those two: some number samples anew, and not all of them do so in the JSON.

    Raises:
        SystemExit: A sample is there twice, or a sidecar has other rows than its tar has samples.
    """
    with ProcessPoolExecutor() as processes:
        digests = list(chain.from_iterable(processes.map(_shard_samples, sorted(output.glob("*.tar")))))
    if len(set(digests)) != len(digests):
        raise SystemExit(f"{output} holds a sample twice.")
    return frozenset(digests)


def _shard_samples(shard: Path) -> list[bytes]:
    with tarfile.open(shard) as tar:
        digests = [_digest(dict(members)) for _, members in groupby(_members(tar), key=lambda member: member[0][0])]
    sidecar = shard.with_suffix(".parquet")
    if sidecar.exists():
        source_keys = pq.read_table(sidecar, columns=[SOURCE_KEY])[SOURCE_KEY].to_pylist()
        if len(set(source_keys)) != len(digests) or len(source_keys) != len(digests):
            raise SystemExit(f"{sidecar} has {len(source_keys)} rows, its tar {len(digests)} samples.")
    return digests


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tuple[str, str], bytes]]:
    for info in tar:
        payload = tar.extractfile(info)
        if payload is not None:
            key, _, ext = info.name.rpartition("/")[2].partition(".")
            yield (key, ext), payload.read()


def _digest(members: dict[tuple[str, str], bytes]) -> bytes:
    digest = xxhash.xxh3_128()
    for (_, ext), payload in sorted(members.items()):
        content = payload
        if ext == "json":
            fields = json.loads(payload)
            del fields[ID_FIELD]
            content = json.dumps(fields, sort_keys=True).encode()
        digest.update(f"{ext} {len(content)} ".encode())
        digest.update(content)
    return digest.digest()
