"""The list of faults that can be planted in an output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.mutations.planting import Output

Found = Mapping[str, str]  # file or table to what is found there, words in order
Faults = set[tuple[str, str]]


class Mutation(NamedTuple):
    """A fault: how it is planted, in which output, and what is to be found; ``deep`` is what --deep adds."""

    name: str
    plant: Callable[[Output], None]
    output: str
    plain: Found
    deep: Found


MUTATIONS: list[Mutation] = []


def found(
    plain: Found, deep: Found | None = None, output: str = "renumbered"
) -> Callable[[Callable[[Output], None]], Callable[[Output], None]]:
    """Enter a function in the list of faults."""

    def enter(plant: Callable[[Output], None]) -> Callable[[Output], None]:
        MUTATIONS.append(Mutation(plant.__name__.replace("_", " ").strip(), plant, output, plain, deep or {}))
        return plant

    return enter
