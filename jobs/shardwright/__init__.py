"""Export curated WebDataset shards with Spark: filter, reshard, renumber, record, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardwright.dataset import ImageTextPairDataset

__all__ = ["ImageTextPairDataset", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Python workers import this package too: they must not pay for pyspark.sql.
    if name == "ImageTextPairDataset":
        from shardwright.dataset import ImageTextPairDataset

        return ImageTextPairDataset
    raise AttributeError(name)
