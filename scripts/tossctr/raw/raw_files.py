"""Which raw files a run reads: the user's, or the simulated stand-in; the two never mix."""

import glob
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from ..config.columns import Columns
from .formats import CSV_ENDINGS, likely_delimiter, open_csv
from .location import Location, TableLocation
from .reading import RawTable

# Results that record whether their data are simulated, below the results folder.
_RECORDS = ("submission_*.json", "*/*/metrics.json", "*/*/training.json")


@dataclass(frozen=True)
class RawFiles:
    """Where the raw data are; `why` is the reason why they are simulated, '' if they are real.

    `test` is None without a test table.
    """

    train: TableLocation
    test: TableLocation | None
    sample_submission: Location | None
    why: str = ""

    @property
    def simulated(self) -> bool:
        """True if the data are the stand-in."""
        return bool(self.why)

    def has_version(self, location: str | Location | TableLocation) -> bool:
        """True for files that are tracked by content; the stand-in is tracked by its settings."""
        return not self.simulated or str(location) not in (str(self.train), str(self.test))

    def version(self, location: Location | TableLocation | None) -> str | None:
        """The version of a location; None without a location, or for the stand-in."""
        return location.version if location and self.has_version(location) else None

    def check(self, columns: Columns, *named: str) -> None:
        """Check the footers and headers of the user's files, before hours of training.

        The tables must not mix real and simulated data, and their columns must have types that can
        be used and compared. `named` are further columns of the train table. The stand-in may not
        exist yet, so it is not opened.
        """
        if self.sample_submission is not None:
            label_name(self.sample_submission, columns.id, columns.label)
        if self.simulated:
            return
        train = RawTable(self.train, columns=columns)
        train.check_columns(columns, columns.label, *named)
        if self.test is None:
            return
        both = {*map(str, self.train.files)} & {*map(str, self.test.files)}
        if both:
            raise UserError(
                f"{min(both)}: is in raw.train and in raw.test; test rows are not trained on: name "
                f"it once, or set raw.test to null"
            )
        test = RawTable(self.test, columns=columns)
        if train.is_simulated != test.is_simulated:
            simulated, real = (train, test) if train.is_simulated else (test, train)
            raise UserError(
                f"{simulated.location} was written by the simulation and {real.location} was not; "
                f"real and simulated data are never mixed: take both from one source"
            )
        test.check_columns(columns, columns.id)
        test.check_kinds(train, columns)


def check_local(tables: Iterable[TableLocation], columns: Columns, column: str) -> None:
    """Check the columns of the tables that are local and present, `column` among them."""
    for table in tables:
        if not table.is_remote and not table.missing:
            RawTable(table, columns=columns).check_columns(columns, column)


def locate_raw(raw: Mapping[str, Any], *, has_stand_in: bool = True) -> RawFiles:
    """Decide between the user's files and the stand-in.

    A remote file counts as present, and so does a link to a disk that is not mounted: a user who
    names one does not want the stand-in. If a file is missing, raises UserError where `source` is
    `files`, where there is no stand-in, or where the other table is present.
    """
    # Its IDs are compared with the test file's, so a sample can be used with both sources.
    sample = raw["sample_submission"] and Location(raw["sample_submission"])
    sample_submission = None if not sample or sample.is_missing else sample
    why = "raw.source is simulated"
    if raw["source"] != "simulated":
        train, test = (
            raw[name] and TableLocation(_default_file(name, raw[name]), raw["delimiter"])
            for name in ("train", "test")
        )
        tables = [table for table in (train, test) if table]
        missing = [path for table in tables for path in table.missing]
        if not missing:
            return RawFiles(train, test, sample_submission)
        # With Snakemake's --directory, the working folder may not be the one that users expect.
        where = "" if all(map(os.path.isabs, missing)) else f" in the working folder {os.getcwd()}"
        if (
            raw["source"] == "files"
            or not has_stand_in
            or not all(table.missing for table in tables)
        ):
            instead = ", or set raw.source: simulated; real and simulated data never mix"
            raise UserError(
                f"raw.source is {raw['source']}, and these raw files are missing: "
                f"{', '.join(missing)}{where}; put them there, or correct raw.train and raw.test "
                f"(raw.test: null for no test table){instead if has_stand_in else ''}"
            )
        why = f"no {' and no '.join(missing)}{where}"
    train, test = (TableLocation(f"data/simulated/{name}.parquet") for name in ("train", "test"))
    return RawFiles(train, test if raw["test"] else None, sample_submission, why)


def _default_file(name: str, configured: str | list[str]) -> str | list[str]:
    """`configured`; if it is the default, the file of that name in the format that exists.

    Raises UserError if such files exist, but not exactly one in a known format.
    """
    stem = f"data/raw/{name}"
    if configured != f"{stem}.parquet" or not (files := sorted(glob.glob(f"{stem}.*"))):
        return configured
    endings = (".parquet", *CSV_ENDINGS)
    fit = [path for path in files if path.removeprefix(stem).lower() in endings]
    if len(fit) != 1:
        paths = " and ".join(fit or files)
        raise UserError(f"{paths}: leave one file there, with one of {', '.join(endings)}")
    return fit[0]


def label_name(location: Location, id_column: str, label_column: str) -> str:
    """The name of the predictions' column: the sample's column beside the ID, if there is one.

    `label_column` is the train file's label. Raises UserError without an ID column, if the header
    lacks it, or has several other columns and none is the label.
    """
    if not id_column:
        raise UserError(
            f"{location}: a sample submission lists IDs, and columns.id is null: name the ID "
            f"column there, or set raw.sample_submission to null"
        )
    with location.reading():
        header = open_csv(location, delimiter=likely_delimiter(location)).schema.names
    others = [name for name in header if name != id_column]
    if id_column in header and (label_column in others or not others):
        return label_column
    if id_column in header and len(others) == 1 and others[0]:
        return others[0]
    raise UserError(
        f"{location}: its header {','.join(header)[:200]!r} needs column "
        f"{id_column!r} and one other column; of several, one must be {label_column!r}: correct "
        f"the file, columns.id, columns.label or raw.sample_submission"
    )


def refuse_stand_in_over_real(raw: RawFiles, results: Path) -> None:
    """Raise UserError if the stand-in would overwrite results of real data in that folder."""
    paths = [path for pattern in _RECORDS for path in sorted(results.glob(pattern))]
    if raw.simulated and (real := [path for path in paths if _is_real(path)]):
        raise UserError(
            f"{raw.why}, so this run would use the simulated stand-in, but {len(real)} files such "
            f"as {real[0]} were made from real data: nothing was run. Put the raw files back, "
            f"mount the disk, or repeat the options of the first call, such as --config "
            f"table=mine.yaml. For the stand-in, take another folder (snakemake --directory DIR, "
            f"with raw.source: simulated), or delete {results} first"
        )


def _is_real(path: Path) -> bool:
    """True for a result of real data; a file that cannot be read does not count."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["simulated_data"] is False
    except (OSError, ValueError, KeyError, TypeError):
        return False
