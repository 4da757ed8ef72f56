"""Credentials that obstore does not find by itself: the profiles of AWS's own tools."""

from __future__ import annotations

import os
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shardwright.locations import StorageOptions

_KEYS = {"aws_access_key_id": "access_key_id", "aws_secret_access_key": "secret_access_key",
         "aws_session_token": "session_token", "region": "region"}  # fmt: skip
# Where one of these is set, obstore finds what it needs.
_OTHERS = (
    "access_key_id",
    "aws_access_key_id",
    "skip_signature",
    "aws_skip_signature",
    "aws_web_identity_token_file",
    "aws_container_credentials_relative_uri",
    "aws_container_credentials_full_uri",
)


def aws_profile(options: StorageOptions) -> tuple[dict[str, str], Any]:
    """Give what a profile in ``~/.aws`` says, and what asks boto3 for keys where the profile holds none itself.

    Nothing where options, the environment or an identity of the machine say who asks.
    """
    if options.get(*_OTHERS) is not None:
        return {}, None
    name = os.environ.get("AWS_PROFILE", "default")
    found: dict[str, str] = {}
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        parser = ConfigParser(interpolation=None)
        parser.read(os.environ.get(variable) or Path.home() / ".aws" / file, encoding="utf-8")
        if parser.has_section(section):
            found.update(parser[section])
    config = {ours: found[theirs] for theirs, ours in _KEYS.items() if theirs in found}
    if "access_key_id" in config or not found or find_spec("boto3") is None:
        return config, None
    import boto3
    from obstore.auth.boto3 import Boto3CredentialProvider

    # Single sign-on and assumed roles.
    return {}, Boto3CredentialProvider(boto3.Session(profile_name=name))
