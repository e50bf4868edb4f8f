"""Where a raw file lies: a local path, or an object in S3 (s3://) or Google's storage (gs://)."""

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import pyarrow as pa
from pyarrow import fs

from ..common.errors import UserError, first_line
from ..common.files import digest_of_tail
from .version import content_version, store_version

logger = logging.getLogger(__name__)

# One slash is enough: a mistyped s3:/bucket/key is no local path either. `C:/` is one.
_URI = re.compile(r"[A-Za-z][\w+.-]+:/")
_FORMS = "s3://bucket/key or gs://bucket/key"
# How the errors of pyarrow's stores begin; those of decoding begin otherwise.
_OF_STORE = ("AWS Error", "google::cloud::Status", "Path does not exist")
_DENIED = ("ACCESS_DENIED", "HTTP status 403", "PERMISSION_DENIED", "UNAUTHENTICATED", "OAuth2")
_UNREACHED = ("NETWORK_CONNECTION", "UNAVAILABLE", "TIMEOUT", "HTTP status 5", "resolving region")
_CREDENTIALS = {
    "s3": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
# Options for pyarrow that may stand behind a key, as `?name=value&...`.
_OPTIONS = (
    *("endpoint_override", "scheme", "region", "tls_ca_file_path", "tls_verify_certificates"),
    *("retry_limit_seconds", "project_id"),
)
_GS_RETRY_SECONDS = "20"
# A silent S3 store is asked this often, this many seconds each time, with pauses of a second.
_S3_ATTEMPTS, _S3_SILENT_SECONDS = 4, 4
_S3_OPTIONS = ("endpoint_override", "scheme", "tls_ca_file_path")
_SECONDS_UNTIL_TOLD = 3


def is_remote(location: str | Path) -> bool:
    """True for anything like a URI, also for one that cannot be read."""
    return _URI.match(str(location)) is not None


class Location:
    """Where one raw file lies, a path or a URI; `str` gives it as the user wrote it.

    Raises UserError for a URI that cannot be right; the store is asked only when the file is read.
    """

    def __init__(self, written: str | Path) -> None:
        self.written = str(written)
        self.is_remote = is_remote(written)
        if self.is_remote:
            _check_uri(self.written)

    def __str__(self) -> str:
        return self.written

    @property
    def name(self) -> str:
        """The last part of the path or key."""
        return Path(urlsplit(self.written).path if self.is_remote else self.written).name

    @property
    def path(self) -> str:
        """The path, or a URI's behind the bucket."""
        return unquote(urlsplit(self.written).path) if self.is_remote else self.written

    @property
    def is_present(self) -> bool:
        """True for a local file that exists, and for any remote one, without asking the store."""
        return self.is_remote or Path(self.written).is_file()

    @cached_property
    def _store(self) -> tuple[fs.FileSystem, str]:
        """The store and the file's path in it."""
        options = _options(self.written)
        uri = urlunsplit(urlsplit(self.written)._replace(query=urlencode(options)))
        return _connect(uri, options.get("region"))

    @cached_property
    def file(self) -> pa.NativeFile:
        """The file, opened for reading; raises UserError if that fails."""
        with self._guarded():
            if not self.is_remote:
                return pa.OSFile(self.written, "rb")
            with _told(self.written):
                system, path = self._store
                return system.open_input_file(path)

    @cached_property
    def version(self) -> str:
        """What changes with the file's content: a digest of it, a store's or our own.

        It is that of the file as it was first looked at. A store that keeps none is asked for the
        object's end, which is then taken for the whole.
        """
        with self._guarded():
            if not self.is_remote:
                return content_version(Path(self.written))
            size = self.file.size()
            return store_version(self.file.metadata(), size) or digest_of_tail(self.file, size)

    def close(self) -> None:
        """Close the file; it is opened again when it is next read."""
        if "file" in self.__dict__:
            self.__dict__.pop("file").close()

    def listing(self, recursive: bool = False) -> list[tuple[str, bool]]:
        """The names in this folder, each with True for a folder; none if there is no such folder.

        `recursive` lists what is in these folders, too.
        """
        with self._guarded(), _told(self.written):
            system, path = self._store if self.is_remote else (fs.LocalFileSystem(), self.written)
            selector = fs.FileSelector(path, allow_not_found=True, recursive=recursive)
            found = system.get_file_info(selector)
        return [
            (info.path.removeprefix(path).lstrip("/"), info.type == fs.FileType.Directory)
            for info in found
        ]

    def head(self, size: int) -> bytes:
        """The first `size` bytes, or all if the file is shorter."""
        with self._guarded():
            return bytes(self.file.read_at(size, 0))

    def check_unchanged(self, version: str) -> None:
        """Raise UserError if the file no longer has this version."""
        if Location(self.written).version != version:
            raise UserError(
                f"{self}: was replaced while it was being read; nothing of it was kept: run the "
                f"same command again when it is complete"
            )

    def read_error(self, error: BaseException) -> UserError | None:
        """What the store says, if the error is the store's and not one of the file's content."""
        said = first_line(error).split(" error_info=")[0]
        if not self.is_remote or not any(sign in said for sign in _OF_STORE + _UNREACHED):
            return None
        if isinstance(error, FileNotFoundError):
            return UserError(
                f"{self}: there is no such object, or no such bucket; correct raw.* (a folder of "
                f"files ends with a /), or the endpoint if it is in another store"
            )
        if any(sign in said for sign in _DENIED):
            return UserError(
                f"{self}: access denied ({said}); the environment has no credentials, or none that "
                f"may read it: set {_CREDENTIALS[urlsplit(self.written).scheme]}"
            )
        if any(sign in said for sign in _UNREACHED):
            return UserError(
                f"{self}: the store cannot be reached, or fails ({said}); check the network, the "
                f"endpoint (AWS_ENDPOINT_URL=http://host:port, or "
                f"?endpoint_override=host:port&scheme=http behind the key) and "
                f"the region (AWS_REGION), and run the same command again"
            )
        return self._unusable(error)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Whatever a store or a disk raises, as a UserError."""
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise self.read_error(error) or self._unusable(error) from None

    def _unusable(self, error: BaseException) -> UserError:
        if not self.is_remote:
            return UserError(f"{self}: cannot be read ({first_line(error)}); repair or replace it")
        return UserError(
            f"{self}: cannot be read from the store ({first_line(error)}); write {_FORMS}, other "
            f"signs than letters, digits and /-_.~ as %XX (a blank as %20), check region and "
            f"endpoint (docs/object-storage.md), and whether credentials have expired"
        )


def _check_uri(location: str) -> None:
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
    """Raise UserError for a location with credentials in it; the message does not repeat them."""
    place, _, query = location.partition("?")
    # A secret key of AWS may have a slash; an @ in an object's key is written %40.
    scheme = place.partition(":")[0]
    _, at, rest = place.removeprefix("gs://anonymous@").rpartition("@")
    unknown = [name for name, _ in parse_qsl(query, keep_blank_values=True) if name not in _OPTIONS]
    if at:
        raise UserError(
            f"{scheme}://***@{rest}: credentials do not belong in a config, which is copied into "
            f"logs; take them out and give them to the environment, for example as AWS_PROFILE (an "
            f"@ in a key is written %40)"
        )
    if unknown:
        raise UserError(
            f"{place}?{unknown[0]}=***: there is no such option; a key may be followed by "
            f"{', '.join(_OPTIONS)}; credentials belong in the environment, such as AWS_PROFILE"
        )


def _options(location: str) -> dict[str, str]:
    """The options of a URI, those of the environment, and defaults that avoid long waits.

    Without a region pyarrow asks AWS where the bucket is. A store behind an endpoint takes any
    region, by default us-east-1.
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


@cache
def _connect(uri: str, region: str | None) -> tuple[fs.FileSystem, str]:
    """One pool of connections for everything that a process reads."""
    # Without a region the SDK looks for one, for seconds, also at EC2's metadata server.
    name = "AWS_DEFAULT_REGION"
    tell = region is not None and not {name, "AWS_REGION"} & set(os.environ)
    if tell:
        os.environ[name] = str(region)
    try:
        system, path = fs.FileSystem.from_uri(uri)
        options = dict(parse_qsl(urlsplit(uri).query))
        # An option that only a URI can have.
        if isinstance(system, fs.S3FileSystem) and "tls_verify_certificates" not in options:
            system = fs.S3FileSystem(
                region=system.region,
                request_timeout=_S3_SILENT_SECONDS,
                connect_timeout=_S3_SILENT_SECONDS,
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS),
                **{name: options[name] for name in _S3_OPTIONS if name in options},
            )
        return system, path
    finally:
        if tell:
            del os.environ[name]


@contextmanager
def _told(location: str) -> Iterator[None]:
    """A line of the log if a store keeps one waiting."""
    line = f"{location}: no answer for {_SECONDS_UNTIL_TOLD} s; a silent store is given up after 20"
    timer = threading.Timer(_SECONDS_UNTIL_TOLD, logger.warning, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
