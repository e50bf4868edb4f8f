"""Draws the rows of a size (toy, medium, full) from the train table, and splits each part's rows.

The random numbers of a part depend only on its number and the seed. So if all rows are drawn and
validation rows are random, replacing one part of the table rarely changes other parts' splits.

Shape legend: P parts, 22 splits by labels, 2 splits or labels.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..common.errors import UserError, row_name
from ..common.files import Output, atomic_write, reporting_damage, write_json
from ..raw.location import TableLocation
from ..raw.reading import RawTable
from ..raw.values import LABEL_PAIRS, cast_rows, label_pair, labels_as_numbers
from .split import TRAIN, VALIDATION, Sampling, read_split_columns, split_rows

logger = logging.getLogger(__name__)

# The approximate maximum of raw rows in a part, even if a size draws few of them.
_MAX_RAW_ROWS = 1 << 24
# Part of the seed of random rounding.
_ROUNDING = 4
_BATCH_ROWS = 1 << 20
# Column `part` contains the split.
_SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "part": pa.int8(),
        "position": pa.int64(),
        "period": pa.uint8(),
        "fold": pa.uint8(),
    }
)


@dataclass(frozen=True)
class Selection:
    """The rows drawn from one part of the raw train table, in file order; each array is [rows].

    row         int64, the row's number in the part
    split       int8, TRAIN or VALIDATION
    position    int64, the row's place in the shuffled order of its split
    period      uint8, the row's time interval, 0 is the oldest; 0 without times
    fold        uint8, a number below FOLDS, equal in all rows of a group; 0 without groups
    """

    row: np.ndarray
    split: np.ndarray
    position: np.ndarray
    period: np.ndarray
    fold: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def digest(self) -> str:
        """A digest of all arrays."""
        arrays = (array.tobytes() for array in vars(self).values())
        return hashlib.sha256(b"".join(arrays)).hexdigest()[:16]

    @classmethod
    def read(cls, path: Path, part: int = 0, digest: str | None = None) -> "Selection":
        """Read the selection of part number `part` from a file that `write_selections` wrote.

        With `digest`, raises UserError if the selection has another digest.
        """
        with reporting_damage(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read_row_group(part).cast(_SCHEMA)
            table.validate(full=True)
        selection = cls(*(column.to_numpy() for column in table.columns))
        if digest not in (None, selection.digest):
            raise UserError(
                f"{path}: does not match {path.with_suffix('.json').name}; delete {path.name} and "
                f"run the same command again"
            )
        return selection


def sample(
    raw: str | Path | Sequence[str],
    label: str,
    rows: int | None,
    sampling: Sampling,
    *,
    part_rows: int,
    selection: Output,
    parts: Output,
    delimiter: str | None = None,
) -> None:
    """Draw `rows` rows (None: all) of the train table in the files `raw`, and split them.

    Writes the drawn rows to the parquet file `selection`, and the list of the table's parts to the
    JSON file `parts`. A part has about `part_rows` drawn rows. `label` is the column of clicks;
    `sampling` says which rows become validation rows.
    """
    file = RawTable(TableLocation(raw, delimiter))
    share = min(1, rows / max(1, file.rows)) if rows else 1
    listing = file.listing(max(part_rows, min(round(part_rows / share), _MAX_RAW_ROWS)))
    bounds = np.cumsum([0, *(part.rows for part in listing.parts)]).tolist()
    digests = write_selections(draw_by_part(file, label, rows, sampling, bounds), selection)
    drawn = [replace(part, draw=digest) for part, digest in zip(listing.parts, digests)]
    write_json(parts, asdict(replace(listing, parts=drawn)))


def draw_by_part(
    file: RawTable, label: str, rows: int | None, sampling: Sampling, bounds: Sequence[int]
) -> Iterator[Selection]:
    """Draw rows as `sample` does, and yield the Selection of each part of the table.

    Part i of the table has the rows `bounds[i]` to `bounds[i + 1]` (exclusive).
    """
    labels = read_labels(file, label)
    available = len(labels)
    rows = min(rows or available, available)
    time, group, sampling = read_split_columns(file, sampling)
    parts = [slice(*pair) for pair in pairwise(bounds)]
    if sampling.is_random:
        row_splits = None
        count_P2 = np.array([np.bincount(labels[part], minlength=2) for part in parts])
        quota_P22 = random_split_quotas(count_P2, rows, sampling)
    else:
        row_splits = split_rows(time, group, labels, sampling, str(file.location))
        strata = 2 * row_splits[0] + labels
        count_P4 = np.array([np.bincount(strata[part], minlength=4) for part in parts])
        quota_P22 = given_split_quotas(count_P4.reshape(-1, 2, 2), rows)
    del time, group
    for number, (part, quota_22) in enumerate(zip(parts, quota_P22)):
        here = row_splits and [array[part] for array in row_splits]
        yield select_rows(labels[part], quota_22, sampling.seed, number, here)


def read_labels(file: RawTable, label: str) -> np.ndarray:
    """The labels as 0 and 1, uint8 [rows], from the column `label`.

    Raises UserError for values other than numbers, booleans, or words of one pair in LABEL_PAIRS,
    and if fewer than two rows are 0 or fewer than two are 1.
    """
    pair = None
    # Not preallocated: the row count in a footer may be wrong.
    pieces = [np.empty(0, np.uint8)]
    for first_row, batch in file.stream([label], _BATCH_ROWS):
        column = batch.column(0)
        if len(pieces) == 1:
            pair = label_pair(column)
        try:
            numbers = cast_rows(labels_as_numbers(column, pair), pa.float64(), first_row)
            is_label = pc.is_in(numbers, pa.array([0.0, -0.0, 1.0]))
            if (row := pc.index(is_label, False).as_py()) >= 0:
                value = column[row].as_py()
                if value is None:
                    raise ValueError(f"{row_name(first_row + row)}: missing")
                name = f"{row_name(first_row + row)}: {value!r}"
                raise ValueError(f"{name} is neither {' nor '.join(pair or ('1', '0'))}")
        except ValueError as error:
            raise UserError(
                f"{file.file_of_row(first_row)}: label {label!r}, {error}; correct the "
                f"rows, or name in `columns.label` a column of 0 and 1, booleans, or one of the "
                f"pairs {', '.join(map('/'.join, LABEL_PAIRS))}"
            ) from None
        pieces.append(numbers.to_numpy().astype(np.uint8))
    if pair is not None:
        logger.info("label %r: %s means 1, %s means 0", label, *pair)
    labels = np.concatenate(pieces)
    clicks = int(labels.sum())
    if not 2 <= clicks <= len(labels) - 2:
        raise UserError(
            f"{file.location}: {clicks:,} of {len(labels):,} rows have {label!r} = 1; give at "
            f"least two rows with 1 and two with 0, for train and validation"
        )
    return labels


def random_split_quotas(count_P2: np.ndarray, rows: int, sampling: Sampling) -> np.ndarray:
    """How many rows to draw if validation rows are random, int64 [parts, splits, labels].

    The numbers add up to `rows`. `count_P2` has the number of available rows by part and label.
    Each label gets its proportional share, but at least one train row and one validation row.
    """
    total_2 = count_P2.sum(axis=0)
    quota_P22 = np.zeros((len(count_P2), 2, 2), np.int64)
    for value, wanted in enumerate(_shares(total_2, rows)):
        drawn_P = _shared_out(count_P2[:, value], wanted)
        seed = [sampling.seed, _ROUNDING, VALIDATION, value]
        held_P = _about(drawn_P, sampling.valid_share, seed)
        quota_P22[:, :, value] = np.stack([drawn_P - held_P, held_P], axis=1)
    return quota_P22


def given_split_quotas(count_P22: np.ndarray, rows: int) -> np.ndarray:
    """How many rows to draw if all rows already have a split, int64 [parts, splits, labels].

    The numbers add up to `rows`. `count_P22` has the number of available rows, by part, split and
    label. Each label of each split gets its proportional share, but at least one row.
    """
    quota_P22 = np.zeros_like(count_P22)
    size_2 = count_P22.sum(axis=(0, 2))
    validation, train = _shares(size_2[::-1], rows)
    for split, count in enumerate((train, validation)):
        for value, wanted in enumerate(_shares(count_P22[:, split].sum(axis=0), count, least=1)):
            quota_P22[:, split, value] = _shared_out(count_P22[:, split, value], wanted)
    return quota_P22


def select_rows(
    labels: np.ndarray,
    quota_22: np.ndarray,
    seed: int,
    part: int = 0,
    row_splits: Sequence[np.ndarray] | None = None,
) -> Selection:
    """Draw rows of part number `part`: as many by split and label as `quota_22` [splits, labels].

    A label's rows are divided into as many equal intervals as rows are drawn, and one row is drawn
    from each interval, so every day of a file sorted by day is sampled. Validation rows are drawn
    in the same way from the drawn rows. If rows already have a split, `row_splits` has the split,
    period and fold of each row, and each split is drawn from its own rows.
    """
    random = np.random.default_rng([seed, 0, part])
    split, period, fold = row_splits or np.zeros((3, len(labels)), np.uint8)
    row, splits = [], []
    for here, value in np.ndindex(1 if row_splits is None else 2, 2):
        quota = quota_22[:, value] if row_splits is None else quota_22[[here], value]
        candidates = np.flatnonzero((split == here) & (labels == value))
        row.append(candidates[_spread(len(candidates), int(quota.sum()), random)])
        splits.append(np.full(len(row[-1]), here, np.int8))
        if row_splits is None:
            splits[-1][_spread(len(row[-1]), int(quota[VALIDATION]), random)] = VALIDATION
    chosen, held = np.concatenate(row), np.concatenate(splits)
    order = np.argsort(chosen)
    chosen, held = chosen[order], held[order]
    position = np.empty(len(chosen), np.int64)
    for is_here in (held == TRAIN, held == VALIDATION):
        position[is_here] = random.permutation(int(is_here.sum()))
    return Selection(chosen, held, position, period[chosen], fold[chosen])


def _shares(count_2: np.ndarray, rows: int, least: int = 2) -> tuple[int, int]:
    """Divide `rows` in proportion to the counts of two labels or splits, at least `least` each."""
    total, second = int(count_2.sum()), int(count_2[1])
    drawn = min(max(least, round(rows * second / total)), second, rows - least)
    return rows - drawn, drawn


def _shared_out(count_P: np.ndarray, wanted: int) -> np.ndarray:
    """Divide `wanted` rows among the parts, in proportion to `count_P`."""
    ends = np.concatenate([[0], np.cumsum(count_P)])
    if wanted == ends[-1]:
        return count_P
    return np.diff(np.round(ends * (wanted / max(1, ends[-1]))).astype(np.int64))


def _about(count_P: np.ndarray, share: float, seed: Sequence[int]) -> np.ndarray:
    """`share` of each part's rows, rounded at random; the total is neither 0 nor all rows.

    The result for a part depends only on its own count, except where the total is corrected.
    """
    exact_P = count_P * share
    rounded_P = np.floor(exact_P + np.random.default_rng(seed).random(len(count_P)))
    # The first part, often the only part, is rounded to the nearest integer.
    rounded_P[0] = np.round(exact_P[0])
    rounded_P = np.minimum(rounded_P.astype(np.int64), count_P)
    largest = int(count_P.argmax())
    rounded_P[largest] += int(rounded_P.sum() == 0) - int(rounded_P.sum() == count_P.sum())
    return rounded_P


def _spread(total: int, count: int, random: np.random.Generator) -> np.ndarray:
    """Ascending numbers below `total`, one at random from each of `count` equal intervals."""
    if count == total:
        return np.arange(total)
    bounds = np.arange(count + 1) * total // max(1, count)
    return bounds[:-1] + random.integers(0, np.diff(bounds))


def write_selections(selections: Iterable[Selection], path: Path) -> list[str]:
    """Write the selection of each part as a row group of a parquet file; return their digests."""
    digests = []
    with (
        atomic_write(path) as temporary,
        pq.ParquetWriter(temporary, _SCHEMA, write_page_checksum=True) as writer,
    ):
        for selection in selections:
            digests.append(selection.digest)
            table = pa.table([*vars(selection).values()], schema=_SCHEMA)
            writer.write_table(table, row_group_size=len(table) or None)
    return digests
