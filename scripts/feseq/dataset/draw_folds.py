"""Which fold each train row is in: cut by the same columns as the rows that are held out."""

import logging

import numpy as np

from ..common.errors import UserError
from ..config.sampling import Sampling
from ..raw.reading import RawTable
from .folds import Folds
from .sampling import read_labels
from .selection import TRAIN
from .split import KeyedRows, cut_off, keyed_rows

logger = logging.getLogger(__name__)


def draw_folds(file: RawTable, label: str, sampling: Sampling, row: np.ndarray) -> Folds:
    """The folds of the train rows with these numbers in a raw table, int64 [rows], in their order.

    Without a column in `sampling.split`, rows are drawn at random within each label. By group, the
    groups are drawn. By time, the rows are cut into one part more than there are folds: the oldest
    is fold 0. By both, a row is predicted where no row of its group is in an older part. These cuts
    are those of the file's train rows, so each size has a row in the same fold.

    Raises UserError if there are not as many groups or times, or a fold has rows of one label only.
    """
    count = sampling.folds
    assert count is not None, "the rule asks for folds"
    labels, forward = read_labels(file, label), sampling.split.time is not None
    if sampling.split.is_random:
        fold = _stratified(labels[row], count, sampling.seed)
        is_predicted = np.ones(len(row), bool)
    else:
        of_file = _by_column(file, sampling, count)
        fold, is_predicted = (values[row] for values in of_file)
    folds = Folds(row, fold.astype(np.int16), is_predicted, forward)
    _tell(folds, labels[row], count, str(file.location))
    return folds


def _stratified(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A fold from 1 for each row, with as many rows of each label in each as possible."""
    random = np.random.default_rng([seed, 3])
    fold = np.empty(len(labels), np.int64)
    for value in (0, 1):
        rows = np.flatnonzero(labels == value)
        fold[rows] = 1 + random.permutation(len(rows)) * count // max(1, len(rows))
    return fold


def _by_column(file: RawTable, sampling: Sampling, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Fold, and whether it is predicted, of each row of the file; fold -1 for those held out."""
    rows, _ = keyed_rows(file, sampling)
    is_train = cut_off(rows, sampling.valid_share, sampling.split.last) == TRAIN
    train = rows.take(is_train)
    key, column = train.key
    forward = train.time is not None
    part = _cut_evenly(key, count + forward, column, count)
    is_new = _is_of_new_group(train, part)
    fold, is_predicted = np.full(len(is_train), -1), np.zeros(len(is_train), bool)
    fold[is_train] = part + (not forward)
    is_predicted[is_train] = is_new & (fold[is_train] > 0)
    return fold, is_predicted


def _is_of_new_group(rows: KeyedRows, part: np.ndarray) -> np.ndarray:
    """False where, in a split by time and group, a row of the group is in an older part."""
    if rows.time is None or rows.group is None:
        return np.ones(len(part), bool)
    groups, group = np.unique(rows.group, return_inverse=True)
    first = np.full(len(groups), part.max(initial=0))
    np.minimum.at(first, group, part)
    return part == first[group]


def _cut_evenly(key: np.ndarray, parts: int, column: str, folds: int) -> np.ndarray:
    """The part of each row, int64 [rows] from 0: of like size, and whole values of the key."""
    ascending = np.sort(key)
    starts = np.flatnonzero(np.diff(ascending)) + 1
    if len(starts) + 1 < parts:
        oldest = ", and the oldest is not predicted" if parts > folds else ""
        raise UserError(
            f"{column} has {len(starts) + 1:,} values in the train rows, and sampling.folds: "
            f"{folds} needs {parts}, as rows of one value stay together{oldest}; use fewer folds"
        )
    bounds, first = [], 0
    for number in range(1, parts):
        # As many as the parts behind this cut need are left over.
        left = starts[first : len(starts) - (parts - 1 - number)]
        nearest = int(np.argmin(np.abs(left - number * len(key) / parts)))
        bounds.append(ascending[left[nearest]])
        first += nearest + 1
    return np.searchsorted(np.array(bounds, ascending.dtype), key, side="right")


def _tell(folds: Folds, labels: np.ndarray, count: int, where: str) -> None:
    """Log what is in each fold; raises UserError if one lacks rows of a label."""
    told, lacking = [], []
    for fold in range(1, count + 1):
        found = {}
        for what, rows in (("train", folds.trains(fold)), ("are predicted", folds.predicts(fold))):
            others, clicks = np.bincount(labels[rows], minlength=2)
            found[what] = f"{others + clicks:,} rows {what} ({clicks:,} clicks)"
            if not (others and clicks):
                lacking.append(f"fold {fold}, where {found[what]}")
        told.append(f"fold {fold}: {found['train']}, {found['are predicted']}")
    logger.info("%s", "; ".join(told))
    if out := int((~folds.is_predicted).sum()):
        logger.info(
            "%s of %s train rows are trained on and not predicted: the oldest, and with a group "
            "those whose group has older rows",
            f"{out:,}",
            f"{len(labels):,}",
        )
    if lacking:
        raise UserError(
            f"{where}: sampling.folds: {count} leaves {lacking[0]}, and rows with and without a "
            f"click are needed; use fewer folds, or raise the size's rows"
        )
