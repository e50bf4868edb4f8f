"""Statistics of columns in a sample of rows, and how much other rows differ from train rows."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import TargetEncoder

# The least clicks and the least negatives for the AUC of a single column.
MIN_CLICKS = 10
_RANGES, _MAX_EXACT = 200, 1_000
# Stability indices that are widely taken as limits of some drift and of much drift.
SOME_DRIFT, MUCH_DRIFT = 0.1, 0.25
# The most levels of a column. Of more values, deciles or the commonest categories are the levels.
MAX_LEVELS = 20
# The most rows of each table for boosting, half of them to test it, and the most shuffled rows.
_ROWS, _SHUFFLED = 20_000, 8_000
# An AUC this many standard deviations above 0.5 is significant.
SURE = 3
_SHOWN = 5


def auc_alone(values: np.ndarray, label: np.ndarray, is_category: bool) -> float | None:
    """The best AUC of a single column [rows], ranked by its numbers or by click rates.

    Numbers are ranked rising or falling; missing values count as the largest. Click rates of
    categories, or of 200 ranges of numbers, are learned on each half of the rows for the other.
    None with fewer than 10 clicks or 10 negatives.
    """
    if min(label.sum(), (1 - label).sum()) < MIN_CLICKS:
        return None
    distinct, rank = np.unique(values, return_inverse=True)
    group = rank
    if not is_category and len(distinct) > _MAX_EXACT:
        group = pd.qcut(rank, _RANGES, labels=False, duplicates="drop")
    halves = StratifiedKFold(2, shuffle=True, random_state=1)
    encoder = TargetEncoder(target_type="binary", cv=halves, smooth=1)
    alone = float(roc_auc_score(label, encoder.fit_transform(group[:, None], label)))
    if is_category:
        return alone
    in_order = float(roc_auc_score(label, rank))
    return max(alone, in_order, 1 - in_order)


def stability_index(train: np.ndarray, other: np.ndarray, is_category: bool) -> float:
    """The population stability index of a column's values in two tables.

    The sum over levels of (a - b) * ln(a / b), where a and b are the level's shares of rows, with
    half a row added to each level. Missing values are one level; all rarer categories are another.
    """
    known = train[~np.isnan(train)]
    values, counts = np.unique(known, return_counts=True)
    both = np.concatenate([train, other])
    if is_category or len(values) <= MAX_LEVELS:
        kept = values[np.argsort(-counts, kind="stable")[:MAX_LEVELS]]
        levels = pd.Index(kept).get_indexer(both)
    else:
        # Each edge is a value of the column, since the mean of -inf and inf would be NaN.
        edges = np.unique(np.quantile(known, np.arange(1, 10) / 10, method="lower"))
        levels = np.searchsorted(edges, both)
    is_train = np.arange(len(both)) < len(train)
    rows = pd.crosstab(np.where(np.isnan(both), -2, levels), is_train) + 0.5
    a, b = (rows / rows.sum()).to_numpy().T
    return float(((a - b) * np.log(a / b)).sum())


def adversary(train: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any] | None:
    """The adversarial AUC: how well boosting separates `other` from `train`.

    Boosting trains on half of the rows; `auc` is on the other half. If it is significantly above
    0.5, `is_significant` is true, and `columns` has the columns whose shuffling loses the most AUC,
    with this loss. The larger table is cut to the size of the smaller. None if one has fewer than
    20 rows.
    """
    rows = min(len(train), len(other), _ROWS)
    if rows < 20 or not len(train.columns):
        return None
    picked = pd.concat([split.sample(rows, random_state=1) for split in (train, other)])
    # Trees need only the order of values: infinite ones become the largest.
    values = np.nan_to_num(picked.to_numpy(np.float64), nan=np.nan)
    is_other = np.repeat([0, 1], rows)
    learns = np.tile(np.arange(rows) < rows // 2, 2)
    # scikit-learn cannot bin a column without values.
    values[:, np.isnan(values[learns]).all(axis=0)] = 0
    model = HistGradientBoostingClassifier(
        max_iter=40, learning_rate=0.2, max_leaf_nodes=15, early_stopping=False, random_state=1
    ).fit(values[learns], is_other[learns])
    held_out, is_other = values[~learns], is_other[~learns]
    auc = float(roc_auc_score(is_other, model.decision_function(held_out)))
    half = len(held_out) // 2
    is_significant = bool(auc - 0.5 > SURE * np.sqrt((2 * half + 1) / (12 * half**2)))
    columns = {}
    if is_significant:
        lost = permutation_importance(
            model,
            held_out,
            is_other,
            scoring="roc_auc",
            n_repeats=1,
            max_samples=min(1.0, _SHUFFLED / len(held_out)),
            random_state=1,
        ).importances_mean
        most = pd.Series(lost, train.columns).sort_values(ascending=False, kind="stable")[:_SHOWN]
        columns = most[most > 0].to_dict()
    return {"auc": auc, "is_significant": is_significant, "columns": columns}
