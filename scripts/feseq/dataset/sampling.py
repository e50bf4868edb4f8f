"""Which rows of the raw table a data set uses, and where each one goes: part by part.

Each part of the table draws its own rows from its number and the seed. So where a size has all
rows, replacing one part leaves the draws of the others as they are.

Legend: P parts; 2 labels; 3 parts of the data set: train, validation, holdout.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError
from ..common.files import write_json
from ..config.sampling import Sampling
from ..raw.reading import RawTable, open_parquet
from .selection import HOLDOUT, TRAIN, VALIDATION, Selection, write_selections
from .split import split_rows

logger = logging.getLogger(__name__)

# About the most rows that a part is drawn from, however few of them a size takes.
_MOST_RAW_ROWS = 1 << 24
# Draws of their own.
_ROUNDING = 4


def sample(
    parquet: str | Path | Sequence[str],
    label: str,
    rows: int | None,
    sampling: Sampling,
    *,
    part_rows: int,
    selection: Path,
    parts: Path,
) -> None:
    """Draw `rows` rows (None: all) of a train table, and write them and the table's parts.

    Each part has about `part_rows` of the drawn rows.
    """
    file = open_parquet(parquet)
    share = min(1, rows / max(1, file.rows)) if rows else 1
    listing = file.listing(max(part_rows, min(round(part_rows / share), _MOST_RAW_ROWS)))
    bounds = np.cumsum([0, *(part.rows for part in listing.parts)]).tolist()
    digests = write_selections(draw(file, label, rows, sampling, bounds), selection)
    drawn = [replace(part, draw=digest) for part, digest in zip(listing.parts, digests)]
    write_json(parts, replace(listing, parts=drawn).as_json())


def draw(
    file: RawTable, label: str, rows: int | None, sampling: Sampling, bounds: Sequence[int]
) -> Iterator[Selection]:
    """The drawn rows of each part, which has the table's rows from one of `bounds` to the next."""
    if sampling.split.is_random:
        return _draw_rows(file, label, rows, sampling, bounds)
    labels = read_labels(file, label)
    return select_within(labels, split_rows(file, labels, sampling), rows, sampling.seed, bounds)


def read_labels(file: RawTable, label: str) -> np.ndarray:
    """The labels as uint8 [rows]; raises UserError unless each is 0 or 1 and both occur."""
    # Not allocated at once: the footer's number of rows is only checked as they are decoded.
    labels = np.concatenate([np.empty(0, np.uint8), *stream_labels(file, label)])
    _check_both_classes(np.bincount(labels, minlength=2), str(file.location), label)
    return labels


def stream_labels(file: RawTable, label: str, batch_rows: int = 1 << 20) -> Iterator[np.ndarray]:
    """The labels as uint8, some at a time; raises UserError where one is neither 0 nor 1."""
    if label not in file.schema_arrow.names:
        raise UserError(
            f"{file.location}: there is no label column {label!r}; name it in columns.label "
            f"(the file has {', '.join(map(repr, file.schema_arrow.names[:8]))}, ...)"
        )
    for first_row, batch in file.stream([label], batch_rows):
        column, path = batch.column(0), file.where(first_row)
        try:
            numbers = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
        except pa.ArrowException:
            bad, value = _first_non_number(column)
            raise UserError(
                f"{path}: label {label!r} has type {column.type}, and not every value is a number; "
                f"labels are 0 and 1 (row {first_row + bad}: {value})"
            ) from None
        wrong = np.flatnonzero((numbers != 0) & (numbers != 1))
        if len(wrong):
            raise UserError(
                f"{path}: label {label!r}, row {first_row + wrong[0]}: "
                f"{column[int(wrong[0])].as_py()!r} is neither 0 nor 1 "
                f"({len(wrong):,} such rows among rows {first_row:,} to "
                f"{first_row + len(batch) - 1:,})"
            )
        yield numbers.astype(np.uint8)


def _first_non_number(column: pa.Array) -> tuple[int, str]:
    """Its place, and its text or the column's type; text may hold bytes that are not UTF-8."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        for i, value in enumerate(column.cast(pa.large_binary()).to_pylist()):
            try:
                float(value)
            except (TypeError, ValueError):
                return i, repr(value and value.decode(errors="backslashreplace"))
    return 0, f"a {kind}"


def _check_both_classes(counts: np.ndarray, path: str, label: str) -> None:
    total, clicks = int(counts.sum()), int(counts[1])
    rarer = min(clicks, total - clicks)
    if total == 0:
        raise UserError(f"{path}: the file has no rows")
    if rarer == 0:
        raise UserError(
            f"{path}: label {label!r} is {int(clicks > 0)} in all {total:,} rows; "
            f"there is nothing to learn, and no AUC"
        )
    if rarer < 2:
        raise UserError(
            f"{path}: only {rarer} row of {total:,} has label {int(clicks == rarer)}; "
            f"train and validation need one each"
        )


def _draw_rows(
    file: RawTable, label: str, rows: int | None, sampling: Sampling, bounds: Sequence[int]
) -> Iterator[Selection]:
    """The same without a column to split by. The labels are read twice, so that none are kept."""
    counts = [np.bincount(labels, minlength=2) for labels in _by_part(file, label, bounds)]
    count_P2 = np.array([np.zeros(2, np.int64), *counts])[1:]
    _check_both_classes(count_P2.sum(axis=0), str(file.location), label)
    wanted_P32 = quotas(count_P2, rows, sampling)
    for number, labels in enumerate(_by_part(file, label, bounds)):
        if (np.bincount(labels, minlength=2) != count_P2[number]).any():
            raise UserError(
                f"{file.location}: was replaced while it was being read; run the same command "
                f"again when it is complete"
            )
        yield select_rows(labels, wanted_P32[number], sampling.seed, number)


def _by_part(file: RawTable, label: str, bounds: Sequence[int]) -> Iterator[np.ndarray]:
    """The labels of each part."""
    waiting = np.empty(0, np.uint8)
    stream = stream_labels(file, label)
    for start, stop in pairwise(bounds):
        while len(waiting) < stop - start:
            waiting = np.concatenate([waiting, next(stream)])
        yield waiting[: stop - start]
        waiting = waiting[stop - start :]
    # Read to the end, where a file replaced meanwhile is noticed.
    for _ in stream:
        pass


def quotas(count_P2: np.ndarray, rows: int | None, sampling: Sampling) -> np.ndarray:
    """How many rows of each label a part gives, int64 [P, 3, 2], of `count_P2` that it has.

    All parts together give `rows` rows (None: all), each label its proportional share, at least two
    rows. About `valid_share` of these are held out, at least one of each label, and about
    `holdout_share` of the held-out rows are holdout rows. Raises UserError if too few rows of a
    label are held out for both.
    """
    total_2 = count_P2.sum(axis=0)
    rows = _at_most(rows, int(total_2.sum()), "the file has")
    shares = _class_shares(total_2, int(total_2.sum()) if rows is None else rows)
    quota_P32 = np.zeros((len(count_P2), 3, 2), np.int64)
    for value, wanted in enumerate(shares):
        drawn_P = _shared_out(count_P2[:, value], wanted)
        held_P = _about(
            drawn_P, sampling.valid_share, [sampling.seed, _ROUNDING, VALIDATION, value]
        )
        holdout_P = np.zeros_like(held_P)
        if sampling.holdout_share:
            _check_shared(int(held_P.sum()), value)
            seed = [sampling.seed, _ROUNDING, HOLDOUT, value]
            holdout_P = _about(held_P, sampling.holdout_share, seed)
        quota_P32[:, :, value] = np.stack([drawn_P - held_P, held_P - holdout_P, holdout_P], axis=1)
    return quota_P32


def select_rows(labels: np.ndarray, quota_32: np.ndarray, seed: int, number: int = 0) -> Selection:
    """Draw as many rows of each label as wanted from those of a part, spread evenly over it.

    The rows of a label are cut into that many equal spans and one row is drawn from each
    (stratified systematic sampling), so every day of a file sorted by day is drawn from. Held-out
    rows are drawn in the same way from these, and holdout rows from the held-out rows.
    """
    random = np.random.default_rng([seed, 0, number])
    # Draws of their own, so that the train rows do not depend on the share.
    of_holdout = np.random.default_rng([seed, HOLDOUT, number])
    chosen, parts = [], []
    for value in (0, 1):
        _, validation, holdout = quota = quota_32[:, value].tolist()
        candidates = np.flatnonzero(labels == value)
        chosen.append(candidates[_spread(len(candidates), sum(quota), random)])
        part = np.full(sum(quota), TRAIN, np.int8)
        held = _spread(len(part), validation + holdout, random)
        part[held] = VALIDATION
        part[held[_spread(len(held), holdout, of_holdout)]] = HOLDOUT
        parts.append(part)
    return Selection.placed(np.concatenate(chosen), np.concatenate(parts), random)


def select_within(
    labels: np.ndarray, part: np.ndarray, rows: int | None, seed: int, bounds: Sequence[int]
) -> Iterator[Selection]:
    """Draw `rows` rows (None: all) of a table whose rows are split already, part by part.

    `part` int8 [rows of the table] as in a Selection, or less than 0: in none. Each of these, and
    in it each label, gets its proportional share, at least one row of each label, spread evenly
    over the table.
    """
    pieces = [slice(*pair) for pair in pairwise(bounds)]
    size_3 = np.array([np.count_nonzero(part == number) for number in (TRAIN, VALIDATION, HOLDOUT)])
    rows = _at_most(rows, int(size_3.sum()), "the split leaves")
    wanted_P32 = np.zeros((len(pieces), 3, 2), np.int64)
    shares = _part_shares(size_3, int(size_3.sum()) if rows is None else rows).tolist()
    for number, count in enumerate(shares):
        if count:
            is_inside = part == number
            of_label = np.bincount(labels[is_inside], minlength=2)
            for value, wanted in enumerate(_class_shares(of_label, count, least=1)):
                found = is_inside & (labels == value)
                count_P = np.array([np.count_nonzero(found[piece]) for piece in pieces])
                wanted_P32[:, number, value] = _shared_out(count_P, wanted)
    for place, piece in enumerate(pieces):
        random = np.random.default_rng([seed, 0, place])
        chosen, parts = [], []
        for number, value in np.ndindex(3, 2):
            found = np.flatnonzero((part[piece] == number) & (labels[piece] == value))
            wanted = int(wanted_P32[place, number, value])
            chosen.append(found[_spread(len(found), wanted, random)])
            parts.append(np.full(wanted, number, np.int8))
        yield Selection.placed(np.concatenate(chosen), np.concatenate(parts), random)


def _at_most(rows: int | None, there: int, whose: str) -> int | None:
    """`rows`, or None with a warning if there are fewer."""
    if rows is None or rows <= there:
        return rows
    logger.warning("%s rows asked for, %s %s: taking all", f"{rows:,}", whose, f"{there:,}")
    return None


def _check_shared(held: int, label: int) -> None:
    if held < 2:
        raise UserError(
            f"sampling.holdout_share: only {held} of the held-out rows has label {label}, and "
            f"validation and holdout rows need one each; raise sampling.valid_share or the "
            f"size's rows, or set holdout_share to 0"
        )


def _class_shares(count_2: np.ndarray, rows: int, least: int = 2) -> tuple[int, int]:
    """Rows to draw per label, proportional to its share, at least `least`."""
    total, clicks = int(count_2.sum()), int(count_2[1])
    drawn_clicks = min(max(least, round(rows * clicks / total)), clicks, rows - least)
    return rows - drawn_clicks, drawn_clicks


def _shared_out(count_P: np.ndarray, wanted: int) -> np.ndarray:
    """How many of the `wanted` rows each part gives, in proportion to those that it has."""
    ends = np.concatenate([[0], np.cumsum(count_P)])
    if wanted == ends[-1]:
        return count_P
    return np.diff(np.round(ends * (wanted / max(1, ends[-1]))).astype(np.int64))


def _about(count_P: np.ndarray, share: float, seed: Sequence[int]) -> np.ndarray:
    """About a share of each part's rows, rounded at random; the total is neither none nor all.

    A part's number depends on its own count alone, not on those of other parts.
    """
    wanted_P = count_P * share
    found_P = np.floor(wanted_P + np.random.default_rng(seed).random(len(count_P)))
    # A single part's is the nearest number.
    found_P[0] = np.round(wanted_P[0])
    found_P = np.minimum(found_P.astype(np.int64), count_P)
    most = int(count_P.argmax())
    found_P[most] += int(found_P.sum() == 0) - int(found_P.sum() == count_P.sum())
    return found_P


def _part_shares(sizes: np.ndarray, rows: int) -> np.ndarray:
    """Rows to draw per part, proportional to its size, at least two of each that has any."""
    bounds = np.round(np.concatenate([[0], np.cumsum(sizes)]) * rows / sizes.sum())
    shares = np.maximum(np.diff(bounds).astype(np.int64), np.minimum(sizes, 2))
    shares[np.argmax(shares)] += rows - shares.sum()
    return shares


def _spread(total: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` of `range(total)`, one at random from each of `count` equal spans, ascending."""
    if count == total:
        return np.arange(total)
    bounds = np.arange(count + 1) * total // max(1, count)
    return bounds[:-1] + random.integers(0, np.diff(bounds))
