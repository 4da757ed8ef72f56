"""Paths: one spelling each, what Spark calls them, options that are never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardwright.errors import RequestError
from shardwright.locations import (
    beside,
    canonical,
    current_options,
    from_spark,
    is_inside,
    read_option,
    storage_options,
    stores_among,
    to_spark,
    with_current_options,
    without_secrets,
)


@pytest.mark.parametrize(
    ("given", "spelling"),
    [
        ("s3://b/data/", "s3://b/data"),
        ("s3a://b//data/./x".replace("/./", "/"), "s3://b/data/x"),
        ("s3n://b/data", "s3://b/data"),
        ("S3://b", "s3://b"),
        ("gs://b/data", "gs://b/data"),
        ("gcs://b/data", "gs://b/data"),
        ("abfss://c@acct.dfs.core.windows.net/data", "abfss://c@acct.dfs.core.windows.net/data"),
        ("wasbs://c@acct.blob.core.windows.net/data", "abfss://c@acct.dfs.core.windows.net/data"),
        ("https://host:8080/data/", "https://host:8080/data"),
        ("dbfs:/Volumes/main/default/v/data", "/Volumes/main/default/v/data"),
        ("dbfs:/data", "/dbfs/data"),
        ("file:///data/x", "/data/x"),
        ("file:/data/x", "/data/x"),
        ("/data/../x", "/x"),
    ],
)
def test_a_path_has_one_spelling(given: str, spelling: str) -> None:
    assert canonical(given) == spelling
    assert canonical(spelling) == spelling


def test_a_short_azure_path_takes_its_account_from_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    with storage_options({"account-name": "acct"}):
        assert canonical("az://c/data") == "abfss://c@acct.dfs.core.windows.net/data"
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "other")
    assert canonical("az://c/data") == "abfss://c@other.dfs.core.windows.net/data"
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    with pytest.raises(RequestError, match="which account"):
        canonical("az://c/data")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ftp://host/data", "no store is known as 'ftp://'"),
        ("s3:///data", "it names no bucket"),
        ("https://host/data?sig=abcdef", "a password or a query"),
        ("https://me:secret@host/data", "a password or a query"),
        ("s3n://key:secret@bucket/data", "a password or a query"),
        ("abfss://c@acct.dfs.core.windows.net/data?sig=abcdef", "a password or a query"),
        ("ftp://me:secret@host/data", "no store is known as 'ftp://'"),
    ],
)
def test_a_path_is_refused_that_leads_nowhere_or_holds_a_secret(given: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        canonical(given)
    assert "secret" not in str(refused.value)
    assert "abcdef" not in str(refused.value)


def test_spark_is_given_the_names_that_databricks_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert to_spark("/Volumes/main/v") == "/Volumes/main/v"
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    for path, name in {
        "/Volumes/main/v": "dbfs:/Volumes/main/v",
        "/dbfs/data": "dbfs:/data",
        "/tmp/data": "file:/tmp/data",
        "s3://b/data": "s3://b/data",
    }.items():
        assert to_spark(path) == name
        assert from_spark(name) == path


def test_places_lie_inside_others_and_beside_them(tmp_path: Path) -> None:
    assert is_inside("s3://b/data/x", "s3://b/data")
    assert is_inside("s3://b/data", "s3://b/data")
    assert not is_inside("s3://b/data2", "s3://b/data")
    assert not is_inside(str(tmp_path), "s3://b")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert is_inside(str(tmp_path / "link" / "x"), str(tmp_path / "real"))
    assert beside("s3://b/data", "_tables") == "s3://b/data_tables"
    with pytest.raises(RequestError, match="a bucket has no place"):
        beside("s3://b", "_tables")
    assert stores_among(["s3a://b/x", "/tmp", None, "az://c/x", "https://h/x"]) == {"s3", "abfss"}


def test_options_are_never_shown() -> None:
    with storage_options({"secret_access_key": "planted-secret", "region": "eu-west-1"}):
        assert "planted" not in repr(current_options())
        assert "planted" not in repr(with_current_options(lambda batches: batches))
        assert without_secrets("eu-west-1: planted-secret") == "eu-west-1: …"
    # An error may be shown when the options are gone.
    assert without_secrets("planted-secret") == "…"
    assert without_secrets("https://h/x?a=1&sig=abc%2F&b=2") == "https://h/x?a=1&sig=…&b=2"
    with pytest.raises(RequestError) as refused:
        read_option("planted-secret-without-a-name")
    assert "planted" not in str(refused.value)


def test_options_reach_a_task_and_end_with_it() -> None:
    with storage_options({"region": "eu-west-1"}):
        task = with_current_options(lambda batches: (current_options().get("region") for _ in batches))
    assert list(task(iter([1, 2]))) == ["eu-west-1"] * 2
    assert current_options().get("region") is None


def test_only_variables_of_clouds_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "elsewhere")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert current_options().get("region", "aws_region") == "eu-west-1"
    assert os.environ["REGION"] == "elsewhere"
