"""Locations and versions of raw files: local paths, or objects of a store (s3://, gs://).

URIs, their options and credentials work as in `pyarrow.fs.FileSystem.from_uri`. A version changes
with a file's content, not with its modification time. A local file's version is a digest of all its
bytes, cached until the file system shows a write to the file.
"""

import glob
import hashlib
import logging
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

from ..common.errors import UserError, first_line, shortened_list
from ..common.files import digest_of, read_json, write_json

logger = logging.getLogger(__name__)

# One slash is enough, so a mistyped s3:/bucket/key counts as a URI. `C:/` is a local path.
_URI = re.compile(r"[A-Za-z][\w+.-]+:/")
# What Hive and Spark write for a missing value in a folder's name.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# Names of files without data, such as _SUCCESS.
_HIDDEN = re.compile("(^|/)[_.]")
_MAX_NAMED = 3
# Relative to the working folder; Snakemake keeps its records of files there, too.
REMEMBERED = Path(".snakemake/raw_versions")
# Files of at least this size take a while to read, so the log names them.
_LARGE_BYTES = 1 << 30
# File times are coarse: two writes in quick succession can leave the same time.
SETTLED_NS = 2_000_000_000
# Metadata that change with an object's content, the best first: Google's two digests, S3's, a time.
_DIGESTS = ("md5Hash", "crc32c", "ETag", "Last-Modified")


class Location:
    """A file or folder, by a path or a URI; `str` gives it as the user wrote it.

    No request is sent to a store before something is read. Errors within `reading` are raised as a
    UserError with the location and pyarrow's message.
    """

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
            # Google's client would retry for a quarter of an hour, and no signal interrupts it.
            uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds=60"
        with self.reading():
            return fs.FileSystem.from_uri(uri)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self._system_and_path[1]).name

    @property
    def is_missing(self) -> bool:
        """True for a local path that does not exist; broken links and URIs count as present."""
        return not self.is_remote and not os.path.lexists(self.configured)

    def state(self) -> object:
        """A value that changes with every write to the file; the file is not read."""
        with self.reading():
            return self.version if self.is_remote else file_state(Path(self.configured))

    @cached_property
    def version(self) -> str:
        """A digest of the content at the first call; for a remote file, its store's digest."""
        with self.reading():
            if not self.is_remote:
                return content_version(Path(self.configured))
            with self.open() as file:
                return object_version(file.metadata(), file.size())

    @property
    def keys(self) -> dict[str, str | None]:
        """The columns that the folders key=value directly above a file add to it.

        in/day=2/country=KR/part-0.parquet:   {"day": "2", "country": "KR"}
        """
        folders = reversed(self._system_and_path[1].split("/")[:-1])
        pairs = [folder.split("=", 1) for folder in takewhile(re.compile("[^=]+=").match, folders)]
        return {
            unquote(key): None if value == _NO_VALUE else unquote(value)
            for key, value in reversed(pairs)
        }

    def open(self) -> pa.NativeFile:
        """The file, opened for reading."""
        system, path = self._system_and_path
        return system.open_input_file(path)

    def open_text(self) -> pa.NativeFile:
        """The bytes of a text file, unpacked if its name ends in .gz."""
        system, path = self._system_and_path
        packing = "gzip" if path.lower().endswith(".gz") else None
        return system.open_input_stream(path, compression=packing)

    @contextmanager
    def reading(self, state: object = None) -> Iterator[None]:
        """Raise a UserError if the block fails, or if the file is no longer in this state."""
        failed = None
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            # The first line of a binary file may be very long.
            failed = first_line(error)[:300]
        if state is not None and Location(self.configured).state() != state:
            raise UserError(
                f"{self}: was replaced while it was being read; nothing of it was kept: run the "
                f"same command again when it is complete"
            )
        if failed is not None:
            advice = "; see docs/object-storage.md" if self.is_remote else ""
            raise UserError(f"{self}: cannot be read: {failed}; correct the path or file{advice}")

    @property
    def files(self) -> list["Location"]:
        """The file, or the files in this folder or of this pattern, sorted by path.

        Folders are searched at any depth; names in them that begin with _ or . are ignored. If the
        location is a file, it need not exist. Raises UserError if there are no files.
        """
        paths = self._objects() if self.is_remote else self._local_files()
        if not paths:
            raise UserError(
                f"{self}: no file with data is there (names that begin with _ or . are "
                f"ignored); put the files there, mount the disk, or correct the path"
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
        # A named path may be hidden; matches of a pattern and files in a folder may not.
        named, paths = self.configured.rstrip("/"), [self.configured]
        if self.is_missing and glob.has_magic(self.configured):
            named = re.split("[*?[]", named)[0].rpartition("/")[0]
            paths = glob.glob(self.configured, recursive=True)
        files: set[str] = set()
        for path in paths:
            is_folder = os.path.isdir(path)
            below = glob.glob(f"{glob.escape(path)}/**", recursive=True) if is_folder else [path]
            # Broken links are kept: without an error, their rows would be missing.
            files |= {
                os.path.normpath(each) if is_folder else each
                for each in below
                if not os.path.isdir(each) and not _HIDDEN.search(each.removeprefix(named))
            }
        return files


class TableLocation:
    """The location of one raw table's files; `configured` is one text or a list from the user.

    A text names a file, a folder or, for local files, a pattern of `glob`; `files` looks for them.
    `delimiter` separates the values of CSV files; None: a tab in TSV files, else a comma.
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
        return shortened_list([*map(str, self._entries)], _MAX_NAMED)

    @property
    def name(self) -> str:
        """The last part of the first path, and the number of further paths."""
        more = len(self._entries) - 1
        return self._entries[0].name + (f" and {more} more" if more else "")

    @cached_property
    def files(self) -> list[Location]:
        """The files in row order: entries as listed, and the files of an entry sorted by path.

        Raises UserError if a folder or a pattern has no file, or a file or a link to it occurs
        twice.
        """
        return _distinct(file for entry in self._entries for file in entry.files)

    @property
    def missing(self) -> list[str]:
        """The named local files that do not exist; no request is sent to a store."""
        return [] if self.is_remote else [str(file) for file in self.files if file.is_missing]

    @property
    def version(self) -> str:
        """A digest of the files' content and order, the folders' keys and the delimiter."""
        versions = [(file.keys, file.version) for file in self.files]
        if self.delimiter is not None:
            return digest_of([versions, self.delimiter])
        if len(versions) == 1 and not versions[0][0]:
            return versions[0][1]
        return digest_of(versions)


def tables_of(configured: Sequence[str], delimiter: str | None = None) -> list[TableLocation]:
    """A table for each path; raises UserError if two of them have a file in common."""
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
    """The XXH3 digest (128 bits) of a file's content, cached by path and `file_state`."""
    memory = REMEMBERED / f"{digest_of(os.path.realpath(path))[:16]}.json"
    state = file_state(path)
    with suppress(OSError, UserError):
        remembered = read_json(memory)
        if remembered.get("state") == state:
            return str(remembered["version"])
    if state["size"] >= _LARGE_BYTES:
        logger.info("%s: new or touched, reading its %s bytes", path, f"{state['size']:,}")
    started = time.time_ns()
    with open(path, "rb", buffering=0) as file:
        version = hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
    is_settled = max(state["mtime_ns"], state["ctime_ns"]) + SETTLED_NS < started
    if is_settled and state == file_state(path):
        with suppress(OSError):
            write_json(memory, {"path": str(path), "state": state, "version": version})
    return version


def file_state(path: Path) -> dict[str, int]:
    """A file's size, inode and times; one is ctime, which programs cannot set back."""
    status = os.stat(path)
    times = {"mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
    return {"size": status.st_size, **times, "inode": status.st_ino}


def object_version(metadata: Mapping[str, bytes], size: int) -> str:
    """An object's version: a digest of its size and of the digest that its store keeps."""
    digests = ([name, metadata[name].decode()] for name in _DIGESTS if metadata.get(name))
    return digest_of([size, *next(digests, [])])
