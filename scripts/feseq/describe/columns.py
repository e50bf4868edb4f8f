"""What single columns are, and which of them belong together, from a sample of rows."""

from collections.abc import Mapping, Sequence

import numpy as np

# Fewer different values, each met this often on average, are levels rather than measurements.
_MOST_LEVELS = 100
_REPEATS = 10
# Columns that correlate as much tell the same.
SAME = 0.995
# Clicks, and others, below which no AUC of a single column is computed.
LEAST_CLICKS = 10
_FINE_LEVELS = 200
_FINE_EXACT = 1_000


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

    The commonest value is left out, so that a column of zeros with some others is judged by these.
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
    rates = _rates(_fine(place, len(distinct), is_category), label)
    aucs = [_auc(np.unique(rates, return_inverse=True)[1], label)]
    if not is_category:
        for ranks in (place, np.where(np.isnan(values), 0, place + 1)):
            auc = _auc(ranks, label)
            aucs += [auc, 1 - auc]
    return max(aucs)


def _fine(place: np.ndarray, distinct: int, is_category: bool) -> np.ndarray:
    """The values' places, or their ranges of about equally many rows where there are too many."""
    if is_category or distinct <= _FINE_EXACT:
        return place
    bounds = np.arange(1, _FINE_LEVELS) * len(place) // _FINE_LEVELS
    return np.searchsorted(np.sort(place)[bounds], place)


def _rates(place: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The click rate of each row's place, in the half of the rows that the row is not in."""
    half = np.empty(len(label), np.int64)
    for value in (0, 1):
        rows = np.flatnonzero(label == value)
        half[rows] = np.arange(len(rows)) % 2
    rates = np.empty(len(label))
    for side in (0, 1):
        other = half != side
        rows = np.bincount(place[other], minlength=place.max() + 1)
        clicks = np.bincount(place[other], label[other], minlength=place.max() + 1)
        rates[~other] = ((clicks + label.mean()) / (rows + 1))[place[~other]]
    return rates


def _auc(place: np.ndarray, label: np.ndarray) -> float:
    """AUC of small whole numbers, equal ones counting half."""
    clicks = np.bincount(place, label)
    others = np.bincount(place) - clicks
    below = np.cumsum(others) - others / 2
    return float((clicks * below).sum() / (clicks.sum() * others.sum()))


def missing_blocks(sample: np.ndarray, names: Sequence[str]) -> list[tuple[list[str], np.ndarray]]:
    """Columns missing in the very same rows, and which rows these are, the most rows first."""
    groups: dict[bytes, list[int]] = {}
    for i, is_missing in enumerate(np.isnan(sample).T):
        if is_missing.any():
            groups.setdefault(is_missing.tobytes(), []).append(i)
    blocks = [
        ([names[i] for i in group], np.isnan(sample[:, group[0]])) for group in groups.values()
    ]
    return sorted(blocks, key=lambda block: -block[1].sum())


def same_columns(
    sample: np.ndarray, names: Sequence[str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Groups of columns with equal values in all rows, and groups whose order is nearly the same.

    Constant columns are left out. The first of equal columns stands for all in the second list,
    where neighbours have a rank correlation of at least SAME, rising or falling.
    """
    groups: dict[bytes, list[int]] = {}
    for i, column in enumerate(sample.T):
        known = column[~np.isnan(column)]
        if len(known) and (known != known[0]).any():
            # One NaN and one zero, whatever their bits.
            plain = np.where(np.isnan(column), np.nan, column) + 0
            groups.setdefault(plain.tobytes(), []).append(i)
    equal = [[names[i] for i in group] for group in groups.values() if len(group) > 1]
    left = [group[0] for group in groups.values()]
    ranks = {i: _standardized_ranks(sample[:, i]) for i in left}
    alike = []
    while left:
        group, left = _neighbours(left, ranks)
        if len(group) > 1:
            alike.append([names[i] for i in group])
    return equal, alike


def _neighbours(
    left: Sequence[int], ranks: Mapping[int, np.ndarray]
) -> tuple[list[int], list[int]]:
    """The first of the columns and those that lead to it over neighbours, and the others."""
    group, others = [left[0]], list(left[1:])
    for i in group:
        near = [j for j in others if abs(float(ranks[i] @ ranks[j])) >= SAME]
        group += near
        others = [j for j in others if j not in near]
    return sorted(group), others


def _standardized_ranks(values: np.ndarray) -> np.ndarray:
    """Mean ranks, of missing values the middle, with mean 0 and length 1."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2)[place]
    is_missing = np.isnan(values)
    ranks[is_missing] = (~is_missing).sum() / 2
    ranks -= ranks.mean()
    return ranks / np.linalg.norm(ranks)
