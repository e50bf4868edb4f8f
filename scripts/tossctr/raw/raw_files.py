"""Which raw files a run reads: the user's, or the simulated stand-in."""

import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..common.errors import UserError
from ..config.columns import Columns
from .location import Location, TableLocation
from .reading import RawTable
from .text_file import ENDINGS, open_csv


@dataclass(frozen=True)
class RawFiles:
    """Where the raw data are; `why` says why they are simulated, '' if they are not.

    `test` is None where there is no such table.
    """

    train: TableLocation
    test: TableLocation | None
    sample_submission: Location | None
    why: str = ""

    @property
    def simulated(self) -> bool:
        """True for the stand-in."""
        return bool(self.why)

    @property
    def warning(self) -> str:
        """The warning that the data are simulated."""
        text = f"SIMULATED DATA: {self.why}, so this run uses the simulated stand-in"
        if self.sample_submission is not None:
            text += f"; {self.sample_submission} is there and must list the simulated IDs"
        return text

    def has_version(self, location: str | Location | TableLocation) -> bool:
        """True for files that count by content: all but the stand-in, which counts by settings."""
        return not self.simulated or str(location) not in (str(self.train), str(self.test))

    def version(self, location: Location | TableLocation | None) -> str | None:
        """The version of what has one, else None."""
        return location.version if location and self.has_version(location) else None

    def check(self, columns: Columns, *named: str) -> None:
        """Open the user's files and check what can be checked before hours of training.

        That is what footers and headers say: one source, and all columns in types that can be used
        and compared. `named` are further columns of the train table. The stand-in may not be there
        yet, and is not opened.
        """
        if self.sample_submission is not None:
            label_name(self.sample_submission, columns.id, columns.label)
        if self.simulated:
            return
        train = RawTable(self.train, columns=columns)
        train.check_columns(columns, columns.label, *named)
        if self.test is None:
            return
        test = RawTable(self.test, columns=columns)
        if train.is_simulated != test.is_simulated:
            simulated, real = (train, test) if train.is_simulated else (test, train)
            raise UserError(
                f"{simulated.location} was written by the simulation and {real.location} was not; "
                f"real and simulated data are never mixed: take both from one source"
            )
        test.check_columns(columns, columns.id)
        test.check_kinds(train, columns)


def locate_raw(raw: Mapping[str, Any], *, has_stand_in: bool = True) -> RawFiles:
    """Decide between the user's files and the stand-in; real and simulated data never mix.

    A remote file counts as present, and so does a link to a disk that is not mounted: a user who
    names one wants no stand-in. Raises UserError if one is missing and there is no stand-in or
    `source` is `files`, or if only some of them are present.
    """
    # A config without files to find names them for the messages.
    find = _default_file if raw["source"] != "simulated" else lambda name, written: written
    train, test = (
        raw[name] and TableLocation(find(name, raw[name]), raw["delimiter"])
        for name in ("train", "test")
    )
    tables = [table for table in (train, test) if table]
    # Its IDs are compared with those of the test file, so it can serve either source.
    sample = raw["sample_submission"] and Location(raw["sample_submission"])
    sample_submission = None if not sample or sample.is_missing else sample
    why = "raw.source is simulated" if raw["source"] == "simulated" else ""
    missing = [] if why else [path for table in tables for path in table.missing]
    present = [] if why else [str(table) for table in tables if not table.missing]
    # Another one than is thought, with Snakemake's --directory.
    where = "" if all(map(os.path.isabs, missing)) else f" in the working folder {os.getcwd()}"
    if raw["source"] == "auto" and has_stand_in and missing and not present:
        why = f"no {' and no '.join(missing)}{where}"
    if why:
        stand_in = [TableLocation(f"data/simulated/{name}.parquet") for name in ("train", "test")]
        return RawFiles(stand_in[0], test and stand_in[1], sample_submission, why)
    if missing:
        instead = ", or set raw.source: simulated; real and simulated data never mix"
        raise UserError(
            f"raw.source is {raw['source']}, and these raw files are missing: "
            f"{', '.join(missing)}{where}; put them there, or correct raw.train and raw.test "
            f"(raw.test: null to do without){instead if has_stand_in else ''}"
        )
    return RawFiles(train, test, sample_submission)


def _default_file(name: str, written: str | list[str]) -> str | list[str]:
    """The file data/raw/<name> of any format, if the default is asked for and is not there.

    Raises UserError if several are there, or one of another ending, such as train.csv.zip.
    """
    stem = f"data/raw/{name}"
    if written != f"{stem}.parquet":
        return written
    endings = (".parquet", *ENDINGS)
    files = sorted(glob.glob(f"{stem}.*"))
    there = [path for path in files if path[len(stem) :].lower() in endings]
    if len(there) > 1:
        raise UserError(
            f"{' and '.join(there)} are there: move all but one away, or name one as "
            f"./{there[0]} in raw.{name}"
        )
    if files and not there:
        raise UserError(
            f"{files[0]}: its ending is none of {', '.join(endings)}: unpack or convert it, or "
            f"move it away"
        )
    return there[0] if there else written


def label_name(location: Location, id_column: str, label_column: str) -> str:
    """The name of the predictions' column: the sample's other column, if there is one.

    `label_column` is the train file's. Raises UserError if the header has no such ID, or several
    columns of other names.
    """
    with location.reading(), open_csv(location, [], only=False) as reader:
        header = reader.schema.names
    others = [name for name in header if name != id_column]
    if id_column in header and (label_column in others or not others):
        return label_column
    if id_column in header and len(others) == 1 and others[0]:
        return others[0]
    raise UserError(
        f"{location}: its header {','.join(header)[:200]!r} should name column "
        f"{id_column!r} and the label, {label_column!r} or a single other name: correct the file, "
        f"columns.id, columns.label or raw.sample_submission"
    )
