"""How Spark reaches stores: the options of `locations` as settings of Hadoop's file systems.

They are settings of the session, taken back when a verb ends, and neither of a reader nor a writer: those would have
to be repeated at each read, can't be given in SQL, and stand in plans. Stores keep their one spelling: where nothing
else is set up for ``s3://``, it means S3A.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from shardwright.credentials import aws_profile
from shardwright.errors import RequestError
from shardwright.locations import StorageOptions
from shardwright.object_store import ENDPOINTS

# What Spark reads a store with, by its scheme; the version is that of Spark's Hadoop, unless one stands here.
CONNECTORS: Mapping[str, str] = {
    "s3": "org.apache.hadoop:hadoop-aws",
    "abfss": "org.apache.hadoop:hadoop-azure",
    "gs": "com.google.cloud.bigdataoss:gcs-connector:hadoop3-2.2.26",
}
_S3A = "org.apache.hadoop.fs.s3a"
_AWS = "software.amazon.awssdk.auth.credentials"
# Spark blanks out settings by their names: it knows secrets, passwords and tokens, and no account keys.
_REDACTED = "spark.sql.redaction.options.regex"
_SECRET_NAMES = r"(?i)url|secret|password|token|key|sas|credential"


def hadoop_settings(stores: Collection[str], options: StorageOptions) -> dict[str, str]:
    """Give a session's settings for some kinds of stores; Spark's own options, ``fs.…``, as they are."""
    settings = {_REDACTED: _SECRET_NAMES}
    if "s3" in stores:
        settings |= _of_s3(options)
    if "abfss" in stores:
        settings |= _of_azure(options)
    if "gs" in stores:
        settings |= _of_google(options)
    return settings | {name: value for name, value in options.values.items() if name.startswith("fs.")}


def _of_s3(options: StorageOptions) -> dict[str, str]:
    profile = StorageOptions({**aws_profile(options)[0], **options.values})
    endpoint = profile.get(*(name for name in ENDPOINTS if not name.startswith("azure_")))
    hosted = profile.get("virtual_hosted_style_request", "aws_virtual_hosted_style_request")
    token = profile.get("session_token", "token", "aws_session_token")
    settings = {
        "fs.s3a.endpoint": endpoint,
        "fs.s3a.path.style.access": None if endpoint is None else str(hosted != "true").lower(),
        "fs.s3a.connection.ssl.enabled": None if endpoint is None else str(endpoint.startswith("https")).lower(),
        "fs.s3a.endpoint.region": profile.get("region", "aws_region", "default_region", "aws_default_region"),
        "fs.s3a.access.key": profile.get("access_key_id", "aws_access_key_id"),
        "fs.s3a.secret.key": profile.get("secret_access_key", "aws_secret_access_key"),
        "fs.s3a.session.token": token,
    }
    if profile.get("skip_signature", "aws_skip_signature") == "true":
        settings["fs.s3a.aws.credentials.provider"] = f"{_S3A}.AnonymousAWSCredentialsProvider"
    elif settings["fs.s3a.access.key"] is not None:
        own = "TemporaryAWSCredentialsProvider" if token else "SimpleAWSCredentialsProvider"
        settings["fs.s3a.aws.credentials.provider"] = f"{_S3A}.{own}"
    return {name: value for name, value in settings.items() if value is not None}


def _of_azure(options: StorageOptions) -> dict[str, str]:
    settings = {
        "fs.azure.account.key": options.get("account_key", "azure_storage_account_key", "azure_storage_access_key"),
        "fs.azure.sas.fixed.token": options.get("sas_key", "sas_token", "azure_storage_sas_key"),
    }
    if settings["fs.azure.sas.fixed.token"] is not None:
        settings["fs.azure.account.auth.type"] = "SAS"
    return {name: value for name, value in settings.items() if value is not None}


def _of_google(options: StorageOptions) -> dict[str, str]:
    keyfile = options.get("service_account", "google_service_account", "google_application_credentials")
    if keyfile is None:
        return {"fs.gs.auth.type": "APPLICATION_DEFAULT"}
    return {"fs.gs.auth.type": "SERVICE_ACCOUNT_JSON_KEYFILE", "fs.gs.auth.service.account.json.keyfile": keyfile}


def require_file_systems(spark: SparkSession, stores: Collection[str]) -> dict[str, str]:
    """Give the setting that ``s3://`` lacks, where it lacks one.

    Raises:
        RequestError: Spark has no file system for a store.
    """
    # Databricks knows all stores, and a session of Spark Connect does not tell.
    if "DATABRICKS_RUNTIME_VERSION" in os.environ or not stores or not hasattr(spark, "_jsparkSession"):
        return {}
    conf = spark._jsparkSession.sessionState().newHadoopConf()  # noqa: SLF001 - said nowhere else
    added = {} if "s3" not in stores or conf.get("fs.s3.impl") else {"fs.s3.impl": f"{_S3A}.S3AFileSystem"}
    for name, value in added.items():
        conf.set(name, value)
    for store in stores:
        _require_file_system(spark, conf, store)
    return added


def _require_file_system(spark: SparkSession, conf: Any, store: str) -> None:
    jvm = spark._jvm  # noqa: SLF001
    try:
        jvm.org.apache.hadoop.fs.FileSystem.getFileSystemClass(store, conf)  # type: ignore[union-attr]
    except Py4JError:
        version = jvm.org.apache.hadoop.util.VersionInfo.getVersion()  # type: ignore[union-attr]
        found = f"this Spark session can't read {store}://"
        raise RequestError("Spark session", found, f"Start it with --packages {connector(store, version)}") from None


def connector(store: str, hadoop_version: str) -> str:
    """Give the coordinate of what Spark reads a store with."""
    name = CONNECTORS[store]
    return name if name.count(":") > 1 else f"{name}:{hadoop_version}"
