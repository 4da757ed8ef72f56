"""What is joined to the metadata before samples are chosen: another table's columns, a keep list, both or none."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession

from shardwright.config import Selection, SourceSettings
from shardwright.keep_list import Listed, Listing, mark_listed, open_listing
from shardwright.metadata import Metadata
from shardwright.table_join import TableJoin, join_table, require_joined


class Joins(NamedTuple):
    """What is joined; ``inputs`` tell its state, which is a part of the export's."""

    table: TableJoin | None
    listing: Listing | None

    @property
    def inputs(self) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        if self.table is not None:
            inputs["metadata"] = {"join_on": self.table.join_on, **self.table.table.identity}
        if self.listing is not None:
            inputs["keep_list"] = {"join_on": self.listing.join_on, **self.listing.identity}
        return inputs


class Joined(NamedTuple):
    """Metadata with everything that is joined to it."""

    metadata: Metadata | None
    unjoined: Mapping[str, int]
    listed: Listed | None

    def counts(self, kept: DataFrame, columns: Mapping[str, str]) -> dict[str, int]:
        """Count what found no partner, once it is known which samples stay."""
        return {**self.unjoined, **(self.listed.counts(kept, columns) if self.listed else {})}


def open_joins(
    spark: SparkSession, metadata: Metadata | None, selection: Selection, source: SourceSettings
) -> tuple[Metadata | None, Joins]:
    """Look into what is to be joined, and add the table's columns; no sample is read.

    Raises:
        RequestError: The table or the list can't be used, or not with the metadata.
    """
    if metadata is None:
        return None, Joins(None, None)
    metadata, table = join_table(spark, metadata, source)
    return metadata, Joins(table, open_listing(metadata, selection, source))


def run_joins(spark: SparkSession, metadata: Metadata | None, joins: Joins, held: ExitStack) -> Joined:
    """Look at how the rows meet, and mark those that the list names.

    Args:
        held: Releases what is kept in memory when the samples are chosen and stored.

    Raises:
        RequestError: Rows of the table meet none, several, or other samples; the list has no value.
    """
    unjoined = require_joined(joins.table) if joins.table else {}
    if metadata is None or joins.listing is None:
        return Joined(metadata, unjoined, None)
    listed = mark_listed(spark, metadata, joins.listing, held)
    return Joined(listed.metadata, unjoined, listed)
