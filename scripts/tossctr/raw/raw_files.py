"""Chooses the raw files of a run: the user's or the simulated stand-in, never a mixture."""

import glob
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from ..config.columns import Columns
from .formats import CSV_ENDINGS, open_csv
from .location import Location, TableLocation
from .reading import RawTable

# Patterns of result files that record whether their data are simulated.
_RECORDS = ("submission_*.json", "*/*/metrics.json", "*/*/training.json")


@dataclass(frozen=True)
class RawFiles:
    """Where a run reads its raw data: the user's files, or the simulated stand-in for them.

    `why_simulated` is the reason for using the stand-in; '' for the user's files.
    """

    train: TableLocation
    test: TableLocation | None
    sample_submission: Location | None
    why_simulated: str = ""

    @property
    def is_simulated(self) -> bool:
        """True if the data are simulated, not the user's files."""
        return bool(self.why_simulated)

    def has_version(self, location: str | Location | TableLocation) -> bool:
        """True if `version` digests the content at `location`; False for a simulated table."""
        return not self.is_simulated or str(location) not in (str(self.train), str(self.test))

    def version(self, location: Location | TableLocation | None) -> str | None:
        """A digest of the content at `location`; None for a simulated table, or for None."""
        return location.version if location and self.has_version(location) else None

    def check(self, columns: Columns, *train_columns: str) -> None:
        """Raise UserError if the user's files lack columns, or contradict each other.

        `train_columns` names further columns that the train table must have. If the run simulates
        its tables, they are not opened, since they may not exist yet.
        """
        if self.sample_submission is not None:
            prediction_column(self.sample_submission, columns.id, columns.label)
        if self.is_simulated:
            return
        train = RawTable(self.train, columns=columns)
        train.check_columns(columns, columns.label, *train_columns)
        if self.test is None:
            return
        both = {*map(str, self.train.files)} & {*map(str, self.test.files)}
        if both:
            raise UserError(
                f"{min(both)}: this file is in raw.train and in raw.test; remove it from one of "
                f"them, or set `raw.test` to null"
            )
        test = RawTable(self.test, columns=columns)
        if train.is_simulated != test.is_simulated:
            simulated, real = (train, test) if train.is_simulated else (test, train)
            raise UserError(
                f"{simulated.location} is simulated and {real.location} is not; real and "
                f"simulated data are never mixed: give two files of one source"
            )
        test.check_columns(columns, columns.id)
        test.check_same_types(train, columns)


def check_local_tables(tables: Iterable[TableLocation], columns: Columns, column: str) -> None:
    """Raise UserError if a table lacks `column` or a feature, or a feature has an unusable type.

    Remote tables, and tables with missing files, are not checked.
    """
    for table in tables:
        if not table.is_remote and not table.missing_files:
            RawTable(table, columns=columns).check_columns(columns, column)


def locate_raw(raw: Mapping[str, Any], *, has_stand_in: bool = True) -> RawFiles:
    """Choose between the user's files and simulated data, by `source` in the config's block `raw`.

        files        the user's files
        simulated    simulated data
        auto         the user's files; simulated data if all tables are missing

    Without `has_stand_in`, `auto` never chooses simulated data. Raises UserError if files of the
    user are missing; remote files and broken links (disks that are not mounted) count as existing.
    """
    # The sample is used with both sources: its IDs are compared with those of the test table.
    sample = raw["sample_submission"] and Location(raw["sample_submission"])
    sample_submission = None if not sample or sample.is_missing else sample
    why_simulated = "raw.source is simulated"
    if raw["source"] != "simulated":
        train, test = (
            raw[name] and TableLocation(_file_of_any_format(name, raw[name]), raw["delimiter"])
            for name in ("train", "test")
        )
        tables = [table for table in (train, test) if table]
        missing = [path for table in tables for path in table.missing_files]
        if not missing:
            return RawFiles(train, test, sample_submission)
        # With Snakemake's --directory, the working folder may be unexpected.
        where = "" if all(map(os.path.isabs, missing)) else f" in the working folder {os.getcwd()}"
        if (
            raw["source"] == "files"
            or not has_stand_in
            or not all(table.missing_files for table in tables)
        ):
            instead = ", or set `raw.source: simulated` to use simulated data for both"
            raise UserError(
                f"raw.source is {raw['source']}, but raw files are missing: "
                f"{', '.join(missing)}{where}; add them, or correct `raw.train` and `raw.test` "
                f"(null: no test table){instead if has_stand_in else ''}"
            )
        why_simulated = f"no {' and no '.join(missing)}{where}"
    train, test = (TableLocation(f"data/simulated/{name}.parquet") for name in ("train", "test"))
    return RawFiles(train, test if raw["test"] else None, sample_submission, why_simulated)


def _file_of_any_format(name: str, configured: str | list[str]) -> str | list[str]:
    """`configured`; if that is the default path, the existing file data/raw/{name}.* instead.

    Raises UserError if such files exist, but not exactly one has a known format.
    """
    stem = f"data/raw/{name}"
    if configured != f"{stem}.parquet" or not (files := sorted(glob.glob(f"{stem}.*"))):
        return configured
    endings = (".parquet", *CSV_ENDINGS)
    known = [path for path in files if path.removeprefix(stem).lower() in endings]
    if len(known) != 1:
        paths = " and ".join(known or files)
        raise UserError(f"{paths}: keep exactly one file that ends in one of {', '.join(endings)}")
    return known[0]


def prediction_column(location: Location, id_column: str, label_column: str) -> str:
    """The name of a submission's prediction column, from the sample submission at `location`.

        the sample has `label_column`       `label_column`, the train table's label
        the sample has only IDs             `label_column`
        it has IDs and one other column     that column

    Raises UserError in all other cases.
    """
    if not id_column:
        raise UserError(
            f"{location}: a sample submission needs an ID column, but `columns.id` is null; set "
            f"`columns.id`, or set `raw.sample_submission` to null"
        )
    with location.reading():
        header = open_csv(location).schema.names
    other_names = [name for name in header if name != id_column]
    if id_column in header and (label_column in other_names or not other_names):
        return label_column
    if id_column in header and len(other_names) == 1 and other_names[0]:
        return other_names[0]
    raise UserError(
        f"{location}: the header {','.join(header)[:200]!r} must have the ID column "
        f"{id_column!r} and, beside it, {label_column!r}, one other column or none; "
        f"correct the file, or `columns.id`, `columns.label` or `raw.sample_submission`"
    )


def protect_real_results(raw: RawFiles, results: Path) -> None:
    """Raise UserError if simulated data would overwrite results of real data in `results`."""
    paths = [path for pattern in _RECORDS for path in sorted(results.glob(pattern))]
    if raw.is_simulated and (real := [path for path in paths if _is_real(path)]):
        raise UserError(
            f"{raw.why_simulated}, so this run would simulate data and overwrite results of "
            f"real data, such as {real[0]}. Put the raw files back, or repeat the options of the "
            f"earlier run, such as --config table=mine.yaml. For simulated data, use another "
            f"folder (snakemake --directory DIR) with `raw.source: simulated`"
        )


def _is_real(path: Path) -> bool:
    """True for a result of real data; False for a file that cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["simulated_data"] is False
    except (OSError, ValueError, KeyError, TypeError):
        return False
