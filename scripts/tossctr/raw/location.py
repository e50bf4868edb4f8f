"""Locations and versions of raw files: local paths, or objects of a store (s3://, gs://).

URIs, their options and credentials work as in `pyarrow.fs.FileSystem.from_uri`. A file's version
changes with its content, not with its modification time. A local file's version is a digest of all
bytes, cached until the file system shows a write to the file.
"""

import glob
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

import pyarrow as pa
import xxhash
from pyarrow import fs

from ..common.errors import UserError, first_line, join_names
from ..common.files import digest_of, read_json, write_json

# Also matches a mistyped s3:/bucket/key, but not the local path C:/.
_URI = re.compile(r"[A-Za-z][\w+.-]+:/")
# The value of a missing key in a folder's name, as Hive and Spark write it.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# Matches files without data, such as _SUCCESS.
_HIDDEN = re.compile("(^|/)[_.]")
_MAX_NAMED = 3
# Cache of file versions, in the working folder beside Snakemake's records.
VERSION_CACHE = Path(".snakemake/raw_versions")
# Only versions of older files are cached: two quick writes can leave the same file time.
MIN_AGE_NS = 2_000_000_000
# Metadata that change with an object's content, best first: two of Google, one of S3, a time.
_DIGESTS = ("md5Hash", "crc32c", "ETag", "Last-Modified")


class Location:
    """A file, folder or pattern, given as a path or URI; `str` returns the user's text."""

    def __init__(self, configured: str | Path) -> None:
        self.configured = str(configured)
        self.is_remote = _URI.match(self.configured) is not None

    def __str__(self) -> str:
        return self.configured

    @cached_property
    def _system_and_path(self) -> tuple[fs.FileSystem, str]:
        if not self.is_remote:
            return fs.LocalFileSystem(), self.configured
        uri = self.configured
        if uri.startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in uri:
            # By default, Google's client retries for 15 minutes, and signals do not interrupt it.
            uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds=60"
        with self.reading():
            return fs.FileSystem.from_uri(uri)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self._system_and_path[1]).name

    @property
    def is_missing(self) -> bool:
        """True for a local path that does not exist; False for broken links and URIs."""
        return not self.is_remote and not os.path.lexists(self.configured)

    def state(self) -> object:
        """A value that changes with every write to the file; a local file's content is not read."""
        with self.reading():
            return self.version if self.is_remote else file_state(Path(self.configured))

    @cached_property
    def version(self) -> str:
        """A digest of the content. For an object in a store: of its size and the store's digest."""
        with self.reading():
            if not self.is_remote:
                return content_version(Path(self.configured))
            with self.open() as file:
                return object_version(file.metadata(), file.size())

    @property
    def partition_keys(self) -> dict[str, str | None]:
        """The keys and values of the folders named key=value directly above the file.

            in/day=2/country=KR/part-0.parquet:   {"day": "2", "country": "KR"}

        The value is None if the folder's name says that it is missing.
        """
        folders = reversed(self._system_and_path[1].split("/")[:-1])
        pairs = [folder.split("=", 1) for folder in takewhile(re.compile("[^=]+=").match, folders)]
        return {
            unquote(key): None if value == _NO_VALUE else unquote(value)
            for key, value in reversed(pairs)
        }

    def open(self) -> pa.NativeFile:
        """Open the file for reading."""
        system, path = self._system_and_path
        return system.open_input_file(path)

    def open_stream(self) -> pa.NativeFile:
        """Open the file as a stream of bytes, decompressed if its name ends in .gz."""
        system, path = self._system_and_path
        compression = "gzip" if path.lower().endswith(".gz") else None
        return system.open_input_stream(path, compression=compression)

    @contextmanager
    def reading(self, state: object = None) -> Iterator[None]:
        """A context in which a failed read of the file raises UserError.

        `state` is an earlier result of the method `state`. If the file's state differs when the
        context ends, UserError is also raised.
        """
        failed = None
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            # The first line of a binary file may be very long.
            failed = first_line(error)[:300]
        if state is not None and Location(self.configured).state() != state:
            raise UserError(
                f"{self}: was replaced while it was being read; run the same command again when "
                f"it is complete"
            )
        if failed is not None:
            advice = "; see docs/object-storage.md" if self.is_remote else ""
            raise UserError(f"{self}: cannot be read: {failed}; correct the path or file{advice}")

    @property
    def files(self) -> list["Location"]:
        """The file itself, or all files in the folder or matching the pattern, sorted by path.

        Folders are searched recursively; names in them that begin with _ or . are ignored. A single
        file need not exist. Raises UserError if a folder or pattern has no files.
        """
        paths = self._objects() if self.is_remote else self._local_files()
        if not paths:
            raise UserError(
                f"{self}: no file with data (names that begin with _ or . are ignored); "
                f"add the files, mount the disk, or correct the path"
            )
        return [Location(path) for path in sorted(paths)]

    def _objects(self) -> set[str]:
        with self.reading():
            system, path = self._system_and_path
            if system.get_file_info(path).type != fs.FileType.Directory:
                return {self.configured}
            inside = system.get_file_info(fs.FileSelector(path, recursive=True))
        folder, mark, options = self.configured.partition("?")
        files = (each.path for each in inside if each.type != fs.FileType.Directory)
        below = [each.removeprefix(path.rstrip("/")) for each in files]
        return {
            f"{folder.rstrip('/')}{quote(each, safe='/=')}{mark}{options}"
            for each in below
            if not _HIDDEN.search(each)
        }

    def _local_files(self) -> set[str]:
        # The configured path may be hidden, but not matches of a pattern or files in a folder.
        named, paths = self.configured.rstrip("/"), [self.configured]
        if self.is_missing and glob.has_magic(self.configured):
            named = re.split("[*?[]", named)[0].rpartition("/")[0]
            paths = glob.glob(self.configured, recursive=True)
        files: set[str] = set()
        for path in paths:
            is_folder = os.path.isdir(path)
            below = glob.glob(f"{glob.escape(path)}/**", recursive=True) if is_folder else [path]
            # Broken links are kept, so that reading them raises an error.
            files |= {
                os.path.normpath(each) if is_folder else each
                for each in below
                if not os.path.isdir(each) and not _HIDDEN.search(each.removeprefix(named))
            }
        return files


class TableLocation:
    """The location of a raw table's files; `configured` is the user's path or list of paths.

    A path names a file, a folder or, for local files, a pattern of `glob`. `delimiter` separates
    the values of CSV files; None: a tab in TSV files, a comma in CSV files.
    """

    def __init__(
        self, configured: str | Path | Sequence[str | Path], delimiter: str | None = None
    ) -> None:
        many = [configured] if isinstance(configured, str | Path) else configured
        self._entries = [*map(Location, many)]
        texts = [*map(str, many)]
        self.configured = texts if many is configured else texts[0]
        self.delimiter = delimiter
        self.is_remote = any(entry.is_remote for entry in self._entries)

    def __str__(self) -> str:
        return join_names([*map(str, self._entries)], _MAX_NAMED)

    @property
    def name(self) -> str:
        """The name of the first path, and the number of further paths: `a.csv and 2 more`."""
        more = len(self._entries) - 1
        return self._entries[0].name + (f" and {more} more" if more else "")

    @cached_property
    def files(self) -> list[Location]:
        """The files in row order: paths as listed; the files of each path sorted.

        Raises UserError if a folder or pattern has no file, or if two paths or links name one file.
        """
        return _distinct(file for entry in self._entries for file in entry.files)

    @property
    def missing_files(self) -> list[str]:
        """The configured files that do not exist; empty if any path is remote."""
        return [] if self.is_remote else [str(file) for file in self.files if file.is_missing]

    @property
    def version(self) -> str:
        """A digest of the files' content and order, their partition folders, and the delimiter."""
        versions = [(file.partition_keys, file.version) for file in self.files]
        return digest_of([versions, self.delimiter])


def table_locations(configured: Sequence[str], delimiter: str | None = None) -> list[TableLocation]:
    """A TableLocation for each path; raises UserError if two paths share a file."""
    tables = [TableLocation(path, delimiter) for path in configured]
    _distinct(file for table in tables for file in table.files)
    return tables


def _distinct(named: Iterable[Location]) -> list[Location]:
    files: dict[str, Location] = {}
    for file in named:
        path = file.configured if file.is_remote else os.path.realpath(file.configured)
        if path in files:
            raise UserError(f"{file} is named twice, first as {files[path]}; name each file once")
        files[path] = file
    return [*files.values()]


def content_version(path: Path) -> str:
    """A digest of a local file's content (XXH3, 128 bits), cached until `file_state` changes."""
    cache_file = VERSION_CACHE / f"{digest_of(os.path.realpath(path))[:16]}.json"
    state = file_state(path)
    with suppress(OSError, UserError):
        cached = read_json(cache_file)
        if cached.get("state") == state:
            return str(cached["version"])
    started = time.time_ns()
    with open(path, "rb", buffering=0) as file:
        version = hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
    is_old = max(state["mtime_ns"], state["ctime_ns"]) + MIN_AGE_NS < started
    if is_old and state == file_state(path):
        with suppress(OSError):
            write_json(cache_file, {"path": str(path), "state": state, "version": version})
    return version


def file_state(path: Path) -> dict[str, int]:
    """A file's size, inode, mtime and ctime; each write changes ctime, even if mtime is reset."""
    status = os.stat(path)
    times = {"mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
    return {"size": status.st_size, **times, "inode": status.st_ino}


def object_version(metadata: Mapping[str, bytes], size: int) -> str:
    """The version of an object in a store: a digest of its size and of the digest in `metadata`."""
    digests = ([name, metadata[name].decode()] for name in _DIGESTS if metadata.get(name))
    return digest_of([size, *next(digests, [])])
