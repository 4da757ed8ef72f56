"""Spark Connect has no JVM at hand: what would need one stands in two modules."""

from __future__ import annotations

import ast
from pathlib import Path

import shardwright

PACKAGE = Path(shardwright.__file__).parent
# What a session, a frame or a column has only where the JVM runs beside it.
CLASSIC = {
    "SparkContext",
    "sparkContext",
    "rdd",
    "_sc",
    "_jsc",
    "_jvm",
    "_jdf",
    "_jc",
    "_jsparkSession",
    "_jsession",
    "_jconf",
    "_to_java_column",
}


def classic_words(source: str) -> set[str]:
    """Name the attributes, names and imports in a module that Spark Connect lacks."""
    words: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.alias):
            words.add(node.name)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            words |= {
                word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)
            }
    return words & CLASSIC


def test_three_modules_alone_use_what_spark_connect_lacks() -> None:
    found = {
        str(path.relative_to(PACKAGE)): words
        for path in PACKAGE.rglob("*.py")
        if (words := classic_words(path.read_text(encoding="utf-8")))
    }
    assert found == {
        "store/session.py": {"sparkContext", "_jvm", "_jdf"},
        # Where there is none of it, the plan that a server explains serves instead.
        "store/expressions.py": {"_jvm", "_jdf", "_jc", "_jsparkSession"},
        # It asks first whether there is a JVM.
        "store/hadoop.py": {"_jvm", "_jsparkSession"},
    }


def test_the_search_finds_what_it_is_for() -> None:
    assert classic_words("frame.rdd.map(f)\nfrom pyspark import SparkContext\ngetattr(x, '_jdf')") == {
        "rdd",
        "SparkContext",
        "_jdf",
    }
