"""AUC, logloss, the competition's score and the other metrics, for any weights of the rows."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from ..common.logits import sigmoid

# Bins of about equally many rows behind the calibration error.
CALIBRATION_BINS = 20


def competition_score(average_precision: float, weighted_logloss: float) -> float:
    """The Toss competition's score, 0.5 AP + 0.5 / (1 + WLL)."""
    return 0.5 * average_precision + 0.5 / (1 + weighted_logloss)


class Metrics:
    """All metrics of a model's logits, and of the same logits shifted to other odds."""

    def __init__(
        self,
        label: np.ndarray,
        logit: np.ndarray,
        shifts: Sequence[float] = (0.0,),
        group: np.ndarray | None = None,
    ) -> None:
        # Sorted once: scikit-learn sorts again at each call, which is quick on sorted rows.
        self.order = np.argsort(logit, kind="stable")
        self.label, self.logit = label[self.order], logit[self.order].astype(np.float64)
        self.probabilities = [sigmoid(self.logit + shift) for shift in shifts]
        edges = self.logit[np.arange(1, CALIBRATION_BINS) * len(logit) // CALIBRATION_BINS]
        self.bin = np.searchsorted(np.unique(edges), self.logit, side="right")
        self.groups = None if group is None else GroupedAuc(label, logit, group)

    def of(self, weight: np.ndarray) -> list[dict[str, float]]:
        """The metrics by name for each shift; `weight` [rows] in the order of the rows given.

        auc, logloss, average_precision, weighted_logloss (classes at 50:50), score,
        calibration_error and, with groups, gauc; those of ranks, auc, average_precision and gauc,
        are the same for all shifts.
        """
        sorted_weight = weight[self.order]
        auc = float(roc_auc_score(self.label, self.logit, sample_weight=sorted_weight))
        precision = average_precision_score(self.label, self.logit, sample_weight=sorted_weight)
        grouped = {} if self.groups is None else {"gauc": self.groups.mean(weight)}
        found = []
        for probability in self.probabilities:
            weighted = self._logloss(probability, self._half_and_half(sorted_weight))
            found.append(
                {
                    "auc": auc,
                    "logloss": self._logloss(probability, sorted_weight),
                    "average_precision": float(precision),
                    "weighted_logloss": weighted,
                    "score": competition_score(float(precision), weighted),
                    "calibration_error": self._calibration_error(probability, sorted_weight),
                    **grouped,
                }
            )
        return found

    def _logloss(self, probability: np.ndarray, weight: np.ndarray) -> float:
        return float(log_loss(self.label, probability, sample_weight=weight, labels=[0, 1]))

    def _half_and_half(self, weight: np.ndarray) -> np.ndarray:
        """Weights with which clicks and others count half each."""
        clicks = weight[self.label == 1].sum()
        return weight * np.where(self.label == 1, 0.5 / clicks, 0.5 / (weight.sum() - clicks))

    def _calibration_error(self, probability: np.ndarray, weight: np.ndarray) -> float:
        """Mean over the rows of |mean probability - share of clicks| of their bin."""
        gap = np.bincount(self.bin, weight * (probability - self.label))
        return float(np.abs(gap).sum() / weight.sum())


class GroupedAuc:
    """AUC within groups of rows, for any weights of the rows; sorted once.

    AUC = P(a click's score > another's) + P(equal) / 2, within the group.
    """

    def __init__(self, label: np.ndarray, score: np.ndarray, group: np.ndarray) -> None:
        self.order = np.lexsort((score, group))
        self.is_click = label[self.order] == 1
        self.names, group = np.unique(group[self.order], return_inverse=True)
        score = score[self.order]
        is_new = np.diff(group, prepend=-1) != 0
        is_new[1:] |= score[1:] != score[:-1]
        # Rows of one group and score tie.
        self.tie = np.cumsum(is_new) - 1
        self.group_of_tie = group[is_new]
        self.first_tie = np.searchsorted(self.group_of_tie, np.arange(len(self.names)))

    def by_group(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUC [groups], NaN where a group has one class only, and weight [groups]."""
        weight = weight[self.order].astype(np.float64)
        ties = len(self.group_of_tie)
        clicks_T = np.bincount(self.tie, weight * self.is_click, ties)
        others_T = np.bincount(self.tie, weight * ~self.is_click, ties)
        clicks, others = (np.bincount(self.group_of_tie, x) for x in (clicks_T, others_T))
        below_T = np.cumsum(others_T) - others_T
        below_T -= below_T[self.first_tie][self.group_of_tie]
        won = np.bincount(self.group_of_tie, clicks_T * (below_T + others_T / 2))
        pairs = clicks * others
        auc = np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
        return auc, clicks + others

    def mean(self, weight: np.ndarray) -> float:
        """GAUC: the mean over groups with both classes, weighted by their rows; NaN without any."""
        auc, rows = self.by_group(weight)
        known = ~np.isnan(auc)
        return float(np.average(auc[known], weights=rows[known])) if known.any() else float("nan")


def share_of_best(auc: float, best_auc: float) -> float:
    """Share of what can be learned: (AUC - 0.5) / (best possible AUC - 0.5)."""
    return (auc - 0.5) / (best_auc - 0.5)
