"""What people write in rules, by kind: a name as SQL has it, and an expression that uses it.

Over the columns of `COLUMNS`; no expression raises on the rows of `write_rows`, whatever is null in them.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HEADER = "| kind | runs on the GPU | runs on the CPU, with a warning |"

EXPRESSIONS: Mapping[str, Mapping[str, str]] = {
    "comparing": {
        "=": "width = height",
        "<=>": "caption <=> url",
        "<": "score < 0.5",
        "AND": "flag AND score > 0.5",
        "OR": "flag OR score > 0.5",
        "NOT": "NOT flag",
        "IN": "source IN ('flickr', 'wikimedia')",
        "BETWEEN": "score BETWEEN 0.2 AND 0.8",
        "IS NULL": "caption IS NULL",
        "CASE": "CASE WHEN width > height THEN width ELSE height END",
        "if": "if(flag, width, height)",
        "coalesce": "coalesce(score, 0)",
        "nvl": "nvl(score, 0)",
        "nvl2": "nvl2(score, 1, 0)",
        "nullif": "nullif(width, height)",
        "isnull": "isnull(score)",
        "isnotnull": "isnotnull(score)",
        "isnan": "isnan(score)",
        "nanvl": "nanvl(score, 0)",
        "greatest": "greatest(width, height)",
        "least": "least(width, height)",
    },
    "numbers": {
        "+": "score + 1",
        "-": "score - 1",
        "*": "score * 2",
        "/": "width / height",
        "%": "n % 7",
        "div": "n div 7",
        "pmod": "pmod(n, 7)",
        "abs": "abs(score)",
        "ceil": "ceil(score)",
        "floor": "floor(score)",
        "round": "round(score, 2)",
        "bround": "bround(score, 2)",
        "sign": "sign(score)",
        "sqrt": "sqrt(score)",
        "cbrt": "cbrt(score)",
        "pow": "pow(score, 2)",
        "exp": "exp(score)",
        "ln": "ln(score)",
        "log2": "log2(score)",
        "log10": "log10(score)",
        "log1p": "log1p(score)",
        "sin": "sin(score)",
        "cos": "cos(score)",
        "tan": "tan(score)",
        "atan": "atan(score)",
        "atan2": "atan2(score, 2)",
        "tanh": "tanh(score)",
        "degrees": "degrees(score)",
        "radians": "radians(score)",
        "hypot": "hypot(width, height)",
        "width_bucket": "width_bucket(score, 0, 1, 10)",
        "try_divide": "try_divide(score, height - 480)",
        "try_add": "try_add(n, n)",
        "CAST": "CAST(n AS double)",
        "try_cast": "try_cast(caption AS int)",
    },
    "bits and hashes": {
        "&": "n & 255",
        "|": "n | 1",
        "^": "n ^ 1",
        "~": "~n",
        "shiftleft": "shiftleft(n, 2)",
        "shiftright": "shiftright(n, 2)",
        "bit_count": "bit_count(n)",
        "hash": "hash(id)",
        "xxhash64": "xxhash64(id)",
        "md5": "md5(id)",
        "sha1": "sha1(id)",
        "sha2": "sha2(id, 256)",
        "crc32": "crc32(id)",
        "hex": "hex(n)",
        "unhex": "unhex(phash)",
        "conv": "conv(phash, 16, 10)",
        "base64": "base64(CAST(id AS binary))",
        "unbase64": "unbase64(phash)",
    },
    "text": {
        "length": "length(caption)",
        "octet_length": "octet_length(caption)",
        "bit_length": "bit_length(caption)",
        "lower": "lower(caption)",
        "upper": "upper(caption)",
        "initcap": "initcap(caption)",
        "trim": "trim(caption)",
        "ltrim": "ltrim(caption)",
        "rtrim": "rtrim(caption)",
        "substring": "substring(caption, 2, 5)",
        "left": "left(caption, 5)",
        "right": "right(caption, 5)",
        "concat": "concat(caption, ' ', url)",
        "concat_ws": "concat_ws(' ', caption, url)",
        "||": "caption || url",
        "contains": "contains(caption, 'dog')",
        "startswith": "startswith(url, 'https')",
        "endswith": "endswith(url, '.jpg')",
        "LIKE": "caption LIKE '%dog%'",
        "ILIKE": "caption ILIKE '%DOG%'",
        "LIKE ANY": "caption LIKE ANY ('%dog%', '%cat%')",
        "RLIKE": "caption RLIKE 'dog|cat'",
        "regexp_like": "regexp_like(caption, '^a .*g$')",
        "regexp_extract": "regexp_extract(url, '^https?://([^/]+)/', 1)",
        "regexp_extract_all": "regexp_extract_all(caption, '([a-z]+)', 1)",
        "regexp_replace": "regexp_replace(caption, '[0-9]+', '#')",
        "regexp_count": "regexp_count(caption, '[a-z]+')",
        "regexp_instr": "regexp_instr(caption, 'dog')",
        "instr": "instr(caption, 'dog')",
        "locate": "locate('dog', caption)",
        "replace": "replace(caption, 'dog', 'cat')",
        "translate": "translate(caption, 'abc', 'xyz')",
        "split": "split(caption, ' ')",
        "split_part": "split_part(caption, ' ', 1)",
        "substring_index": "substring_index(url, '/', 3)",
        "str_to_map": "str_to_map(url, '/', ':')",
        "lpad": "lpad(id, 12, '0')",
        "rpad": "rpad(id, 12, '0')",
        "repeat": "repeat(source, 2)",
        "reverse": "reverse(caption)",
        "ascii": "ascii(caption)",
        "chr": "chr(width)",
        "levenshtein": "levenshtein(caption, url)",
        "soundex": "soundex(caption)",
        "format_string": "format_string('%s', caption)",
        "format_number": "format_number(score, 2)",
        "parse_url": "parse_url(url, 'HOST')",
        "url_decode": "url_decode(url)",
        "find_in_set": "find_in_set(source, 'flickr,wikimedia')",
    },
    "JSON": {
        "get_json_object": "get_json_object(json, '$.model')",
        "from_json": "from_json(json, 'model string, iso int')",
        "to_json": "to_json(size)",
        "json_array_length": "json_array_length(json)",
        "json_object_keys": "json_object_keys(json)",
    },
    "dates and times": {
        "year": "year(taken)",
        "month": "month(taken)",
        "day": "day(taken)",
        "quarter": "quarter(taken)",
        "dayofweek": "dayofweek(taken)",
        "weekday": "weekday(taken)",
        "dayofyear": "dayofyear(taken)",
        "weekofyear": "weekofyear(taken)",
        "hour": "hour(taken)",
        "minute": "minute(taken)",
        "second": "second(taken)",
        "DATE": "date > DATE'2020-01-01'",
        "TIMESTAMP": "taken > TIMESTAMP'2020-01-01 00:00:00'",
        "date_add": "date_add(date, 7)",
        "date_sub": "date_sub(date, 7)",
        "datediff": "datediff(date, DATE'2020-01-01')",
        "add_months": "add_months(date, 1)",
        "months_between": "months_between(taken, TIMESTAMP'2020-01-01 00:00:00')",
        "last_day": "last_day(date)",
        "next_day": "next_day(date, 'MO')",
        "trunc": "trunc(date, 'MM')",
        "date_trunc": "date_trunc('MONTH', taken)",
        "make_date": "make_date(year(date), 1, 1)",
        "to_date": "to_date(day, 'yyyy-MM-dd')",
        "to_timestamp": "to_timestamp(day, 'yyyy-MM-dd')",
        "unix_timestamp": "unix_timestamp(taken)",
        "from_unixtime": "from_unixtime(n % 1000000)",
        "timestamp_seconds": "timestamp_seconds(n % 1000000)",
        "date_format": "date_format(taken, 'yyyy-MM')",
    },
    "arrays": {
        "[ ]": "array(score, 1.0D)[0]",
        "array": "array(width, height)",
        "size": "size(tags)",
        "array_size": "array_size(tags)",
        "get": "get(tags, 0)",
        "element_at": "element_at(array(width, height), 1)",
        "try_element_at": "try_element_at(tags, 1)",
        "array_contains": "array_contains(tags, 'dog')",
        "array_position": "array_position(tags, 'dog')",
        "array_max": "array_max(embedding)",
        "array_min": "array_min(embedding)",
        "array_join": "array_join(tags, ' ')",
        "array_remove": "array_remove(tags, 'dog')",
        "array_distinct": "array_distinct(tags)",
        "array_intersect": "array_intersect(tags, array('dog', 'cat'))",
        "array_union": "array_union(tags, array('dog'))",
        "array_except": "array_except(tags, array('dog'))",
        "array_repeat": "array_repeat(width, 2)",
        "arrays_overlap": "arrays_overlap(tags, array('dog', 'cat'))",
        "arrays_zip": "arrays_zip(tags, embedding)",
        "sort_array": "sort_array(tags)",
        "array_sort": "array_sort(tags)",
        "slice": "slice(embedding, 1, 2)",
        "sequence": "sequence(width - 2, width)",
        "flatten": "flatten(array(tags, tags))",
        "transform": "transform(embedding, x -> x * 2)",
        "filter": "filter(tags, x -> x LIKE 'd%')",
        "exists": "exists(tags, x -> x = 'dog')",
        "forall": "forall(tags, x -> length(x) > 2)",
        "aggregate": "aggregate(embedding, 0D, (total, x) -> total + CAST(x AS double) * CAST(x AS double))",
        "zip_with": "zip_with(embedding, embedding, (x, y) -> x * y)",
    },
    "maps and structs": {
        "map[ ]": "exif['model']",
        "map_keys": "map_keys(exif)",
        "map_values": "map_values(exif)",
        "map_entries": "map_entries(exif)",
        "map_contains_key": "map_contains_key(exif, 'model')",
        "map_filter": "map_filter(exif, (k, v) -> k = 'model')",
        "transform_values": "transform_values(exif, (k, v) -> length(v))",
        "struct.field": "size.width",
        "struct": "struct(width, height)",
        "named_struct": "named_struct('w', width)",
    },
    "functions of the jar": {
        "dot_product": "dot_product(embedding, embedding)",
        "l2_norm": "l2_norm(embedding)",
        "cosine_similarity": "cosine_similarity(embedding, embedding)",
        "hamming_distance": "hamming_distance(phash, 'ffffffffffffffff')",
        "caption_word_count": "caption_word_count(caption)",
        "caption_clean": "caption_clean(caption)",
    },
}


def table(runs: Callable[[str], bool]) -> Iterator[str]:
    """Give the lines of the README's table.

    Args:
        runs: Tells whether an expression runs on a GPU.
    """
    yield HEADER
    yield "|---|---|---|"
    for kind, expressions in EXPRESSIONS.items():
        names: dict[bool, list[str]] = {True: [], False: []}
        for name, expression in expressions.items():
            names[runs(expression)].append(f"`{name}`".replace("|", "\\|"))
        yield f"| {kind} | {', '.join(names[True])} | {', '.join(names[False])} |"


def write_rows(path: Path) -> None:
    """Write rows of the columns that the expressions use, with what scores and captions hold in the wild."""
    captions = ["a dog", "", None, "Ein Hündchen, 12 cm", "\u00a0cat\u200b &amp; dog\n", "日本語 \U0001f600"]
    scores = [0.0, -0.0, 0.25, 0.999, math.nan, None, math.inf, -1.5]
    rows: list[dict[str, Any]] = []
    for number in range(48):
        is_null = number % 11 == 10
        rows.append(
            {
                "id": f"{number:09d}",
                "source": ["flickr", "wikimedia", None][number % 3],
                "caption": captions[number % 6],
                "url": f"https://example.com/{number % 5}/{number}.jpg",
                "day": f"20{10 + number % 14}-0{1 + number % 9}-1{number % 10}",
                "width": 320 + number,
                "height": 480 - number,
                "n": (number * 0x9E3779B97F4A7C15) % 2**62 - 2**61,
                "score": scores[number % 8],
                "flag": None if is_null else number % 2 == 0,
                "phash": f"{number * 0x1234567 % 2**64:016x}",
                "taken": dt.datetime(
                    2010 + number % 14, 1 + number % 12, 1 + number % 28, number % 24, tzinfo=dt.timezone.utc
                ),
                "date": dt.date(2010 + number % 14, 1 + number % 12, 1 + number % 28),
                "tags": None if is_null else ["dog", "cat", "tree", None][: number % 5],
                "embedding": None if is_null else [number / 8, -0.5, 1.0, 0.0][: number % 5],
                "exif": None if is_null else [("model", f"X{number % 3}"), ("iso", "100")][: number % 3],
                "size": {"width": 320 + number, "height": None if is_null else 480},
                "json": f'{{"model": "X{number % 3}", "iso": {number}}}',
            }
        )
    pq.write_table(pa.Table.from_pylist(rows, COLUMNS), path)


COLUMNS = pa.schema(
    {
        "id": pa.string(),
        "source": pa.string(),
        "caption": pa.string(),
        "url": pa.string(),
        "day": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "n": pa.int64(),
        "score": pa.float64(),
        "flag": pa.bool_(),
        "phash": pa.string(),
        "taken": pa.timestamp("us", "UTC"),
        "date": pa.date32(),
        "tags": pa.list_(pa.string()),
        "embedding": pa.list_(pa.float32()),
        "exif": pa.map_(pa.string(), pa.string()),
        "size": pa.struct({"width": pa.int32(), "height": pa.int32()}),
        "json": pa.string(),
    }
)
