"""What places are called: one spelling for each, what Spark calls it, and the options of stores.

A path is a text. Without ``://`` it is a file of this machine, or of a file system that all machines see;
with it, it is an object in a store, in the spelling that `canonical` gives: tables and manifests hold that one.

==========================  ==========================================================
given as                    one spelling
==========================  ==========================================================
``s3a://``, ``s3n://``      ``s3://bucket/key``
``gcs://``                  ``gs://bucket/key``
``az://``, ``abfs://``,     ``abfss://container@account.dfs.core.windows.net/key``; the account of a short form
``wasbs://``                is the option ``account_name``, or ``AZURE_STORAGE_ACCOUNT_NAME``
``https://``, ``http://``   as given; read only
``dbfs:/Volumes/…``         ``/Volumes/…``, as Databricks shows volumes to Python
``dbfs:/…``                 ``/dbfs/…``, likewise
``file://…``                the path
==========================  ==========================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path
from typing import Any, NamedTuple

from shardwright.errors import RequestError

Task = Callable[[Iterable[Any]], Iterable[Any]]
_SCHEMES = {
    "s3": "s3",
    "s3a": "s3",
    "s3n": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "abfss",
    "azure": "abfss",
    "abfs": "abfss",
    "abfss": "abfss",
    "wasb": "abfss",
    "wasbs": "abfss",
    "https": "https",
    "http": "http",
}
_AZURE_HOST = ".dfs.core.windows.net"
_CLOUDS = ("aws_", "azure_", "google_")
_VOLUMES, _DBFS = "/Volumes/", "/dbfs/"
# What may be shown of options; any other value could be a secret.
_HARMLESS = re.compile(
    r"(?i)(endpoint|endpoint_url|region|allow_http|account_name|virtual_hosted_style_request|skip_signature|"
    r"max_retries|retry_timeout|timeout|connect_timeout|use_emulator|conditional_put)\Z"
)
_SECRET_NAME = re.compile(r"(?i)secret|password|token|account_key|access_key|sas|credential|signature")
_IN_URLS = re.compile(r"(?i)((?:sig|signature|x-amz-[\w-]+|x-goog-[\w-]+|token|key)=)[^&\s\"'<>]+")
_LEAST_SECRET = 6  # shorter values would blank out words


class FileInfo(NamedTuple):
    """A file as a listing shows it; what tells one state of it from another comes with it.

    ``etag`` is the store's; on a file system it is the time at which anything of the file changed last, which
    nobody can set: a tar that takes the place of another one of the same size and time has another.
    """

    path: str
    size_bytes: int
    modified_ns: int
    etag: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether it can be read: a link that leads nowhere has no size."""
        return self.size_bytes >= 0


@dataclass(frozen=True)
class StorageOptions:
    """Options of stores by name, as `object_store` takes them; some are secrets, so that none is ever shown."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    def get(self, *names: str) -> str | None:
        """Give the first of these that is set, here or, where it names its cloud, in capitals in the environment."""
        for name in names:
            if name in self.values:
                return self.values[name]
        variables = [name.upper() for name in names if name.startswith(_CLOUDS)]
        return next((os.environ[name] for name in variables if os.environ.get(name)), None)


_current = StorageOptions()
_secrets: set[str] = set()  # of all options that there were: an error may be shown when they are gone


@contextmanager
def storage_options(options: Mapping[str, str] | StorageOptions) -> Iterator[None]:
    """Have stores opened with these options, in all threads of this process, until the block ends."""
    global _current  # noqa: PLW0603 - threads of a pool see no context variable
    before = _current
    _current = options if isinstance(options, StorageOptions) else StorageOptions(_named(options))
    _secrets.update(value for name, value in _current.values.items() if not _HARMLESS.search(name))
    try:
        yield
    finally:
        _current = before


def current_options() -> StorageOptions:
    """Give the options that stores are opened with."""
    return _current


def same_options() -> str:
    """Give what is to be added to a command that is proposed: none is to be shown, for some are secrets."""
    return " (with the same storage options)" if _current.values else ""


def with_current_options(task: Task) -> Task:
    """Give a task that opens stores as this process does, wherever it runs; the options stand in no plan's text."""
    return partial(_run_with, _current, task) if _current.values else task


def _run_with(options: StorageOptions, task: Task, batches: Iterable[Any]) -> Iterator[Any]:
    with storage_options(options):
        yield from task(batches)


def read_option(text: str) -> tuple[str, str]:
    """Read ``key=value``; what is wrong is said without the value."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise RequestError("--storage-option", "there is no '=' in it", "Write KEY=VALUE, for example region=eu-west-1")
    return name.strip(), value


def _named(options: Mapping[str, str]) -> dict[str, str]:
    """Give names as stores spell them; those of Spark's, ``fs.…``, are spelled by it."""
    return {
        name if name.startswith("fs.") else name.lower().replace("-", "_").replace(".", "_"): str(value)
        for name, value in options.items()
    }


def without_secrets(text: str) -> str:
    """Blank out what could be a secret: values of options and of the environment, and signatures in URLs."""
    values = {*_secrets, *(value for name, value in os.environ.items() if _SECRET_NAME.search(name))}
    secrets = sorted({value for value in values if len(value) >= _LEAST_SECRET}, key=len, reverse=True)
    return _IN_URLS.sub(r"\1…", reduce(lambda shown, secret: shown.replace(secret, "…"), secrets, text))


def is_url(path: str) -> bool:
    """Tell an object in a store from a file."""
    return "://" in path


def is_web(path: str) -> bool:
    """Tell a file of a web server, which can only be read."""
    return path.startswith(("https://", "http://"))


def scheme_of(path: str) -> str:
    """Give the kind of store that a path lies in: ``s3``, ``gs``, ``abfss``, ``https``, ``http``; ``file`` for none."""
    return path.partition("://")[0] if is_url(path) else "file"


def canonical(path: str | os.PathLike[str]) -> str:
    """Give the one spelling of a path: absolute, links not resolved.

    Raises:
        RequestError: No store is known by its scheme, or it names no bucket.
    """
    text = os.fspath(path)
    if text.startswith("dbfs:/"):
        rest = "/" + text.removeprefix("dbfs:").lstrip("/")
        text = rest if rest.startswith(_VOLUMES) else _DBFS + rest[1:]
    if re.match(r"file:/+", text):
        text = "/" + re.sub(r"\Afile:/+", "", text)
    if is_url(text):
        return _canonical_url(text)
    try:
        return os.path.abspath(Path(text).expanduser())
    except RuntimeError:
        raise RequestError(text, "there is no such user", "Write the path out") from None


def _canonical_url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    known = _SCHEMES.get(scheme.lower())
    authority, _, key = rest.partition("/")
    # What could be a secret is left out: a name before the host, and a query.
    shown = f"{scheme}://{authority.rpartition('@')[2]}/{key.partition('?')[0]}"
    if known is None:
        names = ", ".join(f"{name}://" for name in ("s3", "gs", "az", "abfss", "https"))
        raise RequestError(shown, f"no store is known as '{scheme}://'", f"Pass a folder, or one of {names}")
    if not authority:
        raise RequestError(shown, "it names no bucket", f"Write {known}://BUCKET/FOLDER")
    # A container of Azure stands before its account; a key of S3 may hold a question mark.
    has_name = ":" in authority.rpartition("@")[0] or ("@" in authority and known != "abfss")
    has_query = "?" in key and known in ("https", "http", "abfss")
    if has_name or has_query:
        found = "it holds a password or a query, which tables and logs would show"
        raise RequestError(shown, found, "Pass what the store asks for with --storage-option")
    if known == "abfss":
        authority = _azure_authority(text, authority)
    path = "/".join(part for part in key.split("/") if part)
    return f"{known}://{authority}/{path}".rstrip("/")


def _azure_authority(text: str, authority: str) -> str:
    container, at, host = authority.partition("@")
    if at:
        return f"{container}@{host.replace('.blob.', '.dfs.')}"
    account = _current.get("account_name", "azure_storage_account_name", "azure_account_name")
    if not account and _current.get("use_emulator", "azure_storage_use_emulator"):
        account = "devstoreaccount1"
    if not account:
        found = "nothing says which account the container lies in"
        raise RequestError(text, found, f"Write abfss://{container}@ACCOUNT{_AZURE_HOST}/…, or pass account_name")
    return f"{container}@{account}{_AZURE_HOST}"


def root_of(url: str) -> str:
    """Give the part of an object's URL that names its bucket."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def key_of(url: str) -> str:
    """Give an object's name in its bucket; empty for the bucket."""
    return url.partition("://")[2].partition("/")[2]


def to_spark(path: str) -> str:
    """Give the name by which Spark knows a path; stores have the same one, see `store.hadoop`."""
    if "DATABRICKS_RUNTIME_VERSION" not in os.environ or is_url(path):
        return path
    if path.startswith(_DBFS):
        return "dbfs:/" + path.removeprefix(_DBFS)
    return f"dbfs:{path}" if path.startswith(_VOLUMES) else f"file:{path}"


def from_spark(name: str) -> str:
    """Give the path that Spark names."""
    if name.startswith(("file:", "dbfs:")) or not is_url(name):
        return canonical(name)
    return name


def is_inside(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or lies inside it, links resolved."""
    if is_url(path) or is_url(folder):
        return f"{path}/".startswith(f"{folder}/")
    inner, outer = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([inner, outer]) == outer


def beside(path: str, suffix: str) -> str:
    """Give the folder of the same name with a suffix.

    Raises:
        RequestError: A bucket has nothing beside it.
    """
    if is_url(path) and not key_of(path):
        raise RequestError(path, f"a bucket has no place '{suffix}' beside it", "Pass --tables, or a folder in it")
    return path + suffix


def stores_among(paths: Iterable[str | None]) -> set[str]:
    """Give the kinds of stores that some paths lie in."""
    return {_SCHEMES.get(scheme_of(path).lower(), "file") for path in paths if path} - {"file", "https", "http"}


def require_writable(path: str) -> None:
    """Refuse a place that can't take an output.

    Raises:
        RequestError: It is a web server, or a bucket without a folder.
    """
    if is_web(path):
        raise RequestError(path, "web servers are only read from", "Pass a folder or a store")
    if is_url(path) and not key_of(path):
        raise RequestError(path, "it is a whole bucket", "Pass a folder in it")
