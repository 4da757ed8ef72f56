"""The class that NeMo Curator had: an image-text dataset whose metadata is edited and exported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright import locations
from shardwright.config import (
    Check,
    ExportSettings,
    Keys,
    OnBad,
    Selection,
    SourceSettings,
    UnmatchedRows,
    UnmatchedSamples,
)
from shardwright.errors import RequestError, did_you_mean
from shardwright.export import export_dataset
from shardwright.files import absolute
from shardwright.frames.columns import column
from shardwright.frames.rules import nan_as_null
from shardwright.metadata import Metadata, load_metadata
from shardwright.save_metadata import save_metadata
from shardwright.store.dataset import list_dataset
from shardwright.store.session import session

Value = Column | bool | int | float | str | np.generic | None


class MetadataView:
    """A dataset's metadata, column by column: read one for an expression, assign one to add or replace it.

    In an expression, NaN counts as null, as it does in rules; `df` has the columns as they are.
    """

    def __init__(self, metadata: Metadata) -> None:
        self.source = metadata

    @property
    def df(self) -> DataFrame:
        """The metadata as a Spark DataFrame, one row a sidecar row, assigned columns included."""
        return self.source.frame.select(*map(column, self.source.names))

    @property
    def columns(self) -> list[str]:
        """The column names, in order."""
        return self.source.names

    def __contains__(self, name: object) -> bool:
        return name in self.source.names

    def __getitem__(self, name: str) -> Column:
        """Give a column for an expression.

        Raises:
            KeyError: There is none of this name.
        """
        if name not in self.source.names:
            raise KeyError(f"no column '{name}'. {did_you_mean(name, self.columns)}")
        return nan_as_null(name, self.source.frame.schema[name].dataType)

    def __setitem__(self, name: str, value: Value) -> None:
        """Add or replace a column by an expression of the others, or by one value for all rows."""
        where = f"metadata['{name}']"
        if name == self.source.id_col:
            raise RequestError(where, "it is the id column, by which rows find their samples", "Assign another column")
        twin = next((other for other in self.columns if other != name and other.lower() == name.lower()), None)
        if twin is not None:
            raise RequestError(where, f"a column is named '{twin}', which differs in case alone", "Use that name")
        _require_one_value(where, value)
        self.source = self.source.with_column(name, value if isinstance(value, Column) else F.lit(value))


def _require_one_value(where: str, value: object) -> None:
    """Refuse values row by row, which pandas would take and Spark would put into every row."""
    if isinstance(value, Sized) and not isinstance(value, str):
        found = f"a {type(value).__name__} holds many values, and rows are in no order to receive them"
        raise RequestError(where, found, "Assign one value for all rows, or an expression of other columns")


class ImageTextPairDataset:
    """A WebDataset of image-text pairs: tars of samples, a Parquet sidecar beside each.

    Source:
        NVIDIA NeMo Curator up to 0.9, whose calls run unchanged; what its files got wrong is right here.
    """

    def __init__(
        self, spark: SparkSession | None, source: SourceSettings, options: Mapping[str, str] | None = None
    ) -> None:
        self._spark = spark
        self._source = source
        self._options = options or {}
        self.path = source.dataset
        with self._session() as active:
            self.metadata = MetadataView(self._load(active))
        self.id_col = self.metadata.source.id_col

    @contextmanager
    def _session(self, *others: str | None) -> Iterator[SparkSession]:
        """Give a session that reaches the dataset and other places."""
        with (
            locations.storage_options(self._options),
            session(self._spark, (self._source.dataset, self._source.tables, *others)) as spark,
        ):
            yield spark

    def _absolute(self, path: str | os.PathLike[str]) -> str:
        with locations.storage_options(self._options):
            return absolute(path)

    def _load(self, spark: SparkSession) -> Metadata:
        dataset = list_dataset(self.path, recursive=self._source.recursive)
        return load_metadata(spark, dataset, self._source, "the class", placed=True)

    @classmethod
    def from_webdataset(
        cls,
        path: str | os.PathLike[str],
        id_col: str | None = None,
        *,
        tables: str | None = None,
        recursive: bool = False,
        unmatched_rows: UnmatchedRows = "fail",
        unmatched_samples: UnmatchedSamples = "fail",
        on_bad: OnBad = "fail",
        storage_options: Mapping[str, str] | None = None,
        spark: SparkSession | None = None,
    ) -> ImageTextPairDataset:
        """Open the dataset in a folder.

        Args:
            path: The folder of the shards.
            id_col: The sidecars' column that holds the key; by default ``key``, or ``id`` when only that is there.
            tables: Where the Delta tables lie; by default beside the data.
            on_bad: ``fail`` lists everything that is wrong, ``quarantine`` sets it aside and exports the rest.
            storage_options: How stores are reached, as ``--storage-option`` has it.
            spark: The session to use; by default the active one, or a new one on this machine.
        """
        options = storage_options or {}
        with locations.storage_options(options):
            root = absolute(path)
        source = SourceSettings(root, tables, id_col, recursive, unmatched_rows, unmatched_samples, on_bad)
        return cls(spark, source, options)

    def save_metadata(
        self, path: str | os.PathLike[str] | None = None, columns: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Write the metadata, assigned columns included, one file for each sidecar, same rows in the same order.

        Args:
            path: A folder to write to; by default the sidecars are replaced in place.
            columns: With ``path``: exactly these and the id column. In place: only these are added or
                updated, and all others stay.

        Returns:
            Counts, as ``shardwright save-metadata --json`` prints them.
        """
        target = None if path is None else self._absolute(path)
        with self._session(target) as spark:
            if target is None and columns is not None:
                self._require_unsaved_stand(spark, columns)
            result = save_metadata(spark, self._source, target, columns, self.metadata.source)
            if target is None:
                self._reload(spark, columns)
            return result

    def _require_unsaved_stand(self, spark: SparkSession, saved: Sequence[str]) -> None:
        """Refuse to replace what an assigned column that is not saved was computed from.

        It will be computed again from the files as they are then, and must have the values that it has now.
        """
        assigned = self.metadata.source.assigned
        metadata = self._load(spark)
        for number, (name, value) in enumerate(assigned):
            if name in saved:
                metadata = metadata.with_column(name, F.lit(None).cast(self.metadata.df.schema[name].dataType))
                continue
            later = {other for other, _ in assigned[number + 1 :] if other in saved} & set(metadata.names)
            used = sorted(other for other in later if re.search(rf"(?i)(?<!\w){re.escape(other)}(?!\w)", str(value)))
            if used:
                found = f"'{name}' was computed from '{used[0]}' before that was assigned anew"
                raise RequestError("columns", found, f"Save '{name}' too, or save to a path")
            try:
                metadata = metadata.with_column(name, value)
                metadata.frame.schema  # noqa: B018 - Spark Connect looks at the columns now
            except AnalysisException:
                found = f"'{name}' was assigned from columns of a DataFrame, which are gone once files are replaced"
                raise RequestError("columns", found, f"Save '{name}' too, or assign it from metadata[…]") from None

    def _reload(self, spark: SparkSession, saved: Sequence[str] | None) -> None:
        """Read the replaced sidecars; what was assigned and not saved is assigned again."""
        assigned = self.metadata.source.assigned
        metadata = self._load(spark)
        for name, value in assigned:
            if saved is not None and name not in saved:
                metadata = metadata.with_column(name, value)
        self.metadata.source = metadata

    def to_webdataset(
        self,
        path: str | os.PathLike[str],
        filter_column: str,
        samples_per_shard: int = 10_000,
        max_shards: int = 5,
        old_id_col: str | None = None,
        *,
        keys: Keys = "renumber",
        json_id: bool | None = None,
        source_key_col: str = "source_key",
        source_shard_col: str = "source_shard",
        check: Sequence[Check] = (),
        hash_col: str | None = None,
        allow_empty: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Write the samples whose flag is true as a new dataset.

        Args:
            path: An empty or new folder.
            filter_column: A boolean (or 0/1) column of the metadata; null and NaN drop.
            max_shards: Digits of the shard number, under the name it had.
            old_id_col: A column to add that holds the id that each sample had before.
            check: What to look at in the kept payloads first: ``images``, ``image-headers``, ``hashes``.

        Returns:
            Counts, as ``shardwright export --json`` prints them.
        """
        if isinstance(check, str):
            raise RequestError("check", f"it is the text {check!r}", f"Pass a list, [{check!r}]")
        settings = ExportSettings(
            self._source,
            self._absolute(path),
            Selection(filter_column=filter_column),
            samples_per_shard=samples_per_shard,
            shard_digits=max_shards,
            keys=keys,
            json_id=json_id,
            source_key_col=source_key_col,
            source_shard_col=source_shard_col,
            old_id_col=old_id_col,
            check=tuple(check),
            hash_col=hash_col,
            allow_empty=allow_empty,
            dry_run=dry_run,
        )
        with self._session(settings.output) as spark:
            return export_dataset(spark, settings, self.metadata.source)
