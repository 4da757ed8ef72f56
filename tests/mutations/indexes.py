"""Indexes that loaders keep beside a tar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shardwright.format.loader_index import dali_lines, energon_offsets
from shardwright.format.scan import scan_tar
from shardwright.local_files import OpenFile
from tests.mutations.catalog import found
from tests.mutations.planting import Output, cut, end_of


def write_dali(output: Output, lines: Callable[[list[str]], list[str]] = list, version: str = "v1.2") -> None:
    with OpenFile(str(output.tar())) as file:
        right = dali_lines(scan_tar(file, "").samples, version)
    (output.root / "00000.idx").write_text("\n".join([*lines(right), ""]), encoding="utf-8")


def write_energon(output: Output, last: int = 0, *, middle: int = 0) -> None:
    with OpenFile(str(output.tar())) as file:
        offsets = energon_offsets(scan_tar(file, "").samples)
    offsets[2] += middle
    offsets[-1] += last
    (output.root / "00000.tar.idx").write_bytes(offsets.astype("<u8").tobytes())


@found({})
def no_fault_indexes_that_are_right(output: Output) -> None:
    write_dali(output)
    write_energon(output)
    starts = [member.offset for member in output.members()[::3]]
    assert np.fromfile(output.root / "00000.tar.idx", "<u8").tolist() == [*starts, end_of(output)]
    words = [(member.name.split(".")[1], member.offset_data, member.size, member.name) for member in output.members()]
    lines = [" ".join(" ".join(map(str, member)) for member in words[row : row + 3]) for row in (0, 3, 6, 9)]
    assert (output.root / "00000.idx").read_text(encoding="utf-8").splitlines() == ["v1.2 4", *lines]


@found({})
def no_fault_index_of_an_older_version(output: Output) -> None:
    write_dali(output, version="v1.1")


@found({}, {"00000.idx": "stale_index"})
def dali_index_with_other_offsets(output: Output) -> None:
    place = output.members()[4].offset_data
    write_dali(output, lambda lines: [line.replace(f" {place} ", f" {place + 512} ") for line in lines])


@found({}, {"00000.idx": "stale_index"})
def dali_index_with_a_sample_less(output: Output) -> None:
    write_dali(output, lambda lines: ["v1.2 3", *lines[1:-1]])


@found({}, {"00000.idx": "stale_index"})
def dali_index_of_another_version(output: Output) -> None:
    write_dali(output, lambda lines: [lines[0].replace("v1.2", "v0.9"), *lines[1:]])


@found({}, {"00000.idx": "stale_index"})
def dali_index_that_is_empty(output: Output) -> None:
    (output.root / "00000.idx").touch()


@found({}, {"00000.tar.idx": "stale_index"})
def energon_index_with_other_offsets(output: Output) -> None:
    write_energon(output, middle=512)


@found({}, {"00000.tar.idx": "stale_index"})
def energon_index_that_ends_with_the_file(output: Output) -> None:
    write_energon(output, output.tar().stat().st_size - end_of(output))


@found({}, {"00000.tar.idx": "stale_index"})
def energon_index_cut(output: Output) -> None:
    write_energon(output)
    cut(output.root / "00000.tar.idx", -4)
