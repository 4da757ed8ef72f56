"""Keep what a list names: open it, mark the rows that it names, count the entries that name nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright.config import Selection, SourceSettings
from shardwright.errors import RequestError
from shardwright.files import describe
from shardwright.frames.joins import VALUE, count_entries, join_value, with_listed
from shardwright.locations import FileInfo
from shardwright.metadata import Metadata
from shardwright.reporting import log
from shardwright.store.keep_lists import KeepList, empty_list, open_keep_list, read_values
from shardwright.store.session import fit_to_rows, in_memory, run_errors, task_count
from shardwright.store.sidecars import LISTED, with_file_path
from shardwright.store.types import in_tasks
from shardwright.table_join import choose_join_column, require_comparable
from shardwright.tasks.sums import sum_file
from shardwright.tasks.uids import RANGE_UIDS, VALUES, read_uids


class Listing(NamedTuple):
    """A keep list, the column whose values it holds, and its size and checksum, which tell it from others."""

    keep_list: KeepList
    join_on: str
    identity: dict[str, int | str]
    state: FileInfo | None


class Listed(NamedTuple):
    """Metadata that knows which rows a list names, and how many entries the list has."""

    metadata: Metadata
    listing: Listing
    entry_count: int
    distinct_count: int

    def counts(self, kept: DataFrame, columns: Mapping[str, str]) -> dict[str, int]:
        """Count the entries, and those that name no sample that is kept.

        Args:
            kept: The samples that stay, with their rows.
            columns: The names of metadata columns in them.
        """
        join_on, metadata = self.listing.join_on, self.metadata
        kind = metadata.frame.schema[join_on].dataType
        name = "key" if join_on == metadata.id_col else columns[join_on]
        value = join_value(name, kind, self.listing.keep_list.kind)
        # Every kept sample's value is an entry: what is missing among them is unmatched.
        with run_errors("keep list"):
            (found,) = kept.agg(F.count_distinct(value)).collect()
        unmatched = self.distinct_count - found[0]
        if unmatched:
            log(f"keep list: {unmatched:,} of {self.distinct_count:,} entries name no sample that is kept")
        return {
            "keep_entries": self.entry_count,
            "distinct_keep_entries": self.distinct_count,
            "unmatched_keep_entries": unmatched,
        }


def open_listing(metadata: Metadata | None, selection: Selection, source: SourceSettings) -> Listing | None:
    """Look into the keep list that a selection names, before any job runs; None where it names none.

    Raises:
        RequestError: The list can't be used, or not with the column.
    """
    if selection.keep_list is None or metadata is None:
        return None
    join_on = choose_join_column(metadata, source)
    keep_list = open_keep_list(selection.keep_list, join_on)
    require_comparable(metadata, join_on, keep_list.path, keep_list.kind)
    state = describe(keep_list.path)
    return Listing(keep_list, join_on, sum_file(keep_list.path)._asdict(), state)


def mark_listed(spark: SparkSession, metadata: Metadata, listing: Listing, held: ExitStack) -> Listed:
    """Read a keep list, and add `LISTED` to the metadata.

    Args:
        held: Releases the list's distinct values, which several jobs need, when all have run.

    Raises:
        RequestError: The list has no value, or was written anew meanwhile.
    """
    keep_list, join_on = listing.keep_list, listing.join_on
    kind = metadata.frame.schema[join_on].dataType
    if keep_list.uids is None:
        listed = read_values(spark, keep_list, VALUE)
        entries = count_entries(listed.select(join_value(VALUE, keep_list.kind, kind).alias(VALUE)))
    else:
        # Executors read ranges of the file where it lies, and write uids as they are compared: nothing is
        # collected, and nothing is copied.
        ranges = -(-keep_list.uids.uid_count // RANGE_UIDS)
        numbers = spark.range(0, ranges, 1, task_count(spark, ranges))
        rows = in_tasks(numbers, partial(read_uids, file=keep_list.uids), VALUES)
        entries = count_entries(rows.withColumnRenamed("value", VALUE))
    fit_to_rows(spark, keep_list.entry_count)
    # Read once, and from then on Spark knows whether it is small enough to broadcast.
    held.enter_context(in_memory(entries))
    with run_errors("keep list"):
        (counted,) = entries.agg(F.coalesce(F.sum("entries"), F.lit(0)), F.count(VALUE)).collect()
    if not counted[0]:
        raise empty_list(keep_list.path)
    log(f"keep list: {counted[0]:,} entries, {counted[1]:,} distinct")
    if describe(keep_list.path) != listing.state:
        raise RequestError(keep_list.path, "the keep list changed while it was read", "Run the command again")
    marked = with_listed(with_file_path(metadata.frame), join_value(join_on, kind, keep_list.kind), entries, LISTED)
    return Listed(metadata._replace(frame=marked), listing, counted[0], counted[1])
