"""``shardwright.functions``, from the jar and from Spark's own functions, against plain Python."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from html.entities import html5
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shardwright import ImageTextPairDataset, functions
from shardwright.errors import RequestError
from shardwright.store.jvm import udfs_jar
from tests.builders import read_rows, tree_bytes
from tests.conftest import Outcome
from tests.udfs import oracle

pytestmark = pytest.mark.spark

needs_jar = pytest.mark.skipif(udfs_jar() is None, reason="the jar of Scala functions is not built: make udfs")
_SPECIAL = [0.0, -0.0, 1e-30, 3e38, float("nan"), float("inf"), float("-inf"), None]


@pytest.fixture(
    params=["built in", pytest.param("jar", marks=needs_jar), pytest.param("compiled jar", marks=needs_jar)]
)
def source(request: pytest.FixtureRequest, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the functions come from; the session interprets its plans, and compiles them for one of the three."""
    if request.param == "built in":
        monkeypatch.setattr(functions, "_is_registered", lambda _: False)
    compiled = request.param == "compiled jar"
    spark.conf.set("spark.sql.codegen.wholeStage", str(compiled).lower())
    spark.conf.set("spark.sql.codegen.factoryMode", "CODEGEN_ONLY" if compiled else "NO_CODEGEN")
    yield request.param
    spark.conf.set("spark.sql.codegen.wholeStage", "false")
    spark.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")


def _values(frame: DataFrame, value: Column) -> list[Any]:
    return [row[0] for row in frame.select(value.alias("value")).collect()]


def _close(values: list[float | None]) -> list[Any]:
    return [None if value is None else pytest.approx(value, rel=1e-9, abs=1e-9) for value in values]


def _embedding_pairs() -> list[tuple[oracle.Embedding, oracle.Embedding]]:
    """Give 400 random pairs of floats, then pairs of what has no value or an odd one."""
    draw = random.Random(11)

    def embedding(length: int) -> list[float | None]:
        values: list[float | None] = [float(np.float32(draw.gauss(0, 1))) for _ in range(length)]
        if length and draw.random() < 0.2:
            special = draw.choice(_SPECIAL)
            values[draw.randrange(length)] = None if special is None else float(np.float32(special))
        return values

    pairs: list[tuple[oracle.Embedding, oracle.Embedding]] = []
    for _ in range(400):
        length = draw.choice([0, 1, 2, 3, 4, 5, 7, 8, 65])
        pairs.append((embedding(length), embedding(length if draw.random() < 0.9 else draw.randrange(9))))
    zero: oracle.Embedding = [0.0, 0.0]
    return [*pairs, (zero, [1.0, 2.0]), (zero, zero), ([], []), (None, [1.0]), ([1.0], None), (None, None)]


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("types", [("float", "float"), ("double", "double"), ("float", "double")])
def test_embeddings_agree_with_python(spark: SparkSession, types: tuple[str, str]) -> None:
    pairs = _embedding_pairs()
    frame = spark.createDataFrame(pairs, f"a array<{types[0]}>, b array<{types[1]}>").coalesce(1)
    assert _values(frame, functions.dot_product("a", "b")) == _close([oracle.dot_product(*pair) for pair in pairs])
    assert _values(frame, functions.l2_norm("a")) == _close([oracle.l2_norm(a) for a, _ in pairs])
    cosines = _values(frame, functions.cosine_similarity(F.col("a"), F.col("b")))
    assert cosines == _close([oracle.cosine_similarity(*pair) for pair in pairs])
    assert all(-1 <= cosine <= 1 for cosine in cosines if cosine is not None)


@pytest.mark.usefixtures("source")
def test_embeddings_that_were_read_from_parquet_agree(spark: SparkSession, tmp_path: Path) -> None:
    pairs = _embedding_pairs()
    spark.createDataFrame(pairs, "a array<float>, b array<float>").coalesce(1).write.parquet(str(tmp_path / "pairs"))
    frame = spark.read.parquet(str(tmp_path / "pairs"))
    found = _values(frame, functions.dot_product("a", "b"))
    assert found == _close([oracle.dot_product(*pair) for pair in pairs])
    assert frame.where(functions.dot_product("a", "a") >= 0).count() == sum(
        oracle.dot_product(a, a) is not None for a, _ in pairs
    )


@pytest.mark.usefixtures("source")
def test_one_embedding_is_compared_with_all(spark: SparkSession) -> None:
    frame = spark.createDataFrame([([3.0, 4.0],), ([0.0, 1.0],), ([1.0],)], "a array<float>").coalesce(1)
    for query in ([3, 4], (3.0, 4.0), np.array([3, 4], np.float32), np.array([3, 4], ">f8")):
        assert _values(frame, functions.dot_product("a", query)) == [25.0, 4.0, None]
        assert _values(frame, functions.cosine_similarity(query, "a")) == _close([1.0, 0.8, None])
    wrong_ones: list[tuple[Any, str]] = [
        (np.array([[3.0, 4.0]]), "an embedding has 2 dimensions"),
        (np.array(3.0), "an embedding has 0 dimensions"),
        ([[3.0], [4.0, 5.0]], "an embedding is none"),
        (["a"], "an embedding is none"),
    ]
    for wrong, message in wrong_ones:
        with pytest.raises(RequestError, match=message):
            functions.dot_product("a", wrong)


@pytest.mark.usefixtures("source")
def test_bigint_hashes_agree_with_python(spark: SparkSession) -> None:
    draw = random.Random(12)
    ends = [0, 1, -1, 2**63 - 1, -(2**63), None]
    pairs = [(draw.randrange(-(2**63), 2**63), draw.randrange(-(2**63), 2**63)) for _ in range(300)]
    rows = [*pairs, *((a, b) for a in ends for b in ends)]
    frame = spark.createDataFrame(rows, "a bigint, b bigint").coalesce(1)
    assert _values(frame, functions.hamming_distance("a", "b")) == [oracle.hamming_of_longs(*row) for row in rows]
    small = spark.sql("SELECT CAST(5 AS tinyint) AS a, CAST(-3 AS int) AS b")
    assert _values(small, functions.hamming_distance("a", "b")) == [oracle.hamming_of_longs(5, -3)]


@pytest.mark.usefixtures("source")
def test_unsigned_hashes_agree_once_they_are_cast_as_the_readme_says(spark: SparkSession) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    cast = readme[readme.index("CAST(IF(h <") :].partition("`")[0]
    ends = [0, 1, 2**63 - 1, 2**63, 2**64 - 1, None]
    pairs = [(a, b) for a in ends for b in ends]
    rows = [tuple(None if value is None else Decimal(value) for value in pair) for pair in pairs]
    frame = spark.createDataFrame(rows, "h decimal(20,0), g decimal(20,0)").coalesce(1)
    value = functions.hamming_distance(F.expr(cast), F.expr(cast.replace("h ", "g ").replace("h,", "g,")))
    assert _values(frame, value) == [oracle.hamming_of_longs(*pair) for pair in pairs]


@pytest.mark.usefixtures("source")
def test_hexadecimal_hashes_agree_with_python(spark: SparkSession) -> None:
    draw = random.Random(13)

    def text(length: int) -> str:
        return "".join(draw.choices("0123456789abcdefABCDEF", k=length))

    lengths = [1, 2, 7, 14, 15, 16, 17, 30, 31, 64, 256]
    pairs: list[tuple[str | None, str | None]] = [(text(n), text(n)) for n in lengths for _ in range(20)]
    odd = ["", "0", "00", "0g", "0x", " 0", "0\n", "-1", "é", "é0", "\x110", "\uff10\uff11", "ff\x00", None]
    pairs += [(a, b) for a in odd for b in odd]
    frame = spark.createDataFrame(pairs, "a string, b string").coalesce(1)
    assert _values(frame, functions.hamming_distance("a", "b")) == [oracle.hamming_of_hex(*pair) for pair in pairs]


def _captions() -> list[str | None]:
    draw = random.Random(14)
    alphabet = [*map(chr, oracle.WHITE_SPACE), *oracle.INVISIBLE, *"aB9é\U0001f600&;#x", "&amp;", "&nbsp;", "&#8203;"]
    alphabet += ["&#x41;", "&#150;", "&#0;", "&copy", "&lt;"]
    return [*("".join(draw.choices(alphabet, k=draw.randrange(30))) for _ in range(500)), "", None]


def test_captions_agree_with_python(spark: SparkSession, source: str) -> None:
    captions = _captions()
    frame = spark.createDataFrame([(caption,) for caption in captions], "text string").coalesce(1)
    assert _values(frame, functions.caption_word_count("text")) == list(map(oracle.caption_word_count, captions))
    if source != "built in":
        assert _values(frame, functions.caption_clean("text")) == list(map(oracle.caption_clean, captions))


@needs_jar
def test_caption_clean_knows_every_entity_and_every_number(spark: SparkSession) -> None:
    texts = [f"a&{name}b" for name in html5]
    texts += [f"a&#{code};b" for code in [*range(0x3100), 0xD7FF, 0xD800, 0xDFFF, 0xFEFF, 0xFFFE, 0x10FFFF, 0x110000]]
    texts += ["&#xFFFFFFFFFF;", "&#000000000065;", "&#xg;", "&#;", "&#x;", "&amp;amp;", "&" * 50]
    frame = spark.createDataFrame([(text,) for text in texts], "text string").coalesce(1)
    found = _values(frame, functions.caption_clean("text"))
    assert found == [oracle.caption_clean(text) for text in texts]


@needs_jar
def test_the_names_serve_sql_too(spark: SparkSession) -> None:
    row = spark.sql(
        "SELECT dot_product(array(1.5, 2), array(2, 4)), hamming_distance('0f', 'FF'), l2_norm(array(3, 4))"
    )
    assert row.collect() == [(11.0, 4, 5.0)]


@needs_jar
def test_a_session_without_the_extension_can_register_a_class(spark: SparkSession) -> None:
    spark.udf.registerJavaFunction("class_dot", "shardwright.udfs.DotProduct", "double")
    assert spark.sql("SELECT class_dot(array(1.5D, 2D), array(2D, 4D))").collect() == [(11.0,)]
    spark.sql("DROP TEMPORARY FUNCTION class_dot")


def test_hashes_of_two_kinds_are_refused(spark: SparkSession, source: str) -> None:
    frame = spark.createDataFrame([(1, "f")], "a bigint, b string")
    refusals = (AnalysisException,) if source != "built in" else (PySparkException, Exception)
    with pytest.raises(refusals, match="two bigints"):
        frame.select(functions.hamming_distance("a", "b")).collect()


def test_caption_clean_without_the_jar_says_which_to_add(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "_is_registered", lambda _: False)
    assert spark is not None
    with pytest.raises(RequestError, match=r"'caption_clean'.*shardwright-udfs_2\.1[23]-.*make udfs.*--jars"):
        functions.caption_clean("text")


def test_a_rule_that_needs_the_jar_says_which_to_add(
    run: Callable[..., Outcome], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name that no jar brings stands for those of a jar that is not there.
    monkeypatch.setattr(functions, "NAMES", (*functions.NAMES, "not_there"))
    done = run("export", dataset, tmp_path / "out", "--where", "Not_There(aesthetic_score) > 0.5")
    assert done.code == 2
    assert "rule 'where': no function 'not_there' in the session" in done.stderr
    assert "shardwright-udfs_2.1" in done.stderr


@needs_jar
def test_rules_use_the_functions(run: Callable[..., Outcome], dataset: Path, tmp_path: Path) -> None:
    done = run("export", dataset, tmp_path / "out", "--where", "l2_norm(array(aesthetic_score, nsfw_score)) > 0.5")
    plain = run(
        "export",
        dataset,
        tmp_path / "plain",
        "--where",
        "sqrt(aesthetic_score * aesthetic_score + nsfw_score * nsfw_score) > 0.5",
    )
    assert done.code == plain.code == 0
    assert done.result["exported"] == plain.result["exported"] > 0


@needs_jar
def test_a_column_that_is_computed_exports_the_same_with_and_without_the_jar(
    dataset: Path, tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spark is not None
    for output in ("jar", "built in"):
        if output == "built in":
            monkeypatch.setattr(functions, "_is_registered", lambda _: False)
        source = ImageTextPairDataset.from_webdataset(path=str(dataset), id_col="key")
        source.metadata["norm"] = functions.l2_norm("embedding")
        source.metadata["keep"] = functions.dot_product("embedding", "embedding") > 0.3
        source.to_webdataset(path=str(tmp_path / output), filter_column="keep", samples_per_shard=7, max_shards=5)
    with_jar, without = (tree_bytes(tmp_path / output, ["*.tar"]) for output in ("jar", "built in"))
    assert with_jar == without
    assert read_rows(tmp_path / "jar") == read_rows(tmp_path / "built in")
    assert len(read_rows(tmp_path / "jar")) > 5
