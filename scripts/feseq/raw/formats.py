"""The formats of raw files, told by the endings of their names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from ..common.errors import UserError
from . import parquet_file, text_file
from .file import Contents, File, Reading
from .location import Location


class Format(Protocol):
    """A module that reads files of a format."""

    def contents(self, location: Location, version: str, how: Reading) -> Contents:
        """What a file says of itself."""

    def batches(self, file: File, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a file that are read, at most `rows` at once, with these columns."""


# By the endings of file names in lower case. A file of another ending is read as parquet.
FORMATS: Mapping[str, Format] = {
    ".parquet": parquet_file,
    **dict.fromkeys((".csv", ".csv.gz", ".tsv", ".tsv.gz"), text_file),
}


def format_of(location: Location) -> Format:
    """What reads a file of this name."""
    name = location.name.lower()
    return next((FORMATS[end] for end in FORMATS if name.endswith(end)), parquet_file)


def check_one_format(files: Sequence[Location]) -> None:
    """Raise UserError if the files of a table have two formats."""
    for file in files[1:]:
        if format_of(file) is not format_of(files[0]):
            raise UserError(
                f"{files[0]} and {file} are of two formats, as their names say; give the files of "
                f"a table one, and move others away"
            )
