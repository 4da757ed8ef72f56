"""What Spark is told of stores: the options that obstore has, as settings of Hadoop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shardwright.credentials import aws_profile
from shardwright.locations import StorageOptions
from shardwright.store.hadoop import connector, hadoop_settings
from tests.conftest import Outcome


@pytest.fixture(autouse=True)
def _no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials but those that a test gives."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def settings(stores: str, **options: str) -> dict[str, str]:
    found = hadoop_settings([stores], StorageOptions(options))
    assert "key" in found.pop("spark.sql.redaction.options.regex")
    return found


def test_options_of_s3_become_those_of_s3a() -> None:
    assert settings("s3") == {}
    assert settings("s3", endpoint="http://h:9000", region="r", access_key_id="k", secret_access_key="s") == {
        "fs.s3a.endpoint": "http://h:9000",
        "fs.s3a.path.style.access": "true",
        "fs.s3a.connection.ssl.enabled": "false",
        "fs.s3a.endpoint.region": "r",
        "fs.s3a.access.key": "k",
        "fs.s3a.secret.key": "s",
        "fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    }
    temporary = settings("s3", access_key_id="k", secret_access_key="s", session_token="t")
    assert temporary["fs.s3a.aws.credentials.provider"].endswith(".TemporaryAWSCredentialsProvider")
    public = settings("s3", skip_signature="true")
    assert public["fs.s3a.aws.credentials.provider"].endswith(".AnonymousAWSCredentialsProvider")
    own = {"fs.s3a.connection.maximum": "7"}
    assert settings("s3", **own) == own


def test_options_of_azure_and_google_become_those_of_their_connectors() -> None:
    assert settings("abfss", account_key="k") == {"fs.azure.account.key": "k"}
    assert settings("abfss", sas_key="s") == {"fs.azure.sas.fixed.token": "s", "fs.azure.account.auth.type": "SAS"}
    assert settings("gs") == {"fs.gs.auth.type": "APPLICATION_DEFAULT"}
    assert settings("gs", service_account="/k.json")["fs.gs.auth.service.account.json.keyfile"] == "/k.json"


def test_a_profile_of_aws_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[work]\naws_access_key_id = k\naws_secret_access_key = s%\n")
    (tmp_path / ".aws" / "config").write_text("[profile work]\nregion = r\n")
    assert aws_profile(StorageOptions()) == ({}, None)
    monkeypatch.setenv("AWS_PROFILE", "work")
    expected = {"access_key_id": "k", "secret_access_key": "s%", "region": "r"}
    assert aws_profile(StorageOptions()) == (expected, None)
    assert settings("s3")["fs.s3a.endpoint.region"] == "r"
    # Whoever gives keys needs no profile.
    assert aws_profile(StorageOptions({"access_key_id": "other"})) == ({}, None)


def test_what_spark_reads_a_store_with_has_the_version_of_its_hadoop() -> None:
    assert connector("s3", "3.4.1") == "org.apache.hadoop:hadoop-aws:3.4.1"
    assert connector("gs", "3.4.1").endswith(":hadoop3-2.2.26")


@pytest.mark.spark
def test_a_session_that_can_not_read_a_store_says_what_it_lacks(run: Callable[..., Outcome], dataset: Path) -> None:
    done = run("export", dataset, "abfss://c@a.dfs.core.windows.net/out", "--where", "true")
    assert done.code == 2
    assert "can't read abfss://. Start it with --packages org.apache.hadoop:hadoop-azure:3." in done.result["error"]
