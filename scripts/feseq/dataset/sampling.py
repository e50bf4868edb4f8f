"""Which rows of the raw file a data set uses, and where each one goes."""

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError
from ..raw.reading import RawFile
from .selection import Selection

logger = logging.getLogger(__name__)


def read_labels(file: RawFile, label: str, batch_rows: int = 1 << 20) -> np.ndarray:
    """The labels as uint8 [rows]; raises UserError unless each is 0 or 1 and both occur."""
    path = str(file.location)
    if label not in file.schema_arrow.names:
        raise UserError(
            f"{path}: there is no label column {label!r}; name it in columns.label "
            f"(the file has {', '.join(map(repr, file.schema_arrow.names[:8]))}, ...)"
        )
    # Not allocated at once: the footer's number of rows is only checked as they are decoded.
    parts = [np.empty(0, np.uint8)]
    for first_row, batch in file.stream([label], batch_rows):
        column = batch.column(0)
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
    _check_both_classes(labels, path, label)
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


def select_rows(labels: np.ndarray, rows: int | None, valid_share: float, seed: int) -> Selection:
    """Draw `rows` rows (None: all), stratified by label and spread evenly over the file.

    Each class gets its proportional share, at least two rows. Its rows in the file are cut into
    that many equal stretches and one row is drawn from each (stratified systematic sampling), so
    every day of a file sorted by day is drawn from. Validation rows are drawn in the same way from
    the chosen rows of each class, at least one each.
    """
    if rows is not None and rows > len(labels):
        logger.warning(
            "%s rows asked for, the file has %s: taking all", f"{rows:,}", f"{len(labels):,}"
        )
        rows = None
    random = np.random.default_rng(seed)
    chosen, chosen_valid = [], []
    wanted = _class_shares(labels, len(labels) if rows is None else rows)
    for value, count in wanted.items():
        candidates = np.flatnonzero(labels == value)
        candidates = candidates[_spread(len(candidates), count, random)]
        is_valid = np.zeros(count, bool)
        valid_count = min(max(1, round(count * valid_share)), count - 1)
        is_valid[_spread(count, valid_count, random)] = True
        chosen.append(candidates)
        chosen_valid.append(is_valid)
    row, is_valid = np.concatenate(chosen), np.concatenate(chosen_valid)
    order = np.argsort(row)
    row, is_valid = row[order], is_valid[order]
    position = np.empty(len(row), np.int64)
    for part in (~is_valid, is_valid):
        position[part] = random.permutation(int(part.sum()))
    return Selection(row, is_valid, position)


def _class_shares(labels: np.ndarray, rows: int) -> dict[int, int]:
    """Rows to draw per class, proportional to its share, at least two."""
    clicks = int(labels.sum())
    drawn_clicks = min(max(2, round(rows * clicks / len(labels))), clicks, rows - 2)
    return {0: rows - drawn_clicks, 1: drawn_clicks}


def _spread(total: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` of `range(total)`, one at random from each of `count` equal stretches, ascending."""
    if count == total:
        return np.arange(total)
    bounds = np.arange(count + 1) * total // count
    return bounds[:-1] + random.integers(0, np.diff(bounds))
