"""Plant faults in a finished output: change its files and tables, and the records that would give the change away."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from shardwright.format.sidecar import read_receipt, receipt_bytes
from shardwright.tasks.sums import sum_file
from tests.builders import read_tar, tar_bytes

Member = tuple[str, bytes]


class Output:
    """An output and its tables, to be changed."""

    def __init__(self, root: Path, tables: Path) -> None:
        self.root = root
        self.tables = tables
        self._copy_tables_to: Path | None = None

    def copy_to(self, folder: Path) -> Output:
        """Give a copy to be changed; tables are copied when they are first changed: Spark knows the others already."""
        shutil.copytree(self.root, folder / "out")
        copy = Output(folder / "out", self.tables)
        copy._copy_tables_to = folder / "out_tables"
        return copy

    def own_tables(self) -> Path:
        """Give the folder of tables that are this output's alone."""
        if self._copy_tables_to is not None:
            self.tables = Path(shutil.copytree(self.tables, self._copy_tables_to))
            self._copy_tables_to = None
        return self.tables

    def tar(self, shard: int = 0) -> Path:
        return self.root / f"{shard:05d}.tar"

    def sidecar(self, shard: int = 0) -> Path:
        return self.root / f"{shard:05d}.parquet"

    def change_sidecar(self, shard: int, change: Callable[[pa.Table], pa.Table]) -> None:
        """Rewrite a sidecar; it goes on saying which tar it was written with."""
        path = self.sidecar(shard)
        receipt = read_receipt(pq.read_metadata(path).metadata)
        assert receipt is not None
        changed = change(pq.read_table(path))
        with pq.ParquetWriter(path, changed.schema) as writer:
            writer.write_table(changed)
            writer.add_key_value_metadata(receipt_bytes(receipt))

    def change_tar(self, shard: int, change: Callable[[list[Member]], Sequence[Member]]) -> None:
        """Rewrite a tar, well-formed."""
        path = self.tar(shard)
        path.write_bytes(tar_bytes(change(read_tar(path))))

    def change_member(self, shard: int, place: int, change: Callable[[bytes], bytes]) -> None:
        """Rewrite a tar with one payload changed."""

        def changed(members: list[Member]) -> list[Member]:
            name, payload = members[place]
            assert change(payload) != payload
            return [*members[:place], (name, change(payload)), *members[place + 1 :]]

        self.change_tar(shard, changed)

    def members(self, shard: int = 0) -> list[tarfile.TarInfo]:
        with tarfile.open(self.tar(shard)) as tar:
            return tar.getmembers()

    @contextmanager
    def manifest(self) -> Iterator[dict[str, Any]]:
        """Give ``manifest.json`` to be changed."""
        path = self.root / "manifest.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        yield manifest
        path.write_text(json.dumps(manifest), encoding="utf-8")

    def adjust_manifest(self, *shards: int) -> None:
        """Let ``manifest.json`` say of shards what their files are."""
        with self.manifest() as manifest:
            for shard in shards:
                sums = (*sum_file(str(self.tar(shard))), *sum_file(str(self.sidecar(shard))))
                names = ("shard_bytes", "checksum", "sidecar_bytes", "sidecar_checksum")
                manifest["shards"][shard].update(zip(names, sums, strict=True))

    def adjust_all(self, *shards: int) -> None:
        """Let every record say of shards what their files are, so that only their content can tell."""
        for shard in shards:
            path = self.sidecar(shard)
            table = pq.read_table(path)
            receipt = read_receipt(pq.read_metadata(path).metadata)
            assert receipt is not None
            size, checksum = sum_file(str(self.tar(shard)))
            with pq.ParquetWriter(path, table.schema) as writer:
                writer.write_table(table)
                writer.add_key_value_metadata(receipt_bytes(receipt._replace(shard_bytes=size, checksum=checksum)))
        self.adjust_manifest(*shards)
        with self.manifest() as manifest:
            entries = manifest["shards"]
        for shard in shards:
            changes = {name: entries[shard][name] for name in ("checksum", "sidecar_checksum")}
            sizes = {name: str(entries[shard][name]) for name in ("shard_bytes", "sidecar_bytes")}
            self.update("manifest", f"shard_id = {shard}", {name: f"'{v}'" for name, v in changes.items()} | sizes)

    def update(self, table: str, where: str, values: dict[str, str]) -> None:
        """Change rows of a table; values are SQL."""
        done = DeltaTable(self.own_tables() / table).update(updates=values, predicate=where)
        assert done["num_updated_rows"]

    def delete(self, table: str, where: str) -> None:
        """Delete rows of a table."""
        assert DeltaTable(self.own_tables() / table).delete(where)["num_deleted_rows"]

    def change_table(self, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
        """Write a table anew."""
        stored = DeltaTable(self.own_tables() / table).to_pyarrow_table()
        write_deltalake(self.own_tables() / table, change(stored), mode="overwrite", schema_mode="overwrite")


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def cut(path: Path, size: int) -> None:
    """Shorten a file; a negative size counts from the end."""
    path.write_bytes(path.read_bytes()[:size])


def append(path: Path, data: bytes) -> None:
    """Lengthen a file."""
    path.write_bytes(path.read_bytes() + data)


def swap(first: Path, second: Path) -> None:
    """Let two files change names."""
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def set_value(table: pa.Table, column: str, row: int, value: Any) -> pa.Table:
    """Give a table with one value changed."""
    place = table.column_names.index(column)
    values = table[column].to_pylist()
    values[row] = value
    return table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type))


def end_of(output: Output) -> int:
    """Give the offset of the first end block."""
    last = output.members()[-1]
    return last.offset_data + -(-last.size // 512) * 512
