"""Which raw files a run reads: the user's, or the simulated stand-in."""

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import UserError
from .location import check_location, first_bytes, is_remote, version_of
from .reading import check_same_origin

_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class RawFiles:
    """Where the raw data lie; `reason` says in a sentence why they are simulated."""

    train: str
    test: str
    sample_submission: str | None
    simulated: bool
    reason: str = ""

    def has_version(self, location: str) -> bool:
        """True for a file that counts by its content, whatever its time.

        These are the user's parquet files and all remote ones. The stand-in counts by its settings,
        and Snakemake sees a local sample submission.
        """
        is_users = not self.simulated and location in (self.train, self.test)
        return is_users or is_remote(location)

    def version(self, location: str | None) -> str | None:
        """The version of a file that has one, else None."""
        return version_of(location) if location and self.has_version(location) else None


def local_only(locations: Mapping[str, str | None]) -> dict[str, str]:
    """Those that are local files, which Snakemake sees."""
    return {name: path for name, path in locations.items() if path and not is_remote(path)}


def others_than_local(locations: Mapping[str, str | None]) -> dict[str, str | None]:
    """The others: remote ones, which Snakemake would take for local paths, and None."""
    return {name: path for name, path in locations.items() if not path or is_remote(path)}


def locate_raw(raw: Mapping[str, str]) -> RawFiles:
    """Decide between the user's files and the stand-in; real and simulated never mix.

    A remote file counts as there: who names one wants no stand-in. Raises UserError if `files` are
    asked for and one is missing, or only one of two is there.
    """
    files = (raw["train"], raw["test"])
    for location in (*files, raw["sample_submission"]):
        check_location(location)
    local = [path for path in files if not is_remote(path)]
    # A link to nowhere, or a folder, is no reason to go on without the user's data.
    for path in local:
        if os.path.lexists(path) and not Path(path).is_file() and raw["source"] != "simulated":
            what = "a folder" if Path(path).is_dir() else f"a link to {os.path.realpath(path)}"
            raise UserError(
                f"{path}: is {what}, and not a file; mount or mend it, change raw.train and "
                f"raw.test, or set raw.source: simulated"
            )
    missing = [path for path in local if not Path(path).is_file()]
    # Its IDs are checked when the submission is written, so it can serve either source.
    given = raw["sample_submission"]
    sample = given if is_remote(given) or Path(given).is_file() else None
    if raw["source"] == "simulated" or (raw["source"] == "auto" and len(missing) == 2):
        reason = (
            "raw.source is simulated"
            if raw["source"] == "simulated"
            else f"no {' and no '.join(files)}"
        )
        reason = f"SIMULATED DATA: {reason}, so this run uses the simulated stand-in"
        if sample is not None:
            reason += f"; {sample} is there and must list the simulated IDs"
        return RawFiles(
            "data/simulated/train.parquet", "data/simulated/test.parquet", sample, True, reason
        )
    if missing:
        there = [path for path in files if path not in missing]
        also = f" ({there[0]} is not; real and simulated data are never mixed)" if there else ""
        raise UserError(
            f"raw.source is {raw['source']}, and these raw files are missing: "
            f"{', '.join(missing)}{also}; put them there, correct raw.train and raw.test, or set "
            f"raw.source: simulated"
        )
    return RawFiles(*files, sample, False)


def check_raw(raw: RawFiles, id_column: str) -> None:
    """Before hours of training rather than after them: open the files that are the user's."""
    if raw.sample_submission is not None:
        _check_sample_header(raw.sample_submission, id_column)
    if not raw.simulated:
        check_same_origin(raw.train, raw.test)


def _check_sample_header(location: str, id_column: str) -> None:
    head = first_bytes(location, _HEADER_BYTES).decode("utf-8-sig", errors="replace")
    header = next(csv.reader(io.StringIO(head, newline="")), [])
    if id_column not in header:
        raise UserError(
            f"{location}: its header {','.join(header)!r} has no column {id_column!r}; it should "
            f"name {id_column!r} and the label: correct the file, columns.id or "
            f"raw.sample_submission"
        )
