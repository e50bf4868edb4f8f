"""Which files a raw table has: one, a list, or all that a pattern or a folder finds.

The files of a folder are taken in natural order of their paths, part-2 before part-10, whole
folders deep. Names that begin with _ or . are no data: _SUCCESS, _delta_log, .part-0.crc.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, unquote

from ..common.errors import UserError
from .location import Location, is_remote

_MOST_NAMED = 3
_KEY = re.compile("([^=]+)=(.*)")
# What Hive and Spark call the folder of rows without a value.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class TableLocation:
    """Where the files of one raw table lie; `written` is what the user wrote, one text or a list.

    A text is a file, a folder or a pattern (*, ? and [a-z] within a name), local or remote. A
    remote folder ends with a slash. Nothing is looked for before `files` is asked for. Raises
    UserError for a URI that cannot be right, and for remote files beside local ones.
    """

    def __init__(self, written: str | Path | Sequence[str | Path]) -> None:
        several = not isinstance(written, str | Path)
        self._entries = list(map(str, written if several else [written]))  # type: ignore[arg-type]
        self.written = self._entries if several else self._entries[0]
        self.is_remote = is_remote(self._entries[0])
        for entry in self._entries:
            if is_remote(entry) != self.is_remote:
                raise UserError(
                    f"{self}: some of these files are local and some are not; the files of one "
                    f"table lie in one place: copy them"
                )
            if self.is_remote:
                Location(_without_slash(entry))

    def __str__(self) -> str:
        named = ", ".join(self._entries[:_MOST_NAMED])
        more = len(self._entries) - _MOST_NAMED
        return named if more <= 0 else f"{named} and {more} more"

    @property
    def name(self) -> str:
        """The last part of the path or key; of several, that of the first."""
        more = len(self._entries) - 1
        name = Location(_without_slash(self._entries[0])).name
        return f"{name} and {more} more" if more else name

    @cached_property
    def files(self) -> list[Location]:
        """The files in the order of their rows.

        Raises UserError if a folder or a pattern finds none, or a file is found twice. A file that
        is named is not looked for.
        """
        found = [path for entry in self._entries for path in _files_of(entry)]
        seen: set[str] = set()
        for path in found:
            real = path if self.is_remote else os.path.realpath(path)
            if real in seen:
                raise UserError(f"{self}: {path} is found twice; name each file once")
            seen.add(real)
        return [Location(path) for path in found]

    @property
    def missing(self) -> list[str]:
        """The local files that are named and do not exist; no store is asked."""
        return [] if self.is_remote else [str(file) for file in self.files if not file.is_present]

    @property
    def version(self) -> str:
        """What changes with the content of the files, their order and the folders' keys."""
        said = [(hive_keys(file), file.version) for file in self.files]
        if len(said) == 1 and not said[0][0]:
            return said[0][1]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def hive_keys(file: Location) -> dict[str, str | None]:
    """The columns that a file has from the folders key=value directly above it.

    in/day=2/country=KR/part-0.parquet:   {"day": "2", "country": "KR"}
    """
    keys: dict[str, str | None] = {}
    for folder in reversed(file.path.split("/")[:-1]):
        pair = _KEY.fullmatch(folder)
        if pair is None:
            break
        value = None if pair[2] == _NO_VALUE else unquote(pair[2])
        keys = {unquote(pair[1]): value} | keys
    return keys


def _files_of(entry: str) -> Iterator[str]:
    """The files that one text finds."""
    place, options = _without_options(entry)
    is_pattern = any(sign in place for sign in "*?[")
    if place.endswith("/") if is_remote(entry) else Path(place).is_dir():
        yield from _of_folder(_without_slash(entry))
    elif is_pattern and (is_remote(entry) or not os.path.lexists(place)):
        yield from _of_pattern(place, options)
    else:
        yield entry


def _of_folder(folder: str) -> Iterator[str]:
    """All files in a folder and those within."""
    inside = Location(folder).listing(recursive=True)
    names = [name for name, is_folder in inside if not is_folder and not _is_hidden(name)]
    if not names:
        raise UserError(
            f"{folder}: is a folder without a file that holds data (names that begin with _ or . "
            f"do not count); put the files there, mount it, or correct the config"
        )
    for name in sorted(names, key=_natural):
        yield _within(folder, name)


def _of_pattern(place: str, options: str) -> Iterator[str]:
    """The files whose paths match a pattern, and those in folders whose paths do."""
    pieces = place.split("/")
    first = next(i for i, piece in enumerate(pieces) if any(sign in piece for sign in "*?["))
    found = [("/".join(pieces[:first]) or ("/" if first else "."), True)]
    for piece in pieces[first:]:
        found = [
            (_within(folder + options, name), is_inner)
            for folder, is_folder in found
            if is_folder
            for name, is_inner in Location(folder + options).listing()
            if fnmatchcase(name, piece) and (piece[:1] == name[:1] or not _is_hidden(name))
        ]
    if not found:
        raise UserError(f"{place}: this pattern matches no file; put them there or correct it")
    for path, is_folder in sorted(found, key=lambda pair: _natural(pair[0])):
        yield from _of_folder(path) if is_folder else [path]


def _within(folder: str, name: str) -> str:
    """The path or URI of a file in a folder."""
    if not is_remote(folder):
        return os.path.join("" if folder == "." else folder, name)
    place, options = _without_options(folder)
    return f"{place}/{quote(name, safe='/=')}{options}"


def _without_slash(entry: str) -> str:
    place, options = _without_options(entry)
    return (place.rstrip("/") or "/") + options


def _without_options(entry: str) -> tuple[str, str]:
    """A URI and the options behind it, with their question mark."""
    if not is_remote(entry):
        return entry, ""
    place, mark, options = entry.partition("?")
    return place, mark + options


def _is_hidden(name: str) -> bool:
    return any(piece[:1] in ("_", ".") for piece in name.split("/"))


def _natural(name: str) -> list[list[tuple[str, int, str]]]:
    """A path as it is ordered: folder by folder, numbers by their value."""
    return [
        [(text, int(number or 0), number) for text, number in re.findall(r"(\D*)(\d*)", piece)]
        for piece in name.split("/")
    ]
