"""Which raw files a run reads: the user's, or the simulated stand-in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..common.errors import UserError
from ..config.columns import Columns
from .location import Location, TableLocation
from .reading import open_parquet
from .sample_submission import label_name

# The place of a table, or of a file that is none.
RawLocation = TableLocation | Location


@dataclass(frozen=True)
class RawFiles:
    """Where the raw data lie; `why` says what they are simulated for, '' if they are not."""

    train: TableLocation
    test: TableLocation
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

    def has_version(self, location: str | RawLocation) -> bool:
        """True for what counts by its content, whatever its time.

        These are all of the user's files; those of the stand-in count by its settings.
        """
        return not self.simulated or str(location) not in (str(self.train), str(self.test))

    def version(self, location: RawLocation | None) -> str | None:
        """The version of what has one, else None."""
        return location.version if location and self.has_version(location) else None

    def check(self, columns: Columns) -> None:
        """Open the user's files and check what can be checked before hours of training.

        That is what footers and headers say: one source, and all columns in types that can be used
        and compared.
        """
        if self.sample_submission is not None:
            label_name(self.sample_submission, columns.id, columns.label)
        if self.simulated:
            return
        train, test = open_parquet(self.train), open_parquet(self.test)
        if train.is_simulated != test.is_simulated:
            simulated, real = (train, test) if train.is_simulated else (test, train)
            raise UserError(
                f"{simulated.location} was written by the simulation and {real.location} was not; "
                f"real and simulated data are never mixed: take both from one source"
            )
        train.check_columns(columns, columns.label)
        test.check_columns(columns, columns.id)
        test.check_kinds(train, columns)


def local_only(raw: Mapping[str, RawLocation | None]) -> dict[str, str | list[str]]:
    """The paths of those that are local, which Snakemake sees; a table's as a list."""
    local = {name: place for name, place in raw.items() if place and not place.is_remote}
    return {
        name: str(place) if isinstance(place, Location) else list(map(str, place.files))
        for name, place in local.items()
    }


def others_than_local(raw: Mapping[str, RawLocation | None]) -> dict[str, str | list[str] | None]:
    """The others: remote ones, which Snakemake would take for local paths, and None."""
    others = {name: place for name, place in raw.items() if not place or place.is_remote}
    return {name: place.written if place else None for name, place in others.items()}


def locate_raw(raw: Mapping[str, Any]) -> RawFiles:
    """Decide between the user's files and the stand-in; real and simulated never mix.

    A remote file counts as present, and so does a link to a disk that is not mounted: whoever names
    one wants no stand-in. Raises UserError if `files` are asked for and one is missing, or only
    some of them are present.
    """
    train, test = TableLocation(raw["train"]), TableLocation(raw["test"])
    sample = Location(raw["sample_submission"])
    # Its IDs are compared with those of the test file, so it can serve either source.
    given = sample if sample.is_present else None
    why = "raw.source is simulated" if raw["source"] == "simulated" else ""
    missing = [] if why else [*train.missing, *test.missing]
    present = [] if why else [str(table) for table in (train, test) if not table.missing]
    if raw["source"] == "auto" and missing and not present:
        why = f"no {' and no '.join(missing)}"
    if why:
        train, test = (
            TableLocation(f"data/simulated/{name}.parquet") for name in ("train", "test")
        )
        return RawFiles(train, test, given, why)
    if missing:
        also = f" ({present[0]} is not; real and simulated data are never mixed)" if present else ""
        raise UserError(
            f"raw.source is {raw['source']}, and these raw files are missing: "
            f"{', '.join(missing)}{also}; put them there, correct raw.train and raw.test, or set "
            f"raw.source: simulated"
        )
    return RawFiles(train, test, given)
