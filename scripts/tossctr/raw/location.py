"""Where raw files are: local paths, or objects of a store that pyarrow reads (s3://, gs://).

A URI, its options and its credentials are those of `pyarrow.fs.FileSystem.from_uri`.
"""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

import pyarrow as pa
from pyarrow import fs

from ..common.errors import UserError, first_line, some_of
from ..common.files import digest_of
from .version import content_version, file_state, object_version

# One slash is enough: a mistyped s3:/bucket/key is not a local path either. `C:/` is one.
_URI = re.compile(r"[A-Za-z][\w+.-]+:/")
_KEY = re.compile("([^=]+)=(.*)", re.DOTALL)
# What Hive and Spark call the folder of rows without a value.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# Names that are no data, such as _SUCCESS.
_HIDDEN = re.compile("(^|/)[_.]")
_MOST_NAMED = 3
_RETRY_SECONDS = 60


class Location:
    """A file or folder, by a path or a URI; `str` gives it as the user wrote it.

    No request goes to a store before something is read. What fails then is raised as a UserError
    with the location and pyarrow's message.
    """

    def __init__(self, written: str | Path) -> None:
        self.written = str(written)
        self.is_remote = _URI.match(self.written) is not None

    def __str__(self) -> str:
        return self.written

    @cached_property
    def _place(self) -> tuple[fs.FileSystem, str]:
        """The file system and the path in it."""
        if not self.is_remote:
            return fs.LocalFileSystem(), self.written
        uri = self.written
        if uri.startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in uri:
            # Google's client would try for a quarter of an hour, and no signal ends it meanwhile.
            uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds={_RETRY_SECONDS}"
        with self.reading():
            return fs.FileSystem.from_uri(uri)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self._place[1]).name

    @property
    def is_missing(self) -> bool:
        """True for a local path where nothing is; a broken link and any URI count as present."""
        return not self.is_remote and not os.path.lexists(self.written)

    def state(self) -> object:
        """What changes whenever somebody writes to the file; the file is not read."""
        with self.reading():
            return self.version if self.is_remote else file_state(Path(self.written))

    @cached_property
    def version(self) -> str:
        """A digest of the content at the first call; of a remote file, that of its store."""
        with self.reading():
            if not self.is_remote:
                return content_version(Path(self.written))
            with self.open() as file:
                return object_version(file.metadata(), file.size())

    @property
    def keys(self) -> dict[str, str | None]:
        """The columns that a file has from the folders key=value directly above it.

        in/day=2/country=KR/part-0.parquet:   {"day": "2", "country": "KR"}
        """
        pairs: list[tuple[str, str | None]] = []
        for folder in reversed(self._place[1].split("/")[:-1]):
            pair = _KEY.fullmatch(folder)
            if pair is None:
                break
            pairs.append((unquote(pair[1]), None if pair[2] == _NO_VALUE else unquote(pair[2])))
        return dict(reversed(pairs))

    def open(self) -> pa.NativeFile:
        """The file, opened for reading."""
        with self.reading():
            system, path = self._place
            return system.open_input_file(path)

    @contextmanager
    def open_text(self) -> Iterator[pa.NativeFile]:
        """The bytes of a text file, unpacked if its name ends in .gz."""
        with self.open() as file:
            if self.name.lower().endswith(".gz"):
                with pa.CompressedInputStream(file, "gzip") as stream:
                    yield stream
            else:
                yield file

    @contextmanager
    def reading(self, state: object = None) -> Iterator[None]:
        """Raise a UserError for whatever fails, or if the file is no longer in this state."""
        failed = None
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            # The first line of a binary file may be nearly all of it.
            failed = first_line(error)[:300]
        if state is not None and Location(self.written).state() != state:
            raise UserError(
                f"{self}: was replaced while it was being read; nothing of it was kept: run the "
                f"same command again when it is complete"
            )
        if failed is not None:
            advice = "; see docs/object-storage.md" if self.is_remote else ""
            raise UserError(f"{self}: cannot be read: {failed}; correct the path or file{advice}")

    @property
    def files(self) -> list["Location"]:
        """The file, or those in this folder or of this pattern, in the order of their paths.

        Folders are read at any depth. A file that is named need not exist. Raises UserError if
        there is none; names that begin with _ or . do not count.
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
            system, path = self._place
            if system.get_file_info(path).type != fs.FileType.Directory:
                return {self.written}
            inside = system.get_file_info(fs.FileSelector(path, recursive=True))
        place, mark, options = self.written.partition("?")
        scheme, _, rest = place.partition("://")
        user, at, _ = rest.rpartition("@")
        return {
            f"{scheme}://{user}{at}{quote(each.path, safe='/=')}{mark}{options}"
            for each in inside
            if each.type != fs.FileType.Directory
            and not _HIDDEN.search(each.path.removeprefix(path))
        }

    def _local_files(self) -> set[str]:
        # What is named may be hidden; what a pattern or a folder finds may not.
        named, paths = self.written.rstrip("/"), [self.written]
        if self.is_missing and glob.has_magic(self.written):
            named = re.split("[*?[]", named)[0].rpartition("/")[0]
            paths = glob.glob(self.written, recursive=True)
        files: set[str] = set()
        for path in paths:
            below = [path]
            if is_folder := os.path.isdir(path):
                below = glob.glob(f"{glob.escape(path)}/**", recursive=True)
            # With links to nowhere, whose rows would be missing.
            below = [each for each in below if not os.path.isdir(each)]
            below = [each for each in below if not _HIDDEN.search(each.removeprefix(named))]
            files.update(map(os.path.normpath, below) if is_folder else below)
        return files


class TableLocation:
    """Where the files of one raw table are; `written` is what the user wrote, one text or a list.

    A text names a file, a folder or, for local files, a pattern of `glob`; `files` looks for them.
    `delimiter` separates the values of CSV files; None: their names say it.
    """

    def __init__(
        self, written: str | Path | Sequence[str | Path], delimiter: str | None = None
    ) -> None:
        many = [written] if isinstance(written, str | Path) else written
        self._entries = list(map(Location, many))
        texts = [entry.written for entry in self._entries]
        self.written = texts if many is written else texts[0]
        self.delimiter = delimiter
        self.is_remote = any(entry.is_remote for entry in self._entries)

    def __str__(self) -> str:
        return some_of([entry.written for entry in self._entries], _MOST_NAMED)

    @property
    def name(self) -> str:
        """The last part of the path; of several, that of the first."""
        more = len(self._entries) - 1
        return self._entries[0].name + (f" and {more} more" if more else "")

    @cached_property
    def files(self) -> list[Location]:
        """The files in the order of their rows: of the list, and in it of their paths.

        Raises UserError if a folder or a pattern has no file, or a file occurs twice.
        """
        files = [file for entry in self._entries for file in entry.files]
        _check_once(files, self)
        return files

    @property
    def missing(self) -> list[str]:
        """The local files that are named and do not exist; no store is asked."""
        return [] if self.is_remote else [str(file) for file in self.files if file.is_missing]

    @property
    def version(self) -> str:
        """A digest of the content of the files, their order, the folders' keys, the delimiter."""
        versions = [(file.keys, file.version) for file in self.files]
        if self.delimiter is not None:
            return digest_of([versions, self.delimiter])
        if len(versions) == 1 and not versions[0][0]:
            return versions[0][1]
        return digest_of(versions)


def tables_of(written: Sequence[str], delimiter: str | None = None) -> list[TableLocation]:
    """A table for each path; raises UserError if two of them have a file in common."""
    tables = [TableLocation(path, delimiter) for path in written]
    _check_once([file for table in tables for file in table.files], ", ".join(written))
    return tables


def _check_once(files: Sequence[Location], named: object) -> None:
    """Raise UserError if a file, or a link to it, occurs twice."""
    seen: set[str] = set()
    for file in files:
        place = file.written if file.is_remote else os.path.realpath(file.written)
        if place in seen:
            raise UserError(f"{named}: {file} is found twice; name each file once")
        seen.add(place)
