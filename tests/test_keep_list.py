"""--keep-list: exactly the samples that a list names, whatever form the list has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardwright.format.uids import uid_texts
from tests.builders import AB, read_rows, sample_members, write_shard
from tests.conftest import Outcome

Run = Callable[..., Outcome]

# Leading zeros, both halves over 63 bits, all zeros, and one that no sample has.
UIDS = {
    "a": "00000000000000000000000000000abc",
    "b": "ffffffffffffffffffffffffffffffff",
    "c": "8000000000000000f000000000000001",
    "d": "00000000000000000000000000000000",
}
STRANGER = "0123456789abcdef0123456789abcdef"


def as_pairs(uids: Sequence[str]) -> np.ndarray[Any, Any]:
    """Give uids as DataComp's lists hold them."""
    return np.array([(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids], "u8,u8")


def write_uids(folder: Path, uids: pa.Array | None = None) -> Path:
    """Write four samples that have uids."""
    table = pa.table({"key": list("abcd"), "uid": pa.array(UIDS.values()) if uids is None else uids})
    write_shard(folder, "00000", [member for key in "abcd" for member in sample_members(key)], table)
    return folder


def kept_keys(folder: Path) -> list[str]:
    return [row["source_key"] for row in read_rows(folder)]


def test_uids_are_32_digits_with_leading_zeros() -> None:
    uids = [*UIDS.values(), STRANGER]
    assert uid_texts(as_pairs(uids).tobytes()).to_pylist() == uids
    assert uid_texts(b"").to_pylist() == []


@pytest.mark.spark
@pytest.mark.input(27, "uids over 63 bits, lists that are unsorted, repeat, or have no header")
def test_a_list_keeps_the_same_samples_in_any_form(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_uids(tmp_path / "data")
    listed = [UIDS["d"], STRANGER, UIDS["a"], UIDS["c"], UIDS["a"]]
    np.save(tmp_path / "header.npy", as_pairs(listed))
    as_pairs(listed).tofile(tmp_path / "memmap.npy")
    lines = [f" {uid.upper()} \r\n" for uid in listed]
    (tmp_path / "lines.txt").write_text("\n".join([*lines, "", ""]), encoding="utf-8-sig")
    pq.write_table(pa.table({"any": listed}), tmp_path / "only.parquet")
    dashed = [f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:]}" for uid in listed]
    pq.write_table(pa.table({"score": [1.0] * 6, "uid": [*dashed, None]}), tmp_path / "named.parquet")
    for name in ("header.npy", "memmap.npy", "lines.txt", "only.parquet", "named.parquet"):
        words = ["export", data, tmp_path / "out", "--keep-list", tmp_path / name]
        done = run(*words, "--dry-run")
        assert (done.code, done.result["kept"], done.result["drops"]) == (0, 3, {"keep_list": 1}), done.result
        assert caplog.messages[-2:] == [
            "keep list: 5 entries, 4 distinct",
            "keep list: 1 of 4 entries name no sample that is kept",
        ]
        counts = [done.result[f"{word}_entries"] for word in ("keep", "distinct_keep", "unmatched_keep")]
        assert counts == [5, 4, 1]
    assert run(*words).code == 0
    assert kept_keys(tmp_path / "out") == ["a", "c", "d"]
    again = run(*words)
    assert (again.result["unmatched_keep_entries"], "no shard was written" in caplog.text) == (1, True)
    # The same name, other uids.
    pq.write_table(pa.table({"uid": [UIDS["b"]]}), tmp_path / "named.parquet")
    other = run(*words)
    assert (other.code, "with other inputs: keep_list was {" in other.result["error"]) == (2, True)


@pytest.mark.spark
@pytest.mark.parametrize(
    "uids",
    [
        pa.array([bytes.fromhex(uid) for uid in UIDS.values()], pa.binary(16)),
        pa.array([f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:]}".upper() for uid in UIDS.values()]),
    ],
)
def test_uid_columns_of_bytes_dashes_and_capitals_meet_a_list(run: Run, tmp_path: Path, uids: pa.Array) -> None:
    data = write_uids(tmp_path / "data", uids)
    np.save(tmp_path / "list.npy", as_pairs([UIDS["a"], UIDS["b"]]))
    done = run("export", data, tmp_path / "out", "--keep-list", tmp_path / "list.npy", "--dry-run")
    assert (done.code, done.result["kept"], done.result["unmatched_keep_entries"]) == (0, 2, 0), done.result


@pytest.mark.spark
def test_ids_that_are_integers_meet_entries_with_leading_zeros(run: Run, tmp_path: Path) -> None:
    keys = ["000000000", "000000009", "000000010"]
    table = pa.table({"key": [0, 9, 10], "source": ["x", "x", "y"]})
    write_shard(tmp_path / "data", "s", [member for key in keys for member in sample_members(key)], table)
    (tmp_path / "ids.txt").write_text("9\n000000010\n00\n11\n")
    words = ["filter", tmp_path / "data", "--keep-list"]
    done = run(*words, tmp_path / "ids.txt")
    assert (done.code, done.result["kept"], done.result["unmatched_keep_entries"]) == (0, 3, 1), done.result
    # An entry may name several samples.
    (tmp_path / "sources.txt").write_text("x\nz")
    done = run(*words, tmp_path / "sources.txt", "--join-on", "source")
    assert (done.code, done.result["kept"], done.result["unmatched_keep_entries"]) == (0, 2, 1), done.result
    assert run("export", tmp_path / "data", tmp_path / "out", "--decisions", "latest").code == 0
    assert kept_keys(tmp_path / "out") == ["000000000", "000000009"]


@pytest.mark.spark
def test_an_entry_whose_download_failed_names_no_sample(run: Run, tmp_path: Path) -> None:
    rows = [{"key": key, "status": "success" if key < "c" else "failed_to_download"} for key in "abc"]
    for shard in ("00000", "00001"):  # keys that repeat between shards are paired within each
        write_shard(tmp_path / "data", shard, AB, rows)
    (tmp_path / "keys.txt").write_text("b\nc\n")
    done = run("export", tmp_path / "data", tmp_path / "out", "--keep-list", tmp_path / "keys.txt", "--dry-run")
    assert (done.code, done.result["kept"], done.result["unpaired_rows"]) == (0, 2, {"failed_download": 2})
    assert done.result["unmatched_keep_entries"] == 1


@pytest.mark.spark
def test_lists_that_cannot_be_used_exit_2(run: Run, tmp_path: Path) -> None:
    data = write_uids(tmp_path / "data")
    np.save(tmp_path / "empty.npy", as_pairs([]))
    (tmp_path / "nothing.npy").touch()
    np.save(tmp_path / "integers.npy", np.arange(4))
    np.save(tmp_path / "table.npy", as_pairs(list(UIDS.values())).reshape(2, 2))
    np.save(tmp_path / "objects.npy", np.array(["a", None]), allow_pickle=True)
    (tmp_path / "ragged.npy").write_bytes(bytes(40))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "table.npy").read_bytes()[:-1])
    (tmp_path / "blank.txt").write_text(" \n\n")
    (tmp_path / "utf16.txt").write_text("a", encoding="utf-16")
    (tmp_path / "list.csv").write_text("a")
    pq.write_table(pa.table({"x": [1], "y": [2]}), tmp_path / "columns.parquet")
    pq.write_table(pa.table({"uid": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    pq.write_table(pa.table({"uid": pa.array([None], pa.string())}), tmp_path / "null.parquet")
    pq.write_table(pa.table({"uid": [1.5]}), tmp_path / "floats.parquet")
    (tmp_path / "text.parquet").write_text("a")
    for name, message in {
        "empty.npy": "the keep list is empty",
        "nothing.npy": "the keep list is empty",
        "integers.npy": "its dtype is int64, a keep list's is u8,u8. Write np.array(",
        "table.npy": "its shape is (2, 2), a keep list has one dimension",
        "objects.npy": "the keep list can't be read",
        "ragged.npy": "its 40 bytes are no whole number of uids of 16 bytes",
        "cut.npy": "the keep list can't be read",
        "blank.txt": "the keep list is empty",
        "utf16.txt": "its text is UTF-16. Save it as UTF-8",
        "list.csv": "its name ends in '.csv', a keep list's in .npy, .txt or .parquet",
        "columns.parquet": "the keep list has no column 'uid' (it has 'x', 'y')",
        "rows.parquet": "the keep list is empty",
        "null.parquet": "the keep list is empty",
        "floats.parquet": "its values are double, the dataset's column 'uid' is string",
        "text.parquet": "the keep list can't be read",
        "missing.npy": "no such file",
    }.items():
        done = run("export", data, tmp_path / "out", "--keep-list", tmp_path / name)
        assert (done.code, f"{tmp_path / name}: " in done.result["error"]) == (2, True), (name, done.result)
        assert message in done.result["error"], (name, done.result)
        assert not (tmp_path / "out").exists()
    wrong: list[tuple[list[object], str]] = [
        (["--keep-list", "x.txt", "--where", "true"], "--where/--rule and --keep-list contradict each other"),
        (["--keep-list", tmp_path / "list.csv", "--join-on", "uids"], "no column 'uids' in the metadata. Did you mean"),
        (["--where", "true", "--join-on", "uid"], "--join-on: nothing is to be joined"),
    ]
    for words, message in wrong:
        done = run("export", data, tmp_path / "out", *words)
        assert (done.code, message in done.result["error"]) == (2, True), done.result


@pytest.mark.spark
def test_a_list_that_names_no_sample_exits_1(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "list.npy", as_pairs([STRANGER]))
    data = write_uids(tmp_path / "data")
    done = run("export", data, tmp_path / "out", "--keep-list", tmp_path / "list.npy")
    assert (done.code, "no sample would be kept of 4 (keep_list: 4)" in done.result["error"]) == (1, True)
    assert not (tmp_path / "out").exists()
