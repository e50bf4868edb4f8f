"""Chooses the sets of features and `min_child_weight` before a training.

Features of users and ads help only if new rows have the same users and ads. So short trainings try
one change at a time: one more set of features, or a smaller `min_child_weight`. A change is kept if
it lowers the logloss of held-out rows by more than the standard error of this gain.

For sets of features, the validation rows are held out. If the validation rows are few and drawn at
random, a cross-validation of train rows adds held-out rows. For `min_child_weight`, only train rows
are held out.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ...datasets.table import RowSubset, Table
from .boosting import FEATURE_SETS, BoostingConfig
from .features import FeatureBuilder, fit_features
from .trees import Matrix, fit, quantile_matrix

logger = logging.getLogger(__name__)

# A short training has at most this many train rows, and at most this many held-out rows.
_MAX_ROWS = 200_000
# The settings of short trainings: constant, so that all trials of a search choose the same sets.
SHORT_RUN = BoostingConfig(learning_rate=0.1, trees=300)
# The first `min_child_weight`, and its maximum as a share of the sum of p (1 - p) over all rows:
# trees must be able to split even if clicks are few.
_FIRST_LEAF_WEIGHT, _MAX_LEAF_SHARE = 20.0, 0.1
# The train rows and the folds of a cross-validation.
_FOLDED_ROWS, _FOLDS = 20_000, 3

# Train rows, held-out rows, and the features of each, with all sets.
Split = tuple[Table, Table, FeatureBuilder, FeatureBuilder]


class ChosenSettings(NamedTuple):
    """The chosen settings, and the changes that were tried.

    `sets` names the chosen sets of features. `tried` has a mapping for each change: its name
    (`what`), the number of held-out rows, the `gain` (by how much it lowers their mean logloss),
    the gain's standard error, and whether the change was kept.
    """

    min_child_weight: float
    sets: Sequence[str]
    tried: list[dict[str, Any]]


def choose_settings(
    rows: tuple[Table, Table],
    features: tuple[FeatureBuilder, FeatureBuilder],
    config: BoostingConfig,
    device: str,
    threads: int,
) -> ChosenSettings:
    """Choose `min_child_weight` and the sets of features, where `config` has `auto`.

    `rows` are the tables of train and validation rows, `features` their features with all sets.
    """
    train, valid = (RowSubset(table, np.arange(min(table.rows, _MAX_ROWS))) for table in rows)
    few = RowSubset(train, np.arange(min(train.rows, _FOLDED_ROWS)))
    rate = train.column("label").mean()
    leaf = min(_FIRST_LEAF_WEIGHT, _max_leaf_weight(train.rows, rate))
    trials = _Trials(device, threads)
    has_clicks = leaf <= _max_leaf_weight(few.rows * (1 - 1 / _FOLDS), rate)
    if config.features == "auto":
        splits: list[Split] = [(train, valid, *features)]
        # Folds of train rows share users and days, unlike rows held out by group or time.
        is_random = not any(t.column(key).any() for t in rows for key in ("period", "fold"))
        if is_random and has_clicks and valid.rows < few.rows:
            splits += _cross_validation(few, features[0])
        sets = trials.choose_feature_sets(splits, leaf)
    else:
        sets = [name for name in FEATURE_SETS if name in config.features]
    if config.min_child_weight != "auto":
        leaf = float(config.min_child_weight)
    elif has_clicks:
        # With fewer clicks, the sample fills leaves less than all rows do: small leaves would win.
        leaf = trials.choose_min_child_weight(few, replace(features[0], sets=sets), leaf)
    return ChosenSettings(leaf, sets, trials.tried)


def _cross_validation(rows: Table, features: FeatureBuilder) -> Iterator[Split]:
    """For each fold of `rows`, a split that holds it out; features are fitted to the rest."""
    fold = np.arange(rows.rows) % _FOLDS
    for number in range(_FOLDS):
        train, held = (RowSubset(rows, np.flatnonzero(p)) for p in (fold != number, fold == number))
        fitted = fit_features(train, features.feature_map, features.sets, by_period=False)
        yield train, held, replace(fitted[0], oov_dropout=features.oov_dropout), fitted[1]


def _max_leaf_weight(rows: float, rate: float) -> float:
    """The largest `min_child_weight` for a number of rows and their click rate."""
    return _MAX_LEAF_SHARE * rows * rate * (1 - rate)


@dataclass(frozen=True)
class _Trials:
    """Runs short trainings, and records the changes tried. `leaf` is a `min_child_weight`."""

    device: str
    threads: int
    tried: list[dict[str, Any]] = field(default_factory=list)

    def losses_by_row(self, train: Matrix, held: Matrix, leaf: float) -> np.ndarray:
        """The losses of the rows of `held`, float64 [rows], after a short training on `train`."""
        short = SHORT_RUN.model_copy(update={"min_child_weight": leaf})
        booster, _ = fit(train, held, None, short, self.device, self.threads)
        logit = booster.predict(held, output_margin=True).astype(np.float64)
        return np.logaddexp(0, logit) - held.get_label() * logit

    def lowers_loss(self, what: str, before: np.ndarray, after: np.ndarray) -> bool:
        """True if a change is kept; logs and records the change with the name `what`.

        `before` and `after` are the losses [rows] of the held-out rows without and with the change.
        """
        gains, rows = before - after, len(after)
        gain, error = float(gains.mean()), float(gains.std() / np.sqrt(rows))
        kept = gain > error
        text = "%s: %skept (logloss drop %.5f, standard error %.5f, on %s held-out rows)"
        logger.info(text, what, "" if kept else "not ", gain, error, f"{rows:,}")
        self.tried.append({"what": what, "rows": rows, "gain": gain, "error": error, "kept": kept})
        return kept

    def choose_feature_sets(self, splits: Sequence[Split], leaf: float) -> list[str]:
        """The names of the sets of features that lower the mean logloss of all held-out rows."""

        def losses(sets: Sequence[str]) -> np.ndarray:
            return np.concatenate([self._losses_of(split, sets, leaf) for split in splits])

        sets: list[str] = []
        best, features = losses(sets), splits[0][2]
        for name in FEATURE_SETS:
            more = [*sets, name]
            if replace(features, sets=more).columns() == replace(features, sets=sets).columns():
                continue  # the set adds no column
            if self.lowers_loss(f"features {name}", best, loss := losses(more)):
                best, sets = loss, more
        return sets

    def _losses_of(self, split: Split, sets: Sequence[str], leaf: float) -> np.ndarray:
        """The logloss of each held-out row of a split, with these sets of features."""
        train, held = split[:2]
        train_features, held_features = (replace(each, sets=sets) for each in split[2:])
        if not train_features.columns():
            rate = train.column("label").mean()
            return -np.log(np.where(held.column("label") == 1, rate, 1 - rate))
        matrix = quantile_matrix(train, train_features, threads=self.threads)
        binned = quantile_matrix(held, held_features, like=matrix, threads=self.threads)
        return self.losses_by_row(matrix, binned, leaf)

    def choose_min_child_weight(self, rows: Table, features: FeatureBuilder, leaf: float) -> float:
        """`leaf`, divided by 4 until this no longer lowers the cross-validated loss of `rows`."""
        fold = np.arange(rows.rows) % _FOLDS
        train = quantile_matrix(rows, features, threads=self.threads)
        held = quantile_matrix(rows, features, like=train, threads=self.threads)

        def losses(leaf: float) -> np.ndarray:
            out_of_fold = np.zeros(rows.rows)
            for number in range(_FOLDS):
                is_out = fold == number
                train.set_weight((~is_out).astype(np.float32))
                held.set_weight(is_out.astype(np.float32))
                out_of_fold[is_out] = self.losses_by_row(train, held, leaf)[is_out]
            return out_of_fold

        best, smaller = losses(leaf), leaf / 4
        while self.lowers_loss(f"min_child_weight {smaller:.3g}", best, loss := losses(smaller)):
            best, leaf, smaller = loss, smaller, smaller / 4
        return leaf
