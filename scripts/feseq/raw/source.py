"""Which raw files a run reads: the user's, or the simulated stand-in."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..common.errors import UserError
from ..config.columns import Columns
from .location import Location, is_remote
from .reading import RawFile, open_parquet
from .sample_submission import label_name


@dataclass(frozen=True)
class RawFiles:
    """Where the raw data lie; `why` says what they are simulated for, '' if they are not."""

    train: str
    test: str
    sample_submission: str | None
    why: str = ""
    # Each file is looked at once.
    _versions: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def simulated(self) -> bool:
        """True for the stand-in."""
        return bool(self.why)

    @property
    def warning(self) -> str:
        """What to tell the user of the stand-in."""
        text = f"SIMULATED DATA: {self.why}, so this run uses the simulated stand-in"
        if self.sample_submission is not None:
            text += f"; {self.sample_submission} is there and must list the simulated IDs"
        return text

    def has_version(self, location: str) -> bool:
        """True for a file that counts by its content, whatever its time.

        These are all of the user's files; the stand-in counts by its settings.
        """
        return not self.simulated or location == self.sample_submission

    def version(self, location: str | None) -> str | None:
        """The version of a file that has one, else None."""
        if not location or not self.has_version(location):
            return None
        if location not in self._versions:
            self._versions[location] = Location(location).version()
        return self._versions[location]

    def check(self, columns: Columns) -> None:
        """Open the user's files and check what can be checked before hours of training.

        That is what footers and headers say: one source, and all columns in types that can be used
        and compared.
        """
        if self.sample_submission is not None:
            label_name(self.sample_submission, columns.id, columns.label)
        if not self.simulated:
            train, test = open_parquet(self.train), open_parquet(self.test)
            self._versions.update((str(file.location), file.version) for file in (train, test))
            _check_same_origin(train, test)
            train.check_columns(columns, columns.label)
            test.check_columns(columns, columns.id)
            test.check_kinds(train, columns)


def local_only(locations: Mapping[str, str | None]) -> dict[str, str]:
    """Those that are local files, which Snakemake sees."""
    return {name: path for name, path in locations.items() if path and not is_remote(path)}


def others_than_local(locations: Mapping[str, str | None]) -> dict[str, str | None]:
    """The others: remote ones, which Snakemake would take for local paths, and None."""
    return {name: path for name, path in locations.items() if not path or is_remote(path)}


def locate_raw(raw: Mapping[str, str]) -> RawFiles:
    """Decide between the user's files and the stand-in; real and simulated never mix.

    A remote file counts as present: whoever names one wants no stand-in. Raises UserError if
    `files` are asked for and one is missing, or only one of two is present.
    """
    files = [Location(raw["train"]), Location(raw["test"])]
    sample = Location(raw["sample_submission"])
    # Its IDs are compared with those of the test file, so it can serve either source.
    given = str(sample) if sample.is_present else None
    if raw["source"] == "simulated":
        return _stand_in("raw.source is simulated", given)
    missing = [str(file) for file in files if not file.is_present]
    for path in missing:
        _refuse_what_is_no_file(path)
    if raw["source"] == "auto" and len(missing) == 2:
        return _stand_in(f"no {' and no '.join(missing)}", given)
    if missing:
        present = [str(file) for file in files if file.is_present]
        also = f" ({present[0]} is not; real and simulated data are never mixed)" if present else ""
        raise UserError(
            f"raw.source is {raw['source']}, and these raw files are missing: "
            f"{', '.join(missing)}{also}; put them there, correct raw.train and raw.test, or set "
            f"raw.source: simulated"
        )
    return RawFiles(raw["train"], raw["test"], given)


def _refuse_what_is_no_file(path: str) -> None:
    """Raise UserError for a link to nowhere or a folder: the user has data, perhaps unmounted."""
    if os.path.lexists(path):
        what = "a folder" if Path(path).is_dir() else f"a link to {os.path.realpath(path)}"
        raise UserError(
            f"{path}: is {what}, and not a file; mount or repair it, change raw.train and "
            f"raw.test, or set raw.source: simulated"
        )


def _stand_in(why: str, sample_submission: str | None) -> RawFiles:
    folder = "data/simulated"
    return RawFiles(f"{folder}/train.parquet", f"{folder}/test.parquet", sample_submission, why)


def _check_same_origin(train: RawFile, test: RawFile) -> None:
    """Raise UserError if one of the two files is real and the other was simulated."""
    if train.is_simulated != test.is_simulated:
        simulated, real = (train, test) if train.is_simulated else (test, train)
        raise UserError(
            f"{simulated.location} was written by the simulation and {real.location} was not; real "
            f"and simulated data are never mixed: take both from one source"
        )
