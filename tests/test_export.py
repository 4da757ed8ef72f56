"""export, end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import read_rows, read_samples
from tests.conftest import Outcome

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]


def test_export_writes_the_kept_samples_under_new_keys(run: Run, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("export", dataset, out, "--where", "aesthetic_score >= 0.5", "--samples-per-shard", 4)
    assert done.code == 0, done.stderr
    counts = {"shards": 4, "indexed": 30, "kept": 15, "dropped": 15, "rejected": 0, "exported": 15}
    assert {name: done.result[name] for name in counts} == counts
    assert done.result["drops"] == {"where": 15}
    source, written, rows = read_samples(dataset), read_samples(out), read_rows(out)
    assert (
        list(written) == [row["key"] for row in rows] == [f"{s}{p}".zfill(6) for s in range(4) for p in range(4)][:15]
    )
    assert [row["source_key"] for row in rows] == [f"{s * 10_000 + p:09d}" for s in range(3) for p in range(5, 10)]
    for row in rows:
        old, new = source[row["source_key"]], written[row["key"]]
        assert (new["jpg"], new["txt"]) == (old["jpg"], old["txt"])
        assert json.loads(new["json"]) == {**json.loads(old["json"]), "key": row["key"]}
        assert row["caption"] == old["txt"].decode()
