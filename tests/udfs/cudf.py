"""As much of cuDF as the twins use, in NumPy: lists are offsets into one child, and null rows may hold elements."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


class Column(NamedTuple):
    """Values and whether they are there; what a null's value is must not matter."""

    values: npt.NDArray[np.generic]
    valid: Bools

    def binary(self, operation: np.ufunc, other: Column) -> Column:
        with np.errstate(all="ignore"):
            return Column(operation(self.values, other.values), self.valid & other.valid)

    def unary(self, operation: np.ufunc) -> Column:
        with np.errstate(all="ignore"):
            return Column(operation(self.values), self.valid)

    def cast_to(self, dtype: type[np.generic]) -> Column:
        return Column(self.values.astype(dtype), self.valid)

    def nans_to_nulls(self) -> Column:
        return Column(self.values, self.valid & ~np.isnan(self.values))

    def gather(self, places: Column) -> Column:
        return Column(self.values[places.values], self.valid[places.values])


class Lists(NamedTuple):
    """Rows ``start`` to ``stop`` of a list column; its offsets and its child are those of the whole."""

    offsets: npt.NDArray[np.int32]
    child: Column
    row_valid: Bools
    start: int
    stop: int

    @property
    def valid(self) -> Bools:
        return self.row_valid[self.start : self.stop]

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        return np.diff(self.offsets[self.start : self.stop + 1])

    def count_elements(self) -> Column:
        return Column(self.lengths, self.valid)

    def merge_and_set_validity(self, other: Column | Lists) -> Lists:
        """Copy the rows, their elements with them, null where ``other`` is; a null row keeps its elements."""
        first, last = self.offsets[self.start], self.offsets[self.stop]
        child = Column(self.child.values[first:last], self.child.valid[first:last])
        return Lists(self.offsets[self.start : self.stop + 1] - first, child, other.valid, 0, self.stop - self.start)

    def has_non_empty_nulls(self) -> bool:
        return bool((self.lengths[~self.valid] > 0).any())

    def purge_non_empty_nulls(self) -> Lists:
        lengths = np.where(self.valid, self.lengths, 0)
        kept = np.repeat(self.valid, self.lengths)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return Lists(offsets, Column(self.child.values[kept], self.child.valid[kept]), self.valid, 0, len(lengths))

    def list_sum(self, elements: Column) -> Column:
        """Sum ``elements`` in place of the child's: null for null rows, empty ones, and where an element is null."""
        assert len(elements.values) == len(self.child.values), "the child is replaced by one as long"
        sums, valid = np.zeros(self.stop - self.start, elements.values.dtype), self.valid & (self.lengths > 0)
        for row in range(self.start, self.stop):
            part = slice(self.offsets[row], self.offsets[row + 1])
            sums[row - self.start] = np.sum(elements.values[part])
            valid[row - self.start] &= elements.valid[part].all()
        return Column(sums, valid)


def if_else(condition: Column, yes: Column, no: Column) -> Column:
    """Choose by row; a null condition is false."""
    chosen = condition.valid & condition.values.astype(bool)
    return Column(np.where(chosen, yes.values, no.values), np.where(chosen, yes.valid, no.valid))


def scalar(value: float | None, like: Column) -> Column:
    """Give a column of one value, null for None."""
    filled = np.full(len(like.values), 0 if value is None else value)
    return Column(filled, np.full(len(filled), value is not None))
