"""Splits rows into train and validation rows by time, or by group.

All rows with the same time or group are in the same split.
"""

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from ..common.errors import UserError, first_line
from ..config.declared import SettingsBlock
from ..config.names import FOLDS
from ..raw.reading import BATCH_ROWS, RawTable
from ..raw.values import as_text, type_name

logger = logging.getLogger(__name__)

# The splits and their numbers. Validation rows are held out to choose epoch, settings and weights,
# and to compute metrics.
SPLITS = ("train", "validation")
TRAIN, VALIDATION = 0, 1
# The maximum number of periods.
PERIODS = 8


class Sampling(SettingsBlock):
    """Which rows become validation rows: about the share `valid_share`.

        with a column `time`     the newest rows
        with a column `group`    all rows of random groups
        with neither             random rows

    With `is_auto`, a column is used only if it has several values, and `time` is preferred.
    """

    time: str | None = None
    group: str | None = None
    valid_share: float = 0.1
    seed: int = 42
    is_auto: bool = False

    @property
    def is_random(self) -> bool:
        """True if validation rows are drawn at random."""
        return self.time is None and self.group is None


def read_split_columns(
    file: RawTable, sampling: Sampling
) -> tuple[np.ndarray | None, np.ndarray | None, Sampling]:
    """Read the times or the groups by which `file` is split, and return (times, groups, sampling).

    One of times and groups is an array [rows], or neither if the split is random; the rest is None.
    The returned `sampling` names only the column in use.
    """
    time = file.times(sampling.time) if sampling.time else None
    if time is not None and not (sampling.is_auto and (time == time[:1]).all()):
        return time, None, sampling.model_copy(update={"group": None})
    group = read_groups(file, sampling.group, sampling.seed) if sampling.group else None
    if group is not None and sampling.is_auto and (group == group[:1]).all():
        group = None
    by = {"time": None, "group": None if group is None else sampling.group}
    if (chosen := sampling.model_copy(update=by)) != sampling:
        logger.warning(
            "%s: ALL ROWS HAVE THE SAME %s, so validation rows are drawn %s",
            file.location,
            " and ".join(sorted({*filter(None, (sampling.time, sampling.group))} - {chosen.group})),
            f"by {chosen.group}" if chosen.group else "AT RANDOM",
        )
    return None, group, chosen


def split_rows(
    time: np.ndarray | None,
    group: np.ndarray | None,
    labels: np.ndarray,
    sampling: Sampling,
    where: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The split, period and fold of each row of a file, each [rows].

        split     int8, TRAIN or VALIDATION
        period    uint8, the row's time interval, 0 is the oldest; 0 without times
        fold      uint8, a number below FOLDS, equal in all rows of a group; 0 without groups

    One of `time` and `group` is an array [rows], the other None. Rows of one time or group stay
    together, so the share of validation rows is only close to `valid_share`. Raises UserError with
    the file's name, `where`, if a split has no clicks or no negatives.
    """
    key, column = (group, sampling.group) if time is None else (time, sampling.time)
    assert key is not None, "time or group is given"
    start = _start(key, sampling.valid_share, f"{where}: column {column!r}")
    split = (key >= start).astype(np.int8)
    count_22 = np.bincount(2 * split + labels, minlength=4).reshape(2, 2)
    summary = []
    for number, name in enumerate(SPLITS):
        span = ""
        if time is not None:
            times = time[split == number]
            # datetime64 has nine decimals of a second, most often zeros.
            first, last = (str(t).removesuffix(".000000000") for t in (times.min(), times.max()))
            span = f", {column} {first}" + (f" to {last}" if last != first else "")
        summary.append(
            f"{count_22[number].sum():,} {name} rows ({count_22[number, 1]:,} clicks{span})"
        )
    logger.info("split by %s: %s", column, "; ".join(summary))
    if not count_22.all():
        raise UserError(
            f"{where}: split by {column}: {'; '.join(summary)}. Each split needs clicks and "
            f"negatives: change `sampling.split` or `sampling.valid_share`"
        )
    zeros = np.zeros(len(split), np.uint8)
    fold = zeros if group is None else (group % np.uint64(FOLDS)).astype(np.uint8)
    return split, zeros if time is None else periods(time), fold


def periods(time: np.ndarray) -> np.ndarray:
    """Divide the rows into time intervals: the interval's number for each row, uint8 [rows].

    Interval 0 is the oldest. There are at most PERIODS intervals, with about equally many rows; if
    there are at most PERIODS distinct times, each is an interval.
    """
    values, counts = np.unique(time, return_counts=True)
    edges = values[1:]
    if len(edges) >= PERIODS:
        # For each eighth of the rows, the first time that begins at or after its end.
        last = np.ceil(len(time) * np.arange(1, PERIODS) / PERIODS) - 1
        later = np.searchsorted(np.cumsum(counts), last, side="right") + 1
        edges = np.unique(values[later[later < len(values)]])
    return np.searchsorted(edges, time, side="right").astype(np.uint8)


def _start(key: np.ndarray, share: float, column: str) -> Any:
    """The lowest value that is held out; higher values are held out, too."""
    values, counts = np.unique(key, return_counts=True)
    total, cuts = len(key), np.cumsum(counts)[:-1]
    if not len(cuts):
        raise UserError(
            f"{column} has one value in all {total:,} rows, so it cannot split them: name "
            f"another column in `columns.time` or `columns.group`, or change `sampling.split`"
        )
    nearest = int(np.abs(total - cuts - share * total).argmin())
    return values[nearest + 1]


def read_groups(file: RawTable, column: str, seed: int) -> np.ndarray:
    """A hash of each row's value in the group column, uint64 [rows]; equal hashes are one group.

    Values are equal if they are equal as text, or as lists of integers or texts. A row is its own
    group if its value is missing, empty, or a list with a missing text. `seed` changes the hashes.
    For 100 million groups, the probability of a collision is 1 in 3,700.
    """
    random = np.random.default_rng([seed, 1])
    hashes = []
    for _, batch in file.stream([column], BATCH_ROWS):
        values = batch.column(0)
        try:
            keys = _keys_of(values)
        except pa.ArrowException as error:
            raise UserError(
                f"{file.location}: column {column!r} of type {values.type} cannot define groups "
                f"({first_line(error)}); set `columns.group` to a column of text, numbers, or "
                f"lists of texts or integers"
            ) from None
        digests = (xxhash.xxh3_64_intdigest(key, seed) for key in keys)
        hashes.append(np.fromiter(digests, np.uint64, len(keys)))
        is_missing = np.array([not key for key in keys])
        hashes[-1][is_missing] = random.integers(0, 1 << 64, int(is_missing.sum()), np.uint64)
    return np.concatenate(hashes)


def _keys_of(values: pa.Array) -> list[bytes]:
    """The bytes of each text or list, b"" if missing or empty; ArrowException for other types."""
    if type_name(values.type) == "list of text":
        values = pc.binary_join(values.cast(pa.list_(pa.string())), "\0")
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        events = values.flatten()
        if not pa.types.is_integer(events.type) or events.null_count:
            raise pa.ArrowInvalid(
                "lists with a missing integer, or with neither integers nor texts"
            )
        rows = values.to_numpy(zero_copy_only=False)
        return [b"" if row is None else row.tobytes() for row in rows]
    return pc.fill_null(as_text(values), "").cast(pa.binary()).to_pylist()
