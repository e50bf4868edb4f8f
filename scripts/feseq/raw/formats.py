"""The formats of raw files, told by the endings of their names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from ..common.errors import UserError
from . import arrow_file, parquet_file, text_file
from .file import Contents, File, Reading
from .location import Location


class Format(Protocol):
    """A module that reads files of a format."""

    def contents(self, location: Location, version: str, how: Reading) -> Contents:
        """What a file says of itself."""

    def batches(self, file: File, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a file that are read, at most `rows` at once, with these columns."""


# By a pattern of file names in lower case; the first that fits.
_FORMATS: Mapping[str, Format] = {
    r"\.[ct]sv(\.gz)?$": text_file,
    r"\.(arrow|feather|ipc)$": arrow_file,
    "": parquet_file,
}


def format_of(location: Location) -> Format:
    """What reads a file of this name."""
    name = location.name.lower()
    return next(each for pattern, each in _FORMATS.items() if re.search(pattern, name))


def check_one_format(files: Sequence[Location]) -> None:
    """Raise UserError if the files of a table have two formats."""
    for file in files[1:]:
        if format_of(file) is not format_of(files[0]):
            raise UserError(
                f"{files[0]} and {file} are of two formats, as their names say; give the files of "
                f"a table one, and move others away"
            )
