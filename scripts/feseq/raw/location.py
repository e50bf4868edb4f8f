"""Where a raw file lies: a local path, or an object in S3 (s3://) or Google's storage (gs://)."""

import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pyarrow as pa
from pyarrow import fs

from ..common.errors import UserError, first_line
from ..common.files import digest_of_tail

Location = str | Path

# One slash is enough: a mistyped s3:/bucket/key is no local path either. `C:/` is one.
_URI = re.compile(r"[A-Za-z][\w+.-]+:/")
_FORMS = "s3://bucket/key or gs://bucket/key"
# How pyarrow's stores begin their own errors, unlike those of decoding.
_OF_STORE = ("AWS Error", "google::cloud::Status", "Path does not exist")
_DENIED = ("ACCESS_DENIED", "HTTP status 403", "PERMISSION_DENIED", "UNAUTHENTICATED", "OAuth2")
_UNREACHED = ("NETWORK_CONNECTION", "UNAVAILABLE", "TIMEOUT", "HTTP status 5", "resolving region")
_CREDENTIALS = {
    "s3": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
# Of a location, for pyarrow, as `?name=value&...`.
_OPTIONS = (
    *("endpoint_override", "scheme", "region", "tls_ca_file_path", "tls_verify_certificates"),
    *("retry_limit_seconds", "project_id"),
)
_GS_RETRY_SECONDS = "20"


def is_remote(location: Location) -> bool:
    """True for anything like a URI, also for one that cannot be read."""
    return _URI.match(str(location)) is not None


def name_of(location: Location) -> str:
    """The last part of a path or key."""
    return Path(urlsplit(str(location)).path if is_remote(location) else location).name


def check_location(location: str) -> None:
    """Raise UserError for a remote location that cannot be right; the store is not asked."""
    if not is_remote(location):
        return
    _refuse_secrets(location)
    try:
        uri = urlsplit(location)
    except ValueError as error:
        raise UserError(f"{location}: is no URI ({error}); write {_FORMS}") from None
    if uri.scheme not in ("s3", "gs") or not location.startswith(f"{uri.scheme}://"):
        raise UserError(
            f"{location}: only local paths, {_FORMS} can be read; correct raw.*, or copy the file "
            f"to a local path"
        )
    if not uri.netloc or not uri.path.strip("/") or uri.path.endswith("/") or uri.fragment:
        raise UserError(
            f"{location}: names no single object; write {_FORMS}, the key of one file, with other "
            f"signs than letters, digits and /-_.~ as %XX (# as %23)"
        )


def _refuse_secrets(location: str) -> None:
    """Raise UserError, which does not repeat them, for a location with credentials or like them."""
    place, _, query = location.partition("?")
    # A secret key of AWS may have a slash. An @ in a key is written %40.
    scheme = place.partition(":")[0]
    _, at, rest = place.removeprefix("gs://anonymous@").rpartition("@")
    unknown = [name for name, _ in parse_qsl(query, keep_blank_values=True) if name not in _OPTIONS]
    if at:
        raise UserError(
            f"{scheme}://***@{rest}: credentials do not belong into a config, which is copied into "
            f"logs; take them out and give them to the environment, for example as AWS_PROFILE (an "
            f"@ in a key is written %40)"
        )
    if unknown:
        raise UserError(
            f"{place}?{unknown[0]}=***: there is no such option; behind a key may stand "
            f"{', '.join(_OPTIONS)}, and what the environment should tell, such as AWS_PROFILE, not"
        )


def open_location(location: Location) -> pa.NativeFile:
    """Open a file for reading at any place; raises UserError if that fails."""
    try:
        if not is_remote(location):
            return pa.OSFile(str(location), "rb")
        system, path = _store_of(str(location))
        return system.open_input_file(path)
    except (pa.ArrowException, OSError) as error:
        raise read_error(location, error) or _unusable(location, error) from None


def version_of(location: Location) -> str:
    """The fingerprint of the file, by its size and one read of its end."""
    with _reading(location) as file:
        return digest_of_tail(file, file.size())


def first_bytes(location: Location, size: int) -> bytes:
    """The head of the file, `size` bytes or all there are."""
    with _reading(location) as file:
        return bytes(file.read(size))


@contextmanager
def _reading(location: Location) -> Iterator[pa.NativeFile]:
    with open_location(location) as file:
        try:
            yield file
        except OSError as error:
            raise read_error(location, error) or _unusable(location, error) from None


def check_unchanged(location: Location, version: str) -> None:
    """Raise UserError if the file is no longer the one that had this version."""
    if version_of(location) != version:
        raise UserError(
            f"{location}: was replaced while it was being read; nothing of it was kept: run the "
            f"same command again when it is complete"
        )


def read_error(location: Location, error: BaseException) -> UserError | None:
    """What the store says, if the error is the store's and not one of the file's content."""
    said = first_line(error).split(" error_info=")[0]
    if not is_remote(location) or not any(sign in said for sign in _OF_STORE + _UNREACHED):
        return None
    if isinstance(error, FileNotFoundError):
        return UserError(
            f"{location}: there is no such object, or no such bucket; correct raw.* (a folder of "
            f"files cannot be read, name one file), or the endpoint if it is in another store"
        )
    if any(sign in said for sign in _DENIED):
        scheme = urlsplit(str(location)).scheme
        return UserError(
            f"{location}: access denied ({said}); the environment has no credentials, or none that "
            f"may read it: set {_CREDENTIALS[scheme]}"
        )
    if any(sign in said for sign in _UNREACHED):
        return UserError(
            f"{location}: the store cannot be reached, or fails ({said}); check the network, the "
            f"endpoint (AWS_ENDPOINT_URL=http://host:port, or "
            f"?endpoint_override=host:port&scheme=http behind the key) and "
            f"the region (AWS_REGION), and run the same command again"
        )
    return _unusable(location, error)


def _unusable(location: Location, error: BaseException) -> UserError:
    if not is_remote(location):
        return UserError(f"{location}: cannot be read ({first_line(error)}); mend or replace it")
    return UserError(
        f"{location}: cannot be read from the store ({first_line(error)}); write {_FORMS}, other "
        f"signs than letters, digits and /-_.~ as %XX (a blank as %20), check region and endpoint "
        f"(docs/object-storage.md), and whether credentials have expired"
    )


def _store_of(location: str) -> tuple[fs.FileSystem, str]:
    check_location(location)
    options = _options(location)
    uri = urlunsplit(urlsplit(location)._replace(query=urlencode(options)))
    return _connect(uri, options.get("region"))


def _options(location: str) -> dict[str, str]:
    """The options of a URI, and those that the environment gives or that spare a long wait.

    Without a region pyarrow asks AWS where the bucket is. Stores behind an endpoint take any, by
    default this one.
    """
    uri = urlsplit(location)
    given = dict(parse_qsl(uri.query, keep_blank_values=True))
    if uri.scheme == "gs":
        return {"retry_limit_seconds": _GS_RETRY_SECONDS} | given
    found = {
        "endpoint_override": os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL"),
        "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
    }
    options = {name: value for name, value in found.items() if value} | given
    return ({"region": "us-east-1"} if "endpoint_override" in options else {}) | options


@functools.cache
def _connect(uri: str, region: str | None) -> tuple[fs.FileSystem, str]:
    """One pool of connections for all that a process reads."""
    # Before it is told a region, the SDK looks for one, also at EC2's metadata server, for seconds.
    name = "AWS_DEFAULT_REGION"
    tell = region is not None and not {name, "AWS_REGION"} & set(os.environ)
    if tell:
        os.environ[name] = str(region)
    try:
        return fs.FileSystem.from_uri(uri)
    finally:
        if tell:
            del os.environ[name]
