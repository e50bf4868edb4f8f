"""What is monitored, against scikit-learn."""

from typing import get_args

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from feseq.config.train import Monitored
from feseq.train.monitor import monitored_metrics


def test_metrics_are_those_of_scikit_learn_at_both_odds() -> None:
    random = np.random.default_rng(3)
    label, logit = random.integers(0, 2, 200), random.normal(size=200).astype(np.float32)
    found = monitored_metrics(get_args(Monitored), label, logit, 0.02)
    for prefix, logits in (("", logit), ("balanced_", logit + np.log(0.98 / 0.02))):
        p = 1 / (1 + np.exp(-logits.astype(np.float64)))
        weight = np.where(label == 1, 1 / label.sum(), 1 / (1 - label).sum())
        weighted = log_loss(label, p, sample_weight=weight)
        expected = average_precision_score(label, p) / 2 + 0.5 / (1 + weighted)
        assert found[f"{prefix}logloss"] == pytest.approx(log_loss(label, p), rel=1e-6)
        assert found[f"{prefix}weighted_logloss"] == pytest.approx(weighted, rel=1e-6)
        assert found[f"{prefix}score"] == pytest.approx(expected, rel=1e-6)
    assert found["auc"] == pytest.approx(roc_auc_score(label, logit))


def test_one_label_alone_or_a_logit_that_is_not_finite_has_no_metrics() -> None:
    for label, logit in (([0, 0], [0.1, 0.2]), ([0, 1], [0.1, np.nan])):
        logits = np.array(logit, np.float32)
        found = monitored_metrics(["auc", "balanced_score"], np.array(label), logits, 0.02)
        assert list(found) == ["auc", "balanced_score"]
        assert np.isnan(list(found.values())).all()
