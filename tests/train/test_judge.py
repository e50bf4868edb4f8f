"""When a training is evaluated, its figures, and what counts as a gain."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from feseq.train.judge import Occasions, Plateau
from feseq.train.monitor import click_metrics
from support.trainings import TRAIN


def due(batches: int, epochs: int = 2, **settings: object) -> list[int]:
    """The steps after which a training is evaluated."""
    occasions = Occasions(replace(TRAIN, epochs=epochs, **settings), batches)
    steps = [(e, b) for e in range(1, epochs + 1) for b in range(1, batches + 1)]
    return [i for i, (e, b) in enumerate(steps, 1) if occasions.is_due(e, b, i)]


def test_evaluations_divide_an_epoch() -> None:
    assert due(10) == [10, 20]
    assert due(10, evaluations_per_epoch=1) == [10, 20]
    assert due(10, evaluations_per_epoch=4) == [3, 5, 8, 10, 13, 15, 18, 20]
    assert due(3, evaluations_per_epoch=9) == [1, 2, 3, 4, 5, 6]
    assert due(10, evaluations_per_epoch=4, eval_steps=8) == [8, 16, 20]
    assert due(2_000, 1) == [2_000]
    assert due(4_000, 1) == [1_000, 2_000, 3_000, 4_000]


def test_those_within_a_long_epoch_only_look_unless_asked_for() -> None:
    for settings, expected in (
        ({}, [False, True]),
        ({"evaluations_per_epoch": 4}, [True, True]),
        ({"eval_steps": 1_000}, [True, True]),
    ):
        occasions = Occasions(replace(TRAIN, **settings), 4_000)
        assert [occasions.counts(batch) for batch in (1_000, 4_000)] == expected


def test_a_gain_resets_patience() -> None:
    plateau = Plateau(patience=2)
    judged = [(plateau.is_gain(m), plateau.is_over) for m in (0.5, 0.4, 0.6, 0.6, 0.1)]
    assert judged == [(True, False), (False, False), (True, False), (False, False), (False, True)]


def test_cuts_come_after_so_many_without_gain() -> None:
    plateau = Plateau(patience=9, cut_patience=2)
    cuts = [(plateau.is_gain(m), plateau.is_cut_due)[1] for m in (0.5, 0.4, 0.6, 0, 0, 0, 0, 0.7)]
    assert cuts == [False, False, False, False, True, False, True, False]


def test_small_gains_within_the_margin_add_up() -> None:
    plateau = Plateau(patience=9, margin=0.1)
    assert [plateau.is_gain(m) for m in (0.5, 0.55, 0.59, 0.61, 0.7)] == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_figures_are_those_of_scikit_learn_at_both_odds() -> None:
    random = np.random.default_rng(3)
    label, logit = random.integers(0, 2, 200), random.normal(size=200).astype(np.float32)
    found = click_metrics(label, logit, 0.02)
    shifted = logit + np.log(0.98 / 0.02)
    for prefix, logits in (("", logit), ("balanced_", shifted)):
        p = 1 / (1 + np.exp(-logits.astype(np.float64)))
        weight = np.where(label == 1, 1 / label.sum(), 1 / (1 - label).sum())
        precision, weighted = (
            average_precision_score(label, p),
            log_loss(label, p, sample_weight=weight),
        )
        assert found[f"{prefix}logloss"] == pytest.approx(log_loss(label, p))
        assert found[f"{prefix}weighted_logloss"] == pytest.approx(weighted)
        assert found[f"{prefix}score"] == pytest.approx(precision / 2 + 0.5 / (1 + weighted))
    assert found["auc"] == pytest.approx(roc_auc_score(label, logit))


def test_one_label_alone_or_a_logit_that_is_not_finite_has_no_figures() -> None:
    for label, logit in (([0, 0], [0.1, 0.2]), ([0, 1], [0.1, np.nan])):
        found = click_metrics(np.array(label), np.array(logit, np.float32), 0.02)
        assert np.isnan(list(found.values())).all()
        assert "balanced_score" in found
