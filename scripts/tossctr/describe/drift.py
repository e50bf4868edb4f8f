"""Statistics of sampled columns, and drift (differences) between train and another table."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import TargetEncoder

# The AUC of a single column needs this many clicks and as many negatives.
MIN_CLICKS = 10
# Columns with over _MAX_DISTINCT numbers are cut into _QUANTILES ranges.
_QUANTILES, _MAX_DISTINCT = 200, 1_000
# Customary thresholds of the population stability index.
SOME_DRIFT, MUCH_DRIFT = 0.1, 0.25
# A column has at most this many levels: its values, else deciles or the commonest categories.
MAX_LEVELS = 20
# Maximum rows of each table for boosting (half of them held out), and maximum shuffled rows.
_MAX_ROWS, _MAX_SHUFFLED = 20_000, 8_000
# An AUC this many standard deviations above 0.5 is significant.
MIN_DEVIATIONS = 3
_TOP_COLUMNS = 5


def column_auc(values: np.ndarray, label: np.ndarray, is_category: bool) -> float | None:
    """The AUC of a single column as a score for clicks.

    `values` [rows] has the column's numbers or category codes; `label` [rows] has the clicks. A
    row's score is the click rate of its value, learned on the other half of the rows. More than
    1,000 distinct numbers are first cut into 200 ranges. If the AUC is then higher, the score is
    the number itself or its negative. None with fewer than 10 clicks or 10 negatives.
    """
    if min(label.sum(), (1 - label).sum()) < MIN_CLICKS:
        return None
    distinct, rank = np.unique(values, return_inverse=True)
    group = rank
    if not is_category and len(distinct) > _MAX_DISTINCT:
        group = pd.qcut(rank, _QUANTILES, labels=False, duplicates="drop")
    halves = StratifiedKFold(2, shuffle=True, random_state=1)
    encoder = TargetEncoder(target_type="binary", cv=halves, smooth=1)
    rate_auc = float(roc_auc_score(label, encoder.fit_transform(group[:, None], label)))
    if is_category:
        return rate_auc
    in_order = float(roc_auc_score(label, rank))
    return max(rate_auc, in_order, 1 - in_order)


def stability_index(train: np.ndarray, other: np.ndarray, is_category: bool) -> float:
    """The population stability index of a column's values in two tables.

    `train` and `other` have the column's values in the two tables. The index is the sum of
    (a - b) * ln(a / b) over levels of the column, where a and b are the level's shares of the rows
    of each table. A level is a value or, if a numeric column has over MAX_LEVELS values, a decile.
    Missing values are one level, categories beyond the commonest MAX_LEVELS another. Half a row is
    added to each level.
    """
    present = train[~np.isnan(train)]
    values, counts = np.unique(present, return_counts=True)
    both = np.concatenate([train, other])
    if is_category or len(values) <= MAX_LEVELS:
        commonest = values[np.argsort(-counts, kind="stable")[:MAX_LEVELS]]
        levels = pd.Index(commonest).get_indexer(both)
    else:
        # No edge is an interpolated value: between -inf and inf it would be NaN.
        edges = np.unique(np.quantile(present, np.arange(1, 10) / 10, method="lower"))
        levels = np.searchsorted(edges, both)
    is_train = np.arange(len(both)) < len(train)
    rows = pd.crosstab(np.where(np.isnan(both), -2, levels), is_train) + 0.5
    a, b = (rows / rows.sum()).to_numpy().T
    return float(((a - b) * np.log(a / b)).sum())


def adversarial_auc(train: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any] | None:
    """How well boosting separates the rows of `other` from those of `train` (adversarial AUC).

    Both tables are sampled to the same size. Boosting trains on one half; `auc` is measured on the
    other. If `auc` is significantly above 0.5 (`is_significant`), `columns` has the AUC lost by
    shuffling, for the top 5 columns. None if a table has fewer than 20 rows or no columns.
    """
    rows = min(len(train), len(other), _MAX_ROWS)
    if rows < 20 or not len(train.columns):
        return None
    picked = pd.concat([split.sample(rows, random_state=1) for split in (train, other)])
    # Trees need only the order of values, so inf becomes the largest float.
    values = np.nan_to_num(picked.to_numpy(np.float64), nan=np.nan)
    is_other = np.repeat([0, 1], rows)
    in_train_half = np.tile(np.arange(rows) < rows // 2, 2)
    # scikit-learn cannot bin a column without values.
    values[:, np.isnan(values[in_train_half]).all(axis=0)] = 0
    model = HistGradientBoostingClassifier(
        max_iter=40, learning_rate=0.2, max_leaf_nodes=15, early_stopping=False, random_state=1
    ).fit(values[in_train_half], is_other[in_train_half])
    held_out, is_other = values[~in_train_half], is_other[~in_train_half]
    auc = float(roc_auc_score(is_other, model.decision_function(held_out)))
    half = len(held_out) // 2
    is_significant = bool(auc - 0.5 > MIN_DEVIATIONS * np.sqrt((2 * half + 1) / (12 * half**2)))
    columns = {}
    if is_significant:
        losses = permutation_importance(
            model,
            held_out,
            is_other,
            scoring="roc_auc",
            n_repeats=1,
            max_samples=min(1.0, _MAX_SHUFFLED / len(held_out)),
            random_state=1,
        ).importances_mean
        lost = pd.Series(losses, train.columns).sort_values(ascending=False, kind="stable")
        columns = lost[lost > 0][:_TOP_COLUMNS].to_dict()
    return {"auc": auc, "is_significant": is_significant, "columns": columns}
