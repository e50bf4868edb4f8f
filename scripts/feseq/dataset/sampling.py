"""Which rows of the raw file a data set uses, and where each one goes."""

import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError
from ..config.sampling import Sampling
from ..raw.reading import RawTable
from .selection import CHOOSE, JUDGE, TRAIN, Selection
from .split import split_rows

logger = logging.getLogger(__name__)


def read_labels(file: RawTable, label: str, batch_rows: int = 1 << 20) -> np.ndarray:
    """The labels as uint8 [rows]; raises UserError unless each is 0 or 1 and both occur."""
    if label not in file.schema_arrow.names:
        raise UserError(
            f"{file.location}: there is no label column {label!r}; name it in columns.label "
            f"(the file has {', '.join(map(repr, file.schema_arrow.names[:8]))}, ...)"
        )
    # Not allocated at once: the footer's number of rows is only checked as they are decoded.
    parts = [np.empty(0, np.uint8)]
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
        parts.append(numbers.astype(np.uint8))
    labels = np.concatenate(parts)
    _check_both_classes(labels, str(file.location), label)
    return labels


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


def _check_both_classes(labels: np.ndarray, path: str, label: str) -> None:
    clicks = int(labels.sum())
    rarer = min(clicks, len(labels) - clicks)
    if len(labels) == 0:
        raise UserError(f"{path}: the file has no rows")
    if rarer == 0:
        raise UserError(
            f"{path}: label {label!r} is {labels[0]} in all {len(labels):,} rows; "
            f"there is nothing to learn, and no AUC"
        )
    if rarer < 2:
        raise UserError(
            f"{path}: only {rarer} row of {len(labels):,} has label {int(clicks == rarer)}; "
            f"train and validation need one each"
        )


def draw(file: RawTable, label: str, rows: int | None, sampling: Sampling) -> Selection:
    """The rows of a size, and the parts that they are in."""
    labels, seed = read_labels(file, label), sampling.seed
    if sampling.split.is_random:
        chosen = select_rows(labels, rows, sampling.valid_share, seed, sampling.judge_share)
    else:
        chosen = select_within(labels, split_rows(file, labels, sampling), rows, seed)
    return replace(chosen, raw=file.version)


def select_rows(
    labels: np.ndarray, rows: int | None, valid_share: float, seed: int, judge_share: float = 0
) -> Selection:
    """Draw `rows` rows (None: all), stratified by label and spread evenly over the file.

    Each class gets its proportional share, at least two rows. Its rows in the file are cut into
    that many equal stretches and one row is drawn from each (stratified systematic sampling), so
    every day of a file sorted by day is drawn from. Validation rows are drawn in the same way from
    the chosen rows of each class, at least one each, and of these the rows that judge.

    Raises UserError if too few rows of a class are held out to be shared.
    """
    rows = _at_most(rows, len(labels), "the file has")
    random = np.random.default_rng(seed)
    chosen, parts = [], []
    wanted = _class_shares(labels, len(labels) if rows is None else rows)
    for value, count in wanted.items():
        candidates = np.flatnonzero(labels == value)
        candidates = candidates[_spread(len(candidates), count, random)]
        part = np.full(count, TRAIN, np.int8)
        valid_count = min(max(1, round(count * valid_share)), count - 1)
        part[_spread(count, valid_count, random)] = CHOOSE
        chosen.append(candidates)
        parts.append(part)
    if judge_share:
        # Draws of their own, so that the train rows do not depend on the share.
        judging = np.random.default_rng([seed, JUDGE])
        for value, part in zip(wanted, parts):
            held = np.flatnonzero(part == CHOOSE)
            part[held[_spread(len(held), _judges(len(held), judge_share, value), judging)]] = JUDGE
    return Selection.placed(np.concatenate(chosen), np.concatenate(parts), random)


def select_within(labels: np.ndarray, part: np.ndarray, rows: int | None, seed: int) -> Selection:
    """Draw `rows` rows (None: all) of the file whose rows are split into parts already.

    `part` int8 [rows of the file] as in a Selection, or less than 0: in none. Each part, and in it
    each class, gets its proportional share, at least one row of each class, spread evenly over the
    file.
    """
    sizes = np.array([np.count_nonzero(part == number) for number in (TRAIN, CHOOSE, JUDGE)])
    rows = _at_most(rows, int(sizes.sum()), "the split leaves")
    random = np.random.default_rng(seed)
    chosen, parts = [], []
    for number, count in enumerate(_part_shares(sizes, int(sizes.sum()) if rows is None else rows)):
        if count:
            inside = np.flatnonzero(part == number)
            for value, wanted in _class_shares(labels[inside], int(count), least=1).items():
                candidates = inside[labels[inside] == value]
                chosen.append(candidates[_spread(len(candidates), wanted, random)])
                parts.append(np.full(wanted, number, np.int8))
    return Selection.placed(np.concatenate(chosen), np.concatenate(parts), random)


def _at_most(rows: int | None, there: int, whose: str) -> int | None:
    """`rows`, or None with a warning if there are fewer."""
    if rows is None or rows <= there:
        return rows
    logger.warning("%s rows asked for, %s %s: taking all", f"{rows:,}", whose, f"{there:,}")
    return None


def _judges(held: int, judge_share: float, label: int) -> int:
    if held < 2:
        raise UserError(
            f"sampling.judge_share: only {held} of the held-out rows has label {label}, and rows "
            f"that choose and rows that judge need one each; raise sampling.valid_share or the "
            f"size's rows, or set judge_share to 0"
        )
    return min(max(1, round(held * judge_share)), held - 1)


def _class_shares(labels: np.ndarray, rows: int, least: int = 2) -> dict[int, int]:
    """Rows to draw per class, proportional to its share, at least `least`."""
    clicks = int(labels.sum())
    drawn_clicks = min(max(least, round(rows * clicks / len(labels))), clicks, rows - least)
    return {0: rows - drawn_clicks, 1: drawn_clicks}


def _part_shares(sizes: np.ndarray, rows: int) -> np.ndarray:
    """Rows to draw per part, proportional to its size, at least two of each that has any."""
    bounds = np.round(np.concatenate([[0], np.cumsum(sizes)]) * rows / sizes.sum())
    shares = np.maximum(np.diff(bounds).astype(np.int64), np.minimum(sizes, 2))
    shares[np.argmax(shares)] += rows - shares.sum()
    return shares


def _spread(total: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` of `range(total)`, one at random from each of `count` equal stretches, ascending."""
    if count == total:
        return np.arange(total)
    bounds = np.arange(count + 1) * total // count
    return bounds[:-1] + random.integers(0, np.diff(bounds))
