"""Requests to stores: list, read a range, upload. The only module that knows obstore, loaded when a store is met.

Credentials come by each cloud's usual chain (environment, profile, instance or workload identity) unless options say
otherwise. Requests are tried again with growing pauses, ten times within three minutes unless options say otherwise.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple

from shardwright.credentials import aws_profile
from shardwright.errors import AccessError, ChangedError, RequestError, RunError, did_you_mean
from shardwright.locations import (
    FileInfo,
    StorageOptions,
    current_options,
    is_url,
    key_of,
    root_of,
    scheme_of,
    without_secrets,
)

# S3 takes 10,000 parts: 80 GB. An upload holds those on their way and one that fills up.
PART_BYTES = 8 << 20
_PARTS_IN_FLIGHT = 2
_PAGE = 1_000
_FOR_CLIENT = ("timeout", "connect_timeout", "read_timeout", "proxy_url", "allow_http", "allow_invalid_certificates")
_CLOUDS = {"s3": ("aws_",), "gs": ("google_", "gcs_"), "abfss": ("azure_",)}
# What a store's address is called; the first one that is set counts.
ENDPOINTS = (
    "endpoint",
    "endpoint_url",
    "aws_endpoint",
    "aws_endpoint_url_s3",
    "aws_endpoint_url",
    "azure_storage_endpoint",
    "azure_endpoint",
)
_REFUSED = re.compile(r"status code: 40[13] ")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_NO_BUCKET = re.compile(r"<Code>(NoSuchBucket|ContainerNotFound)</Code>")
_AGAIN = "Run the same command again to go on"
_NANOSECONDS = 1_000_000_000


def _store(url: str) -> Any:
    """Open the store that an object lies in, or find it among those that are open."""
    options = current_options()
    return _open(root_of(url), tuple(sorted(options.values.items())))


@lru_cache(64)
def _open(root: str, given: tuple[tuple[str, str], ...]) -> Any:
    from obstore import exceptions
    from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

    scheme, bucket = scheme_of(root), root.partition("://")[2]
    config, client, retry = _sorted(scheme, dict(given))
    settings: dict[str, Any] = {"client_options": client, "retry_config": retry}
    try:
        if scheme in ("https", "http"):
            return HTTPStore.from_url(root, **settings)
        if scheme == "gs":
            settings["config"] = config
            return GCSStore(bucket, **settings)
        if scheme == "abfss":
            container, _, host = bucket.partition("@")
            settings["config"] = {"account_name": host.partition(".")[0], **config}
            return AzureStore(container, **settings)
        profile, provider = aws_profile(StorageOptions(dict(given)))
        settings["config"] = {**profile, **config}
        return S3Store(bucket, credential_provider=provider, **settings)
    except exceptions.UnknownConfigurationKeyError as error:
        name = next((name for name in config if name in str(error)), "of these names")
        raise RequestError("--storage-option", f"{scheme} stores have no option '{name}'", "Leave it out") from None
    except (exceptions.BaseError, ValueError) as error:
        raise RequestError(root, _words(error), "Pass other --storage-options") from None


def delta_options(url: str) -> dict[str, str] | None:
    """Give the options with which deltalake opens a table; None on a file system."""
    if not is_url(url):
        return None
    scheme, given = scheme_of(url), dict(current_options().values)
    config, client, _ = _sorted(scheme, given)
    profile = aws_profile(current_options())[0] if scheme == "s3" else {}
    config = {**profile, **config, **{name: str(value).lower() for name, value in client.items() if value is not None}}
    # Two commits of one version: the store refuses the second.
    return {"conditional_put": "etag", **config} if scheme == "s3" else config


def _sorted(scheme: str, given: dict[str, str]) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
    """Sort options into those of the cloud, of the HTTP client and of trying again."""
    others = tuple(prefix for cloud, prefixes in _CLOUDS.items() if cloud != scheme for prefix in prefixes)
    config = {name: value for name, value in given.items() if not name.startswith(("fs.", *others))}
    client: dict[str, Any] = {name: config.pop(name) for name in _FOR_CLIENT if name in config}
    client.setdefault("timeout", "2 minutes")
    for name in ("allow_http", "allow_invalid_certificates"):
        if name in client:
            client[name] = _flag(name, client[name])
    endpoint = StorageOptions(config).get(*ENDPOINTS) or ""
    if scheme == "http" or "use_emulator" in config or endpoint.startswith("http://"):
        client.setdefault("allow_http", True)
    retry: dict[str, Any] = {}
    if "max_retries" in config:
        retry["max_retries"] = int(_number("max_retries", config.pop("max_retries")))
    if "retry_timeout" in config:
        retry["retry_timeout"] = timedelta(seconds=_number("retry_timeout", config.pop("retry_timeout")))
    return config, client, retry


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise RequestError(
            f"--storage-option {name}", "it is neither true nor false", did_you_mean(text, ("true", "false"))
        )
    return text.lower() == "true"


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RequestError(f"--storage-option {name}", "it is no number", "Write a number, seconds for times") from None


@contextmanager
def _errors(url: str) -> Iterator[None]:
    """Turn what obstore raises into errors of ours, which name the object and hold no secret."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        _require_bucket(url, error)
        raise FileNotFoundError(errno.ENOENT, "no such object", url) from None
    except exceptions.PreconditionError:
        raise ChangedError(url) from None
    except exceptions.BaseError as error:
        refused = isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError)
        if refused or _REFUSED.search(str(error)):
            remedy = "Check the credentials: the cloud's usual chain, or --storage-option"
            raise AccessError(url, f"access was refused ({_words(error)})", remedy) from None
        _require_bucket(url, error)
        raise RunError(url, _words(error), _AGAIN) from None


def _require_bucket(url: str, error: BaseException) -> None:
    if _NO_BUCKET.search(str(error)):
        raise RequestError(url, "no such bucket", "Pass one that is there, or make it") from None


def _words(error: BaseException) -> str:
    """Give the first line of what a store says, and its code in place of XML."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].partition("<?xml")[0].rstrip(":. ")
    code = _CODE.search(str(error))
    return without_secrets(f"{line[:300]}, {code[1]}" if code else line[:300])


def describe(url: str) -> FileInfo | None:
    """Look at an object; None where there is none."""
    import obstore

    if not key_of(url):
        return None
    with suppress(FileNotFoundError), _errors(url):
        return _info(root_of(url), obstore.head(_store(url), key_of(url)))
    return None


def list_objects(folder: str) -> Iterator[FileInfo]:
    """List all objects below a folder, in no order, page by page."""
    import obstore

    root, prefix = root_of(folder), key_of(folder)
    with _errors(folder):
        for page in obstore.list(_store(folder), prefix or None, chunk_size=_PAGE):
            # Consoles make a folder by an empty object of its name.
            yield from (_info(root, meta) for meta in page if meta["path"] != prefix)


def list_names(folder: str) -> list[str]:
    """List the names of objects and folders directly in a folder."""
    import obstore

    prefix = key_of(folder)
    with _errors(folder):
        found = obstore.list_with_delimiter(_store(folder), prefix or None)
    paths = [*(meta["path"] for meta in found["objects"]), *found["common_prefixes"]]
    return [name for path in paths if (name := path.removeprefix(prefix).strip("/"))]


def _info(root: str, meta: Any) -> FileInfo:
    modified: datetime = meta["last_modified"]
    # Listings know fractions of a second that headers don't, and Azure's lack the quotes of etags.
    etag = (meta["e_tag"] or "").strip('"') or None
    return FileInfo(f"{root}/{meta['path']}", meta["size"], int(modified.timestamp()) * _NANOSECONDS, etag)


def put(url: str, data: bytes) -> None:
    """Write a small object, whole or not at all."""
    import obstore

    with _errors(url):
        obstore.put(_store(url), key_of(url), data, use_multipart=False)


def put_new(url: str, data: bytes) -> bool:
    """Write a small object unless one is there, and tell whether it was: of several who try at once, one succeeds."""
    import obstore
    from obstore.exceptions import AlreadyExistsError

    with _errors(url):
        try:
            obstore.put(_store(url), key_of(url), data, use_multipart=False, mode="create")
        except AlreadyExistsError:
            return False
    return True


def delete(urls: Sequence[str]) -> None:
    """Remove objects; those that are not there are fine."""
    import obstore

    for root in {root_of(url) for url in urls}:
        keys = [key_of(url) for url in urls if root_of(url) == root]
        with suppress(FileNotFoundError), _errors(root):
            obstore.delete(_store(root), keys)


def move(url: str, to: str) -> None:
    """Put an object in the place of another one of the same store: a copy, which appears at once."""
    import obstore

    with _errors(url):
        obstore.rename(_store(url), key_of(url), key_of(to), overwrite=True)


class Answer(NamedTuple):
    """A range of an object, the seconds until the first byte came, and those until the last."""

    data: Any
    first_seconds: float
    all_seconds: float


def get_range(known: FileInfo, offset: int, count: int) -> Answer:
    """Read a range of an object, which must be the one that is known.

    Raises:
        ChangedError: It is another one by now.
    """
    import obstore

    url = known.path
    options: dict[str, Any] = {"range": (offset, offset + count)}
    if known.etag is not None and not known.etag.startswith("W/"):  # weak ones are no condition
        options["if_match"] = f'"{known.etag}"'
    asked = perf_counter()
    with _errors(url):
        result = obstore.get(_store(url), key_of(url), options=options)  # type: ignore[arg-type]
        answered = perf_counter()
        data = result.bytes()
    found = _info(root_of(url), result.meta)
    # Not every server heeds a condition, and some have no etags.
    is_same = found.etag == known.etag if found.etag and known.etag else found.modified_ns == known.modified_ns
    if len(data) != count or found.size_bytes != known.size_bytes or not is_same:
        raise ChangedError(url)
    return Answer(data, answered - asked, perf_counter() - asked)


def put_parts(url: str, parts: Iterable[bytes]) -> None:
    """Upload an object part by part; where a part can't be had or sent, nothing of it stays."""
    import obstore

    with _errors(url):
        obstore.put(
            _store(url),
            key_of(url),
            iter(parts),
            use_multipart=True,
            chunk_size=PART_BYTES,
            max_concurrency=_PARTS_IN_FLIGHT,
        )
