"""Every verb through spark-submit on a standalone cluster: executors have the wheel, and nothing else of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import read_samples, tree_bytes, write_dataset
from tests.cluster.standalone import Cluster

pytestmark = pytest.mark.cluster


def submitted(cluster: Cluster, *words: object, **options: Any) -> dict[str, Any]:
    """Submit a verb and give its result, the last line that is one."""
    with cluster.submit(*words, "--json", **options) as application:
        code = application.wait()
        output = application.output
    lines = [line for line in output.splitlines() if line.startswith("{")]
    assert lines, output[-3000:]
    return {**json.loads(lines[-1]), "exit_code": code}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("submitted")


def test_a_job_file_is_exported_by_executors_that_have_the_wheel_alone(cluster: Cluster, folder: Path) -> None:
    dataset = write_dataset(folder / "data", 3, 20)
    job = folder / "job.toml"
    job.write_text(
        f"[export]\ndataset = '{dataset}'\noutput = '{folder / 'out'}'\nsamples_per_shard = 4\n"
        "[export.rules]\ngood = 'aesthetic_score >= 0.5'\n"
    )
    done = submitted(cluster, "export", "--job", job)
    assert (done["exit_code"], done["indexed"], done["exported"], done["shards"]) == (0, 60, 30, 8)
    before = tree_bytes(folder / "out")
    again = submitted(cluster, "export", "--job", job)
    assert {**again, "seconds": 0} == {**done, "seconds": 0}
    assert tree_bytes(folder / "out") == before
    assert len(read_samples(folder / "out")) == 30


def test_the_other_verbs_take_the_same_words(cluster: Cluster, folder: Path) -> None:
    dataset = folder / "data"
    assert submitted(cluster, "index", dataset)["scanned_shards"] == 0
    assert submitted(cluster, "filter", dataset, "--where", "nsfw_score < 0.5")["kept"] == 30
    decided = submitted(cluster, "export", dataset, folder / "decided", "--decisions", "latest")
    assert (decided["exit_code"], decided["exported"]) == (0, 30)
    assert submitted(cluster, "reshard", dataset, folder / "all", "--samples-per-shard", 7)["exported"] == 60
    saved = submitted(cluster, "save-metadata", dataset, folder / "saved", "--columns", "aesthetic_score")
    assert (saved["exit_code"], saved["rows"]) == (0, 60)
    assert submitted(cluster, "verify", folder / "out", "--deep")["problems"] == 0
    (folder / "out" / "00099.tar").touch()
    assert submitted(cluster, "verify", folder / "out")["exit_code"] == 1
    assert submitted(cluster, "clean", folder / "out", "--delete")["deleted"] == 1
    assert len(submitted(cluster, "history", folder / "out")["snapshots"]) == 1


def test_what_goes_wrong_has_its_exit_code_and_its_sentence(cluster: Cluster, folder: Path) -> None:
    words = ["export", folder / "data", folder / "wrong", "--where"]
    refused = submitted(cluster, *words, "aesthetic > 0.5")
    assert (refused["exit_code"], "Did you mean 'aesthetic_score'" in refused["error"]) == (2, True)
    (folder / "broken").mkdir()
    write_dataset(folder / "broken", 1, 4)
    tar = folder / "broken" / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:5_000])
    broken = submitted(cluster, "reshard", folder / "broken", folder / "wrong", "--samples-per-shard", 4)
    assert (broken["exit_code"], broken["problems"][0]["reason"]) == (1, "truncated")
