"""Where raw files lie: local paths, or objects of a store that pyarrow reads (s3://, gs://).

A URI, its options and its credentials are those of `pyarrow.fs.FileSystem.from_uri`.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from ..common.errors import UserError, first_line
from .version import content_version, digest, object_version

# One slash is enough: a mistyped s3:/bucket/key is no local path either. `C:/` is one.
_URI = re.compile(r"[A-Za-z][\w+.-]+:/")
_KEY = re.compile("([^=]+)=(.*)")
# What Hive and Spark call the folder of rows without a value.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_MOST_NAMED = 3
_RETRY_SECONDS = 60


class Location:
    """A file or folder, by a path or a URI; `str` gives it as the user wrote it, file:/x as /x.

    No store is asked before something is read. Whatever then fails is raised as a UserError with
    the location and pyarrow's message.
    """

    def __init__(self, written: str | Path) -> None:
        self.written = _local(str(written))
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
            # Its client would try for a quarter of an hour, and no signal ends it meanwhile.
            uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds={_RETRY_SECONDS}"
        with self.reading():
            return fs.FileSystem.from_uri(uri)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self._place[1]).name

    @property
    def is_missing(self) -> bool:
        """True for a local path where nothing is; links to nowhere are there, as are all URIs."""
        return not self.is_remote and not os.path.lexists(self.written)

    @cached_property
    def version(self) -> str:
        """A digest of the content when it was first asked for, a store's where it is remote."""
        with self.reading():
            self._require_file()
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
        self._require_file()
        with self.reading():
            system, path = self._place
            return system.open_input_file(path)

    def _require_file(self) -> None:
        """Raise UserError for a folder, and for a pipe, which would be waited for."""
        if not self.is_remote and os.path.exists(self.written) and not os.path.isfile(self.written):
            raise UserError(f"{self}: is no file that can be read in parts")

    @contextmanager
    def reading(self, version: str | None = None) -> Iterator[None]:
        """Raise a UserError for whatever fails, or if the file no longer has this version."""
        failed = None
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            # The first line of a binary file may be nearly all of it.
            failed = first_line(error)[:300]
        if version is not None and Location(self.written).version != version:
            raise UserError(
                f"{self}: was replaced while it was being read; nothing of it was kept: run the "
                f"same command again when it is complete"
            )
        if failed is not None:
            raise UserError(
                f"{self}: cannot be read: {failed}; correct the path or copy the file again"
                + "; see docs/object-storage.md" * self.is_remote
            )

    def matches(self, pieces: Sequence[str]) -> list["Location"]:
        """The files whose paths below this one match the pieces of a pattern, in order of path.

        A folder that matches, or this one where there are no pieces, gives all files in it. Names
        that begin with _ or . are no data (_SUCCESS, _delta_log), unless the pattern says so.
        """
        system, path = self._place

        def inside(info: fs.FileInfo, recursive: bool = False) -> list[fs.FileInfo]:
            if info.type != fs.FileType.Directory:
                return []
            found = system.get_file_info(fs.FileSelector(info.path, recursive=recursive))
            if self.is_remote:
                return found
            # Arrow leaves out links to nowhere, whose rows would be missing without a word.
            folders = [info, *(i for i in found if recursive and i.type == fs.FileType.Directory)]
            known = {os.path.normpath(i.path) for i in found}
            there = (
                f"{folder.path}/{name}" for folder in folders for name in os.listdir(folder.path)
            )
            return found + [fs.FileInfo(p) for p in there if os.path.normpath(p) not in known]

        with self.reading():
            found = [system.get_file_info(path)]
            if not pieces and found[0].type != fs.FileType.Directory:
                return [self]
            for piece in pieces:
                found = [
                    info
                    for info in (info for folder in found for info in inside(folder))
                    if fnmatchcase(info.base_name, piece)
                    and (piece[0] == info.base_name[0] or not _is_hidden(info.base_name))
                ]
            files = [info.path for info in found if info.type != fs.FileType.Directory]
            for folder in found:
                below = inside(folder, recursive=True)
                paths = [i.path for i in below if i.type != fs.FileType.Directory]
                files += [path for path in paths if not _is_hidden(path[len(folder.path) :])]
        return [Location(self._written_as(path)) for path in sorted(files)]

    def _written_as(self, path: str) -> str:
        """A path of this file system, as a user would write it."""
        if not self.is_remote:
            return os.path.normpath(path)
        place, mark, options = self.written.partition("?")
        scheme, _, rest = place.partition("://")
        user, at, _ = rest.rpartition("@")
        return f"{scheme}://{user}{at}{quote(path, safe='/=')}{mark}{options}"


class TableLocation:
    """Where the files of one raw table lie; `written` is what the user wrote, one text or a list.

    A text is a file, a folder or a pattern (*, and locally ? and [a-z], within a name). `files`
    looks for them. Raises UserError for remote files beside local ones.
    """

    def __init__(self, written: str | Path | Sequence[str | Path]) -> None:
        many = [written] if isinstance(written, str | Path) else written
        self._entries = list(map(Location, many))
        texts = [entry.written for entry in self._entries]
        self.written = texts if many is written else texts[0]
        self.is_remote = self._entries[0].is_remote
        if any(entry.is_remote != self.is_remote for entry in self._entries):
            raise UserError(
                f"{self}: some of these files are local and some are not; the files of one table "
                f"lie in one place: copy them"
            )

    def __str__(self) -> str:
        named = ", ".join(map(str, self._entries[:_MOST_NAMED]))
        more = len(self._entries) - _MOST_NAMED
        return named if more <= 0 else f"{named} and {more} more"

    @property
    def name(self) -> str:
        """The last part of the path; of several, that of the first."""
        more = len(self._entries) - 1
        return self._entries[0].name + (f" and {more} more" if more else "")

    @cached_property
    def files(self) -> list[Location]:
        """The files in the order of their rows: of the list, and in it of their paths.

        Raises UserError if a folder or a pattern finds none, or a file is found twice.
        """
        found = [file for entry in self._entries for file in _files_of(entry)]
        _check_once(found, self)
        return found

    @property
    def missing(self) -> list[str]:
        """The local files that are named and do not exist; no store is asked."""
        return [] if self.is_remote else [str(file) for file in self.files if file.is_missing]

    @property
    def version(self) -> str:
        """A digest of the content of the files, their order and the folders' keys."""
        versions = [(file.keys, file.version) for file in self.files]
        if len(versions) == 1 and not versions[0][0]:
            return versions[0][1]
        return digest(json.dumps(versions))


def tables_of(written: Sequence[str]) -> list[TableLocation]:
    """A table for each path; raises UserError if two of them have a file in common."""
    tables = list(map(TableLocation, written))
    _check_once([file for table in tables for file in table.files], ", ".join(written))
    return tables


def _check_once(files: Sequence[Location], named: object) -> None:
    seen: set[object] = set()
    for file in files:
        identity: object = file.written
        if not file.is_remote and os.path.exists(file.written):
            state = os.stat(file.written)
            identity = state.st_dev, state.st_ino
        if identity in seen:
            raise UserError(f"{named}: {file} is found twice; name each file once")
        seen.add(identity)


def _local(written: str) -> str:
    """The path of a file URI of this machine; others as they are."""
    uri = urlsplit(written) if written[:6].lower() == "file:/" else None
    return unquote(uri.path) if uri and uri.netloc in ("", "localhost") else written


def _files_of(entry: Location) -> list[Location]:
    """The files of one path, folder or pattern; a named file need not exist."""
    written, remote = entry.written, entry.is_remote
    place, mark, options = written.partition("?") if remote else (written, "", "")
    pieces = place.rstrip("/").split("/")
    if any("**" in piece for piece in pieces) and (remote or entry.is_missing):
        raise UserError(f"{entry}: ** is no pattern; name the folder above, which is read whole")
    patterns = [
        i for i, piece in enumerate(pieces) if re.search(r"\*" if remote else r"[*?[]", piece)
    ]
    if not patterns or (not remote and not entry.is_missing):
        found = entry.matches([])
    else:
        above = "/".join(pieces[: patterns[0]]) or ("/" if patterns[0] else ".")
        found = Location(f"{above}{mark}{options}").matches(pieces[patterns[0] :])
    if not found:
        raise UserError(
            f"{entry}: no file with data is found there (names that begin with _ or . do not "
            f"count); put the files there, mount the disk, or correct raw.train and raw.test"
        )
    return found


def _is_hidden(path: str) -> bool:
    return any(piece[:1] in ("_", ".") for piece in path.split("/"))
