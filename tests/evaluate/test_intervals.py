"""Intervals and differences against plain computations and simulated rows."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from feseq.config.names import FEW_CLICKS, SIGNIFICANCE
from feseq.evaluate import delong as module
from feseq.evaluate.delong import Auc, Entry, correct_together
from feseq.evaluate.intervals import gain_entries, metric_entries
from feseq.evaluate.metrics import Rows


def plain_delong(label: np.ndarray, scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and their covariance by all pairs, as the paper of 1988 writes them."""
    m, n = int(label.sum()), int((1 - label).sum())
    won = [
        (s[label == 1][:, None] > s[label == 0]) + (s[label == 1][:, None] == s[label == 0]) / 2
        for s in scores
    ]
    clicks, others = [w.mean(axis=1) for w in won], [w.mean(axis=0) for w in won]
    return np.array([w.mean() for w in won]), np.cov(clicks) / m + np.cov(others) / n


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(-9, 9)),
        min_size=4,
        max_size=60,
    ).filter(lambda rows: 2 <= sum(row[0] for row in rows) <= len(rows) - 2)
)
@settings(max_examples=100, deadline=None)
def test_aucs_errors_and_differences_are_those_of_all_pairs(
    rows: list[tuple[int, int, int]],
) -> None:
    label, *scores = np.array(rows, dtype=float).T
    expected, covariance = plain_delong(label, scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FEW_CLICKS", 2)
        first, second = (Auc.of(label, score) for score in scores)
        entry = first.minus(second)
    assert [first.value, second.value] == pytest.approx(expected)
    errors = np.sqrt(np.diag(covariance))
    assert [first.error, second.error] == pytest.approx(errors, abs=1e-9)
    assert entry["value"] == pytest.approx(expected[0] - expected[1], abs=1e-12)
    square = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    error = (entry["high"] - entry["low"]) / 2 / norm.ppf(0.975)
    assert error == pytest.approx(math.sqrt(max(0.0, square)), abs=1e-7)


def normal_rows(
    random: np.random.Generator, clicks: int, rows: int = 600, lift: float = 1.0
) -> Any:
    """Labels and two scores of the same rows that are equally good and have half in common."""
    label = (np.arange(rows) < clicks).astype(int)
    shared, *own = random.normal(size=(3, rows))
    return label, *((shared + mine) / math.sqrt(2) + lift * label for mine in own)


def test_few_clicks_at_the_floor_hold_what_they_say() -> None:
    """Phi(1 / sqrt 2) = 0.7602 lies in the interval; equal models are rarely told apart."""
    random, held, apart, times = np.random.default_rng(2), 0, 0, 400
    for _ in range(times):
        label, *scores = normal_rows(random, FEW_CLICKS)
        first, second = (Auc.of(label, score) for score in scores)
        entry = first.entry()
        held += entry["low"] <= norm.cdf(1 / math.sqrt(2)) <= entry["high"]
        apart += first.minus(second)["chance"] < SIGNIFICANCE
    assert 0.91 < held / times < 0.98
    assert apart / times < 0.09


def test_below_the_floor_there_is_no_interval_and_no_chance() -> None:
    """One click that the model ranks first has an AUC of 1, which says nothing."""
    random = np.random.default_rng(3)
    for clicks in (0, 1, FEW_CLICKS - 1, 600 - FEW_CLICKS + 1, 599, 600):
        label, *scores = normal_rows(random, clicks, lift=9.0)
        first, second = (Auc.of(label, score) for score in (scores[0], -scores[1]))
        assert first.entry()["low"] is None
        assert first.minus(second)["chance"] is None
        assert math.isnan(first.value) == (clicks in (0, 600))
        if not math.isnan(first.value):
            entries = metric_entries(Rows(label, scores[0]), first, 9).values()
            assert {entry["low"] for entry in entries} == {None}


def test_equal_and_perfect_models_have_chances_of_1_and_0() -> None:
    label, score, _ = normal_rows(np.random.default_rng(4), 50)
    auc = Auc.of(label, score)
    assert auc.minus(auc)["chance"] == 1
    perfect, constant = Auc.of(label, label), Auc.of(label, 0 * label)
    assert (perfect.value, constant.value) == (1, 0.5)
    assert perfect.minus(constant)["chance"] == 0
    assert perfect.entry()["low"] is None


def test_chances_are_corrected_by_holm() -> None:
    chances = [0.01, 0.04, None, 0.03, 0.005]
    entries: list[Entry] = [{"chance": chance} for chance in chances]
    correct_together(entries)
    # 4 x 0.005; 3 x 0.01; 2 x 0.03; at least as much as the one before.
    assert [entry["chance"] for entry in entries] == [0.03, 0.06, None, 0.06, 0.02]


def test_a_slice_that_differs_is_told_apart_from_all_rows() -> None:
    """The error of the difference counts that the rows of the slice are among all rows."""
    random, found = np.random.default_rng(6), []
    for _ in range(200):
        label = (random.random(2_000) < 0.2).astype(int)
        inside = np.arange(2_000) < 800
        score = random.normal(size=2_000) + label * np.where(inside, 0.5, 1.5)
        whole, part = Auc.of(label, score), Auc.of(label[inside], score[inside])
        entry = part.minus(whole, np.flatnonzero(inside))
        found.append([entry["value"], (entry["high"] - entry["low"]) / 2 / norm.ppf(0.975)])
    value, error = np.array(found).T
    assert value.mean() < -0.05
    assert error.mean() == pytest.approx(value.std(), rel=0.2)
    assert whole.minus(whole, np.arange(2_000))["value"] == 0


def test_gains_are_positive_where_a_model_is_better_whatever_the_metric() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(-1, 1.5, 6_000)
    label = (random.random(6_000) < 1 / (1 + np.exp(-truth))).astype(int)
    logits = truth, truth + random.normal(0, 1.5, 6_000)
    rows = [Rows(label, logit, label.mean()) for logit in logits]
    gain = Auc.of(label, logits[0]).minus(Auc.of(label, logits[1]))
    gains = gain_entries(*rows, gain, 30)
    for name, found in gains.items():
        assert 0 < found["low"] < found["value"], name  # type: ignore[operator]
    same = gain_entries(rows[0], rows[0], gain, 5)
    assert {entry["value"] for name, entry in same.items() if name != "auc"} <= {0, None}
