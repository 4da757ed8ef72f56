"""Inputs that break other tools, by number: every one is exported right, or reported and counted."""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from shardwright.config import ExportSettings, OnBad, Selection, SourceSettings
from shardwright.errors import Problem, ProblemsError
from shardwright.export import export_dataset
from shardwright.format.json_id import with_json_id
from tests.builders import read_rows, read_tar, sample_members, tar_bytes, write_shard
from tests.conftest import Outcome
from tests.inputs import LARGE, RULES, Input, inputs, write_inputs

pytestmark = pytest.mark.spark
Run = Callable[..., Outcome]
_COLUMNS = ("score", "sha256", "status")


class Exported(NamedTuple):
    """What an export of all inputs at once gave."""

    folder: Path
    shards: list[Input]
    result: dict[str, Any]
    samples: dict[tuple[str, str], list[tuple[str, bytes]]]  # by source shard and key, members in order
    rows: dict[tuple[str, str], dict[str, Any]]  # of the Parquet files
    rejects: dict[str, Counter[tuple[str | None, str]]]  # by source shard
    problems: list[Problem]  # what --on-bad fail listed


@pytest.fixture(scope="module")
def exported(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("inputs")
    shards = write_inputs(folder / "data")
    output = folder / "out"

    def export(on_bad: OnBad) -> dict[str, Any]:
        source = SourceSettings(str(folder / "data"), on_bad=on_bad)
        settings = ExportSettings(source, str(output), Selection(RULES), 7, check=("images", "hashes"))
        return export_dataset(spark, settings)

    with pytest.raises(ProblemsError) as failed:
        export("fail")
    assert not output.exists()
    result = export("quarantine")
    samples: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(output.glob("*.tar")):
        members: dict[str, list[tuple[str, bytes]]] = {}
        for name, payload in read_tar(path):
            members.setdefault(name.partition(".")[0], []).append((name.partition(".")[2], payload))
        for row in pq.read_table(path.with_suffix(".parquet")).to_pylist():
            place = (row["source_shard"], row["source_key"])
            samples[place], rows[place] = members.pop(row["key"]), row
        assert not members
    rejects: dict[str, Counter[tuple[str | None, str]]] = {}
    for row in DeltaTable(f"{output}_tables/rejects").to_pyarrow_table().to_pylist():
        rejects.setdefault(Path(row["shard_path"]).stem, Counter())[row["key"], row["reason"]] += 1
    return Exported(folder, shards, result, samples, rows, rejects, list(failed.value.problems))


def check(exported: Exported, shard: Input) -> None:
    name = f"{shard.name}{shard.suffix}"
    found = {key: members for (source, key), members in exported.samples.items() if source == name}
    expected = {
        key: [
            (ext, with_json_id(payload, "key", exported.rows[name, key]["key"]) if ext == "json" else payload)
            for ext, payload in members
        ]
        for key, members in shard.payloads().items()
        if (name, key) in exported.rows
    }
    assert list(found) == list(shard.kept)
    assert found == expected
    source = pq.read_table(exported.folder / "data" / f"{shard.name}.parquet").to_pylist() if found else []
    for row in source:
        written = exported.rows.get((name, row["key"]), row)
        assert {column: written[column] for column in _COLUMNS} == {column: row[column] for column in _COLUMNS}
    assert exported.rejects.get(shard.name, Counter()) == Counter(shard.rejected)


@pytest.mark.parametrize(
    "shard",
    [
        pytest.param(shard, id=f"{shard.name} {shard.what}", marks=pytest.mark.input(shard.number, shard.what))
        for shard in inputs()
    ],
)
def test_input(exported: Exported, shard: Input) -> None:
    check(exported, shard)


@pytest.mark.input(36, "members over 8 GiB and tars over 4 GiB")
def test_input_36_large_members(exported: Exported) -> None:
    for shard in exported.shards[-len(LARGE) :]:
        check(exported, shard)


@pytest.mark.input(37, "what an earlier run left between the shards")
def test_input_37_leftovers(exported: Exported) -> None:
    assert not {"temp_3", "36.tar", "99_stats"} & exported.rejects.keys()


def test_fail_lists_in_one_pass_what_quarantine_sets_aside(exported: Exported) -> None:
    listed: dict[str, Counter[tuple[str | None, str]]] = {}
    for problem in exported.problems:
        listed.setdefault(Path(problem.shard).stem, Counter())[problem.key, problem.reason] += 1
    assert listed == exported.rejects
    assert sum(exported.result["rejects"].values()) == len(exported.problems)


def test_the_counts_of_all_inputs_are_laws(exported: Exported) -> None:
    result = exported.result
    assert result["indexed"] == result["kept"] + result["dropped"] + result["rejected"]
    assert result["kept"] == result["exported"] == len(exported.samples) == sum(len(s.kept) for s in exported.shards)
    assert result["drops"] == {"no_error_image": 3, "score": 4}
    rows = DeltaTable(f"{exported.folder}/out_tables/rejects").to_pyarrow_table()
    assert sum(rows["sample_count"].to_pylist()) == result["rejected"]
    assert result["unpaired_rows"] == {"failed_download": 1, "null_id": 1, "rejected_shard": 12, "unmatched_row": 1}


def test_what_is_written_is_plain_ustar_that_stays_in_its_folder(exported: Exported) -> None:
    for path in (exported.folder / "out").glob("*.tar"):
        with tarfile.open(path) as tar:
            for info in tar:
                assert info.isreg()
                assert not info.pax_headers
                assert tarfile.data_filter(info, str(exported.folder)).name == info.name


@pytest.mark.input(13, "a key in several shards, with keys kept")
def test_input_13_keys_that_shards_share(run: Run, tmp_path: Path) -> None:
    for shard in ("a", "b"):
        keys = [f"{shard}1", "k"] if shard == "a" else ["k", "b2"]
        members = [member for key in keys for member in sample_members(key, seed=ord(shard))]
        write_shard(tmp_path / "data", shard, members, [{"key": key, "from": shard} for key in keys])
    words = ["reshard", tmp_path / "data", tmp_path / "out", "--samples-per-shard", 10, "--keys"]
    done = run(*words, "source")
    assert [(found["key"], found["reason"]) for found in done.result["problems"]] == [("k", "duplicate_key")]
    assert run(*words, "prefix").code == 0
    assert [(row["key"], row["from"]) for row in read_rows(tmp_path / "out")] == [
        ("a1", "a"), ("a/k", "a"), ("b/k", "b"), ("b2", "b"),
    ]  # fmt: skip
    assert run("verify", tmp_path / "out", "--deep").code == 0
    words[2] = tmp_path / "first"
    done = run(*words, "source", "--on-bad", "quarantine")
    assert (done.code, done.result["kept"], done.result["rejects"]) == (0, 3, {"duplicate_key": 1})
    assert [(row["key"], row["from"]) for row in read_rows(tmp_path / "first")] == [
        ("a1", "a"),
        ("k", "a"),
        ("b2", "b"),
    ]


@pytest.mark.input(21, "gaps in shard numbers, a thousand short shards")
def test_input_21_many_short_shards(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(1_000):
        (tmp_path / "data" / f"{number * 3:05d}.tar").write_bytes(tar_bytes([(f"{number}.txt", b"x")]))
    done = run("reshard", tmp_path / "data", tmp_path / "out", "--samples-per-shard", 600)
    assert (done.code, done.result["indexed"], done.result["exported"], done.result["shards"]) == (0, 1_000, 1_000, 2)
    sources = [row["source_key"] for row in read_rows(tmp_path / "out")]
    assert sources == [str(number) for number in range(1_000)]


@pytest.mark.input(31, "flags of any sort")
@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (pa.array([True, False, None, True]), 2),
        (pa.array([1, 0, None, 1]), 2),
        (pa.array([1.0, 0.0, float("nan"), None]), 1),
        (pa.array(["yes", "no", None, "yes"]), "column 'keep' is string"),
    ],
    ids=["boolean", "integer", "float", "text"],
)
def test_input_31_keep_flags(run: Run, tmp_path: Path, flags: pa.Array, kept: int | str) -> None:
    members = [member for key in "abcd" for member in sample_members(key)]
    write_shard(tmp_path / "data", "s", members, pa.table({"key": list("abcd"), "keep": flags}))
    done = run("export", tmp_path / "data", tmp_path / "out", "--filter-column", "keep", "--dry-run")
    if isinstance(kept, str):
        assert (done.code, kept in done.result["error"]) == (2, True)
    else:
        assert (done.code, done.result["kept"], done.result["dropped"]) == (0, kept, 4 - kept)


@pytest.mark.input(32, "integer ids against keys with zeros in front")
def test_input_32_integer_ids(run: Run, tmp_path: Path) -> None:
    members = [member for key in ("000000010", "000000009", "0") for member in sample_members(key)]
    table = pa.table({"id": [9, 10, 0], "score": [0.9, 0.1, 0.5]})
    write_shard(tmp_path / "data", "s", members, table)
    done = run("export", tmp_path / "data", tmp_path / "out", "--where", "score > 0.2")
    assert done.code == 0
    assert [(row["source_key"], row["score"]) for row in read_rows(tmp_path / "out")] == [
        ("000000009", 0.9),
        ("0", 0.5),
    ]


@pytest.mark.input(34, "more shards than the digits hold, odd and single samples per shard")
def test_input_34_digits(run: Run, dataset: Path, tmp_path: Path) -> None:
    words = ["reshard", dataset, tmp_path / "out", "--samples-per-shard", 1, "--shard-digits"]
    done = run(*words, 1)
    assert (done.code, "Pass --shard-digits 2" in done.result["error"]) == (2, True)
    assert not (tmp_path / "out").exists()
    assert run(*words, 2).code == 0
    assert [row["key"] for row in read_rows(tmp_path / "out")] == [f"{number:02d}" for number in range(30)]
    assert run("reshard", dataset, tmp_path / "odd", "--samples-per-shard", 13).code == 0
    assert [row["key"] for row in read_rows(tmp_path / "odd")][12:14] == ["0000012", "0000100"]


@pytest.mark.input(40, "an output that is the input, lies inside it, or is not empty")
def test_input_40_output_folders(run: Run, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "theirs").touch()
    for output in (dataset, dataset / "inside", tmp_path / "full"):
        assert run("export", dataset, output, "--where", "true").code == 2
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["theirs"]


@pytest.mark.input(45, "column names with spaces, dots, commas, or like ours but for case")
def test_input_45_column_names(run: Run, tmp_path: Path) -> None:
    row = {"key": "a", "a b": 1, "c.d": 2, "e,f": 3, "Shard_Id": 4, "position": 5, "box": {"x": 1, "y": [2]}}
    write_shard(tmp_path / "data", "s", sample_members("a"), [row])
    where = "`c.d` = 2 AND `a b` = 1 AND Shard_Id = 4 AND box.x = 1"
    assert run("export", tmp_path / "data", tmp_path / "out", "--where", where).code == 0
    (written,) = read_rows(tmp_path / "out")
    assert {name: written[name] for name in row if name != "key"} == {name: row[name] for name in row if name != "key"}
    (stored,) = DeltaTable(f"{tmp_path}/out_tables/exports").to_pyarrow_table().to_pylist()
    assert (stored["meta_c_d"], stored["meta_Shard_Id"], stored["meta_position"]) == (2, 4, 5)
    assert run("verify", tmp_path / "out", "--deep").code == 0


def test_every_input_has_a_test() -> None:
    files = Path(__file__).parent.rglob("test_*.py")
    marked = {int(number) for file in files for number in re.findall(r"mark\.input\((\d+)", file.read_text("utf-8"))}
    assert marked | {shard.number for shard in inputs()} == set(range(1, 46))
