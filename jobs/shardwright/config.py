"""Settings of the verbs, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from shardwright.errors import RequestError, did_you_mean
from shardwright.locations import require_writable

Keys = Literal["renumber", "source", "prefix"]
UnmatchedRows = Literal["fail", "ignore"]
UnmatchedSamples = Literal["fail", "reject"]
OnBad = Literal["fail", "quarantine"]
Check = Literal["images", "image-headers", "hashes"]

DEFAULT_ID_COL = "key"
FALLBACK_ID_COL = "id"
MOST_SHARD_DIGITS = 12


def _require_known(option: str, value: str, words: Any) -> None:
    """Refuse a word that the command line would not have let through."""
    if value not in get_args(words):
        raise RequestError(option, f"it is {value!r}", did_you_mean(str(value), get_args(words)))


@dataclass(frozen=True)
class Selection:
    """Which samples stay: rules, a flag column, a list, or an earlier filter's decisions; with none of them, all."""

    rules: Mapping[str, str] = field(default_factory=dict)
    filter_column: str | None = None
    decisions: str | None = None
    keep_list: str | None = None

    def __post_init__(self) -> None:
        given = [
            name
            for name, value in (
                ("--where/--rule", self.rules),
                ("--filter-column", self.filter_column),
                ("--decisions", self.decisions),
                ("--keep-list", self.keep_list),
            )
            if value
        ]
        if len(given) > 1:
            raise RequestError("export", f"{' and '.join(given)} contradict each other", "Pass one of them")

    @property
    def is_empty(self) -> bool:
        return not (self.rules or self.filter_column or self.decisions or self.keep_list)


@dataclass(frozen=True)
class SourceSettings:
    """How a dataset is read; ``metadata`` is a table of more columns, joined by the column ``join_on``."""

    dataset: str
    tables: str | None = None
    id_col: str | None = None
    recursive: bool = False
    unmatched_rows: UnmatchedRows = "fail"
    unmatched_samples: UnmatchedSamples = "fail"
    on_bad: OnBad = "fail"
    metadata: str | None = None
    join_on: str | None = None

    def __post_init__(self) -> None:
        _require_known("--unmatched-rows", self.unmatched_rows, UnmatchedRows)
        _require_known("--unmatched-samples", self.unmatched_samples, UnmatchedSamples)
        _require_known("--on-bad", self.on_bad, OnBad)

    def sets_aside(self, reason: str) -> bool:
        """Tell whether what is wrong for a reason goes to ``rejects`` while the rest goes on."""
        return self.on_bad == "quarantine" or (reason == "missing_row" and self.unmatched_samples == "reject")


@dataclass(frozen=True)
class ExportSettings:
    """One export; the fields are the options of the command line."""

    source: SourceSettings
    output: str
    selection: Selection
    samples_per_shard: int = 10_000
    shard_digits: int = 5
    keys: Keys = "renumber"
    json_id: bool | None = None
    source_key_col: str = "source_key"
    source_shard_col: str = "source_shard"
    old_id_col: str | None = None
    check: tuple[Check, ...] = ()
    hash_col: str | None = None
    allow_empty: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        require_writable(self.output)
        _require_known("--keys", self.keys, Keys)
        for check in self.check:
            _require_known("--check", check, Check)
        if {"images", "image-headers"} <= set(self.check):
            raise RequestError("--check", "images and image-headers are both given", "Pass one: images does more")
        if not 1 <= self.samples_per_shard <= 10**12:
            found = f"it is {self.samples_per_shard:,}"
            raise RequestError("--samples-per-shard", found, "Pass 1 to 1,000,000,000,000")
        if not 1 <= self.shard_digits <= MOST_SHARD_DIGITS:
            raise RequestError("--shard-digits", f"it is {self.shard_digits}", f"Pass 1 to {MOST_SHARD_DIGITS}")
        if self.keys == "source" and self.json_id:
            raise RequestError("export", "--json-id and --keys source contradict each other", "Drop one of them")
        if self.hash_col and "hashes" not in self.check:
            raise RequestError("--hash-col", "no hashes are checked", "Add --check hashes")

    @property
    def rewrites_json(self) -> bool:
        """Whether JSON members get the new key: on where keys change, unless refused."""
        return self.keys != "source" if self.json_id is None else self.json_id

    def identity(self) -> dict[str, Any]:
        """Give the settings that the output depends on; two exports with the same ones are the same."""
        settings = asdict(self)
        settings.update(settings.pop("source"))
        settings.update(settings.pop("selection"))
        settings["json_id"] = self.rewrites_json
        settings["check"] = sorted(self.check)
        # In order: the first rule unmet is the drop reason.
        settings["rules"] = [list(rule) for rule in self.selection.rules.items()]
        for name in ("output", "tables", "allow_empty", "dry_run"):
            settings.pop(name)
        return settings
