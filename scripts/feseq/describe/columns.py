"""Facts of single columns, and groups of related columns, from a sample of rows."""

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import roc_auc_score

# At most so many different values, each this often on average, are levels, not measurements.
_MOST_LEVELS = 100
_REPEATS = 10
# Columns that correlate as strongly are redundant.
SAME = 0.995
# Clicks, and others, below which no AUC of a single column is computed.
LEAST_CLICKS = 10
_RANGES = 200
_MOST_EXACT = 1_000


def value_kind(values: np.ndarray) -> tuple[str, int]:
    """The kind of numeric values [rows], NaN where missing, and how many are different.

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
    None if fewer than two other values are left.
    """
    finite = pd.Series(values[np.isfinite(values)].astype(np.float64))
    others = finite[finite != finite.mode().min()]
    if others.nunique() < 2 or high <= low:
        return None
    return float(np.diff(others.quantile([0.01, 0.99]))[0] / (high - low))


def auc_alone(values: np.ndarray, label: np.ndarray, is_category: bool) -> float | None:
    """The best AUC that a column [rows] reaches alone, of numbers in order and of click rates.

    Numbers in order: rising or falling, missing values last. Click rates: of categories, or of 200
    ranges of values, learned on one half of the rows for the other. None with fewer than 10 rows
    of a label.
    """
    if min(label.sum(), (1 - label).sum()) < LEAST_CLICKS:
        return None
    distinct, place = np.unique(values, return_inverse=True)
    group = place
    if not is_category and len(distinct) > _MOST_EXACT:
        group = pd.qcut(place, _RANGES, labels=False, duplicates="drop")
    half = pd.Series(label).groupby(label).cumcount() % 2
    rows = pd.DataFrame({"group": group, "half": half, "click": label})
    clicks = rows.groupby(["half", "group"])["click"].agg(["sum", "size"])
    rates = (clicks["sum"] + label.mean()) / (clicks["size"] + 1)
    # A group that is missing in the other half gets the rate of all rows.
    other = pd.MultiIndex.from_arrays([1 - half, group])
    alone = float(roc_auc_score(label, rates.reindex(other).fillna(label.mean())))
    if is_category:
        return alone
    in_order = float(roc_auc_score(label, place))
    return max(alone, in_order, 1 - in_order)


def missing_blocks(sample: pd.DataFrame) -> list[tuple[list[str], np.ndarray]]:
    """Columns missing in the very same rows, and which rows these are, the most rows first."""
    is_missing = sample.isna()
    columns: dict[bytes, list[str]] = {}
    for name in sample.columns[is_missing.any()]:
        columns.setdefault(is_missing[name].to_numpy().tobytes(), []).append(name)
    blocks = [(names, is_missing[names[0]].to_numpy()) for names in columns.values()]
    return sorted(blocks, key=lambda block: -block[1].sum())


def same_columns(sample: pd.DataFrame) -> list[list[str]]:
    """Groups of columns in (nearly) the same order, equal ones among them.

    Neighbours have a rank correlation of at least SAME, rising or falling.
    """
    ranks = sample.rank()
    # Missing values get the middle rank; constant columns correlate with none.
    filled = ranks.fillna((ranks.count() + 1) / 2).to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        near = np.abs(np.atleast_2d(np.corrcoef(filled, rowvar=False))) >= SAME
    groups = pd.Series(list(sample)).groupby(connected_components(near)[1])
    return [list(names) for _, names in groups if len(names) > 1]
