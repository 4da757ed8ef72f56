"""verify --deep finds every planted fault; a table says how, and which ones verify finds without --deep."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from shardwright.config import ExportSettings, Keys, Selection, SourceSettings
from shardwright.errors import DataError, RequestError
from shardwright.export import export_dataset
from shardwright.tasks.check import CheckJob, ListedShard, check_shards
from shardwright.tasks.check_rows import check_rows
from shardwright.tasks.packed import Packed
from shardwright.verify import verify_output
from tests.builders import sample_members, write_shard
from tests.mutations.catalog import MUTATIONS, Faults, Found, Mutation
from tests.mutations.planting import Output

pytestmark = [pytest.mark.spark, pytest.mark.proof]
for part in ("tars", "sidecars", "files", "indexes", "members", "manifests", "tables"):
    import_module(f"tests.mutations.{part}")  # each enters its faults in the catalog


@pytest.fixture(scope="module")
def outputs(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Output]:
    """Two outputs of one dataset in three shards of four: new keys, and the source's."""
    folder = tmp_path_factory.mktemp("mutations")
    nan = float("nan")
    for shard in range(2):
        keys = [f"{shard * 6 + position:09d}" for position in range(6)]
        rows = pa.table(
            {
                "key": keys,
                "caption": [f"caption of {key}" for key in keys],
                "score": [0.5, nan, None, 0.0, -0.0, nan],
                "camera model": pa.array(["a", "b", None, "a", "a", "b"]).dictionary_encode(),
                "vector": pa.array([[float(row), nan] for row in range(6)], pa.list_(pa.float32(), 2)),
                "small": pa.array([0, 255, None, 1, 2, 3], pa.uint8()),
                "at": pa.array([0, 1, None, 3, 4, 5], pa.timestamp("ms")),
                "box": [{"x": nan, "y": "1"}, None, {"x": None, "y": "2"}, {"x": 1.0, "y": None}, None, None],
            }
        )
        members = [member for key in keys for member in sample_members(key)]
        write_shard(folder / "data", f"{shard:05d}", members, rows.take([3, 1, 5, 0, 2, 4]))
    built = {}
    policies: dict[str, Keys] = {"renumbered": "renumber", "kept": "source"}
    for name, policy in policies.items():
        source = SourceSettings(f"{folder}/data")
        settings = ExportSettings(source, f"{folder}/{name}", Selection(), samples_per_shard=4, keys=policy)
        export_dataset(spark, settings)
        built[name] = Output(folder / name, folder / f"{name}_tables")
    return built


@pytest.fixture(scope="module")
def table(pytestconfig: pytest.Config) -> Iterator[dict[str, tuple[Faults, Faults]]]:
    """What verify found of each fault, with and without --deep; printed when all have been planted."""
    found_of: dict[str, tuple[Faults, Faults]] = {}
    yield found_of
    width = max(map(len, found_of), default=0)
    lines = [f"{'mutation':{width}} | without --deep too? | found as"]
    for name, (deep, plain) in found_of.items():
        words = ", ".join(f"{file} {reason}" for file, reason in sorted(deep)) or "—"
        lines.append(f"{name:{width}} | {('yes' if plain else 'no') if deep else '—':19} | {words}")
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")
    assert reporter is not None
    assert capture is not None
    with capture.global_and_fixture_disabled():
        reporter.write_line("\n" + "\n".join(lines))


def verify(spark: SparkSession, output: Output, *, deep: bool) -> tuple[Faults, str]:
    """Give what verify finds, files and tables by their names, and what it says."""
    tables = {f"delta.`{output.tables / name}`": name for name in ("exports", "manifest", "snapshots")}
    try:
        verify_output(spark, str(output.root), str(output.tables), deep=deep)
    except RequestError as error:
        return {("manifest.json", "refused")}, str(error)
    except DataError as error:
        found_here = {(tables.get(problem.shard, problem.shard), str(problem.reason)) for problem in error.problems}
        return found_here, str(error)
    return set(), ""


def named(expected: Found) -> Faults:
    return {(file, reason) for file, reasons in expected.items() for reason in reasons.split()}


def without_sizes(faults: Faults) -> Faults:
    """A sidecar that was written anew may or may not have its old size: that is for the Parquet library to say."""
    changed = ("wrong_size", "wrong_checksum")
    return {(file, "changed" if reason in changed and file.endswith(".parquet") else reason) for file, reason in faults}


def stamps(output: Output) -> dict[Path, tuple[int, int]]:
    paths = [path for folder in (output.root, output.tables) for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_verify_finds(
    spark: SparkSession,
    outputs: Mapping[str, Output],
    table: dict[str, tuple[Faults, Faults]],
    tmp_path: Path,
    mutation: Mutation,
) -> None:
    output = outputs[mutation.output].copy_to(tmp_path)
    mutation.plant(output)
    before = stamps(output)
    # Side by side: what takes time is Spark's planning.
    with ThreadPoolExecutor(2) as pool:
        (plain, plain_text), (deep, text) = pool.map(lambda deep: verify(spark, output, deep=deep), (False, True))
    table[mutation.name] = (deep, plain)
    wanted = named(mutation.plain)
    assert without_sizes(plain) == without_sizes(wanted), plain_text
    assert without_sizes(deep) == without_sizes(wanted | named(mutation.deep)), text
    assert stamps(output) == before


@pytest.mark.parametrize("name", ["renumbered", "kept"])
@pytest.mark.parametrize("deep", [False, True], ids=["plain", "deep"])
def test_verify_finds_nothing_where_nothing_was_planted(
    spark: SparkSession, outputs: Mapping[str, Output], name: str, deep: bool
) -> None:
    output = outputs[name]
    assert verify(spark, output, deep=deep) == (set(), "")
    result = verify_output(spark, str(output.root), None, deep=deep)
    assert (result["tables"], result["exported"], result["problems"]) == (str(output.tables), 12, 0)


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
def test_any_flipped_bit_is_found_and_none_stops_the_check(
    outputs: Mapping[str, Output], tmp_path: Path, suffix: str
) -> None:
    output = outputs["renumbered"].copy_to(tmp_path)
    with output.manifest() as manifest:
        shard = ListedShard(shard_id=0, **manifest["shards"][0])
        columns = {**manifest["columns"], "key": "key", "source_key": "source_key", "source_shard": "source_shard"}
    job = CheckJob(
        output_root=str(output.root),
        shards=Packed(ListedShard, [shard]),
        columns=columns,
        id_col="key",
        source_key_col="source_key",
        shard_digits=5,
        keys="renumber",
        key_digits=1,
        json_id_field="key",
        deep=True,
    )
    order = [("shard_id", "ascending"), ("position", "ascending")]
    rows = DeltaTable(output.tables / "exports").to_pyarrow_table().sort_by(order).to_batches()
    places = [pa.record_batch([pa.array([0])], names=["id"])]

    def count_problems() -> int:
        return sum(len(batch) for batches in (check_shards(places, job), check_rows(rows, job)) for batch in batches)

    assert count_problems() == 0
    path = output.root / f"00000.{suffix}"
    sound = path.read_bytes()
    chance = random.Random(1)
    for _ in range(500):
        place, bit = chance.randrange(len(sound)), chance.randrange(8)
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1 << bit]) + sound[place + 1 :])
        assert count_problems(), (place, bit)
