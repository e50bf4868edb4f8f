"""What single columns are, and which of them belong together, from a sample of rows."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

# Fewer different values, each met this often on average, are levels rather than measurements.
_MOST_LEVELS = 100
_REPEATS = 10
# Columns that correlate as strongly are redundant.
SAME = 0.995
# Clicks, and others, below which no AUC of a single column is computed.
LEAST_CLICKS = 10
_RANGES = 200
_MOST_EXACT = 1_000


def kind_of(values: np.ndarray) -> tuple[str, int]:
    """What numeric values [rows], NaN where missing, look like, and how many differ.

    `empty`, `constant`, `levels` (few different values), `whole` or `real` numbers.
    """
    known = values[~np.isnan(values)]
    distinct = np.unique(known)
    if len(distinct) < 2:
        return ("constant" if len(distinct) else "empty"), len(distinct)
    if len(distinct) <= min(_MOST_LEVELS, len(known) // _REPEATS):
        return "levels", len(distinct)
    finite = distinct[np.isfinite(distinct)]
    return ("whole" if (finite == np.floor(finite)).all() else "real"), len(distinct)


def middle_share(values: np.ndarray, low: float, high: float) -> float | None:
    """The share of the range `low` to `high` that holds the middle 98 % of the values [rows].

    The commonest value is left out, so that in a column of mostly zeros the others count.
    None where fewer than two other values are left.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    distinct, counts = np.unique(finite, return_counts=True)
    if len(distinct) < 3 or high <= low:
        return None
    others = finite[finite != distinct[counts.argmax()]]
    ends = np.quantile(others, [0.01, 0.99])
    return float((ends[1] - ends[0]) / (high - low))


def auc_alone(values: np.ndarray, label: np.ndarray, is_category: bool) -> float | None:
    """The best AUC that a column [rows] reaches alone, of numbers in order and of click rates.

    Numbers in order: rising or falling, missing values first or last. Click rates: of categories,
    or of 200 ranges of values, learned on one half of the rows for the other. None with fewer than
    10 rows of a label.
    """
    if min(label.sum(), (1 - label).sum()) < LEAST_CLICKS:
        return None
    distinct, place = np.unique(values, return_inverse=True)
    group = place
    if not is_category and len(distinct) > _MOST_EXACT:
        group = pd.qcut(place, _RANGES, labels=False, duplicates="drop")
    half = pd.Series(label).groupby(label).cumcount() % 2
    rows = pd.DataFrame({"group": group, "half": half, "click": label})
    found = rows.groupby(["half", "group"])["click"].agg(["sum", "size"])
    rates = (found["sum"] + label.mean()) / (found["size"] + 1)
    # A group that the other half does not have has the rate of all rows.
    other = pd.MultiIndex.from_arrays([1 - half, group])
    aucs = [_auc(rates.reindex(other).fillna(label.mean()).to_numpy(), label)]
    if not is_category:
        for ranks in (place, np.where(np.isnan(values), -1, place)):
            auc = _auc(ranks, label)
            aucs += [auc, 1 - auc]
    return max(aucs)


def _auc(score: np.ndarray, label: np.ndarray) -> float:
    """By the sum of the clicks' ranks, equal ones sharing theirs."""
    clicks = int(label.sum())
    mean = pd.Series(score).rank()[label == 1].mean()
    return float((mean - (clicks + 1) / 2) / (len(label) - clicks))


def missing_blocks(sample: pd.DataFrame) -> list[tuple[list[str], np.ndarray]]:
    """Columns missing in the very same rows, and which rows these are, the most rows first."""
    is_missing = sample.isna()
    blocks: dict[bytes, list[str]] = {}
    for name in sample.columns[is_missing.any()]:
        blocks.setdefault(is_missing[name].to_numpy().tobytes(), []).append(name)
    found = [(names, is_missing[names[0]].to_numpy()) for names in blocks.values()]
    return sorted(found, key=lambda block: -block[1].sum())


def same_columns(sample: pd.DataFrame) -> tuple[list[list[str]], list[list[str]]]:
    """Groups of columns with equal values in all rows, and groups whose order is nearly the same.

    Constant columns are left out. The first of equal columns stands for all in the second list,
    where neighbours have a rank correlation of at least SAME, rising or falling.
    """
    groups: dict[bytes, list[str]] = {}
    for name in sample.columns[sample.nunique() > 1]:
        # One NaN and one zero, whatever their bits.
        plain = sample[name].to_numpy()
        plain = np.where(np.isnan(plain), np.nan, plain) + 0
        groups.setdefault(plain.tobytes(), []).append(name)
    ranks = sample[[names[0] for names in groups.values()]].rank()
    # Missing values are in the middle.
    near = ranks.fillna((ranks.count() + 1) / 2).corr().abs().to_numpy() >= SAME
    return [names for names in groups.values() if len(names) > 1], _connected(near, list(ranks))


def _connected(near: np.ndarray, names: Sequence[str]) -> list[list[str]]:
    """Groups of several that lead to one another over neighbours."""
    of = pd.Series(names).groupby(connected_components(near)[1])
    return [list(group) for _, group in of if len(group) > 1]
