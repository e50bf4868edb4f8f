"""AUCs, their errors and differences against plain computations and simulated rows."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, norm
from sklearn.metrics import roc_auc_score

from feseq.evaluate import auc as module
from feseq.evaluate.auc import (
    LEAST_CLICKS,
    SIGNIFICANCE,
    Auc,
    auc_entry,
    correct_together,
    difference_entry,
    expected_auc,
)
from feseq.evaluate.slices import Groups, correct_slices, slices_of


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
        patch.setattr(module, "LEAST_CLICKS", 2)
        first, second = (Auc.of(label, score) for score in scores)
    assert [first.value, second.value] == pytest.approx(expected)
    errors = np.sqrt(np.diag(covariance))
    assert [first.error, second.error] == pytest.approx(errors, abs=1e-9)
    difference, error = first.minus(second)
    assert difference == pytest.approx(expected[0] - expected[1], abs=1e-12)
    square = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
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
        label, *scores = normal_rows(random, LEAST_CLICKS)
        first, second = (Auc.of(label, score) for score in scores)
        entry = auc_entry(first)
        held += entry["low"] <= norm.cdf(1 / math.sqrt(2)) <= entry["high"]
        apart += difference_entry(*first.minus(second))["chance"] < SIGNIFICANCE
    assert 0.91 < held / times < 0.98
    assert apart / times < 0.09


def test_below_the_floor_there_is_no_interval_and_no_chance() -> None:
    """One click that the model ranks first has an AUC of 1, which says nothing."""
    random = np.random.default_rng(3)
    for clicks in (0, 1, LEAST_CLICKS - 1, 600 - LEAST_CLICKS + 1, 599, 600):
        label, *scores = normal_rows(random, clicks, lift=9.0)
        first, second = (Auc.of(label, score) for score in (scores[0], -scores[1]))
        assert auc_entry(first)["low"] is None
        assert difference_entry(*first.minus(second))["chance"] is None
        assert math.isnan(first.value) == (clicks in (0, 600))


def test_equal_and_perfect_models_have_chances_of_1_and_0() -> None:
    label, score, _ = normal_rows(np.random.default_rng(4), 50)
    auc = Auc.of(label, score)
    assert difference_entry(*auc.minus(auc))["chance"] == 1
    perfect, constant = Auc.of(label, label), Auc.of(label, 0 * label)
    assert (perfect.value, constant.value) == (1, 0.5)
    assert difference_entry(*perfect.minus(constant))["chance"] == 0
    assert auc_entry(perfect)["low"] is None


def test_chances_are_corrected_by_holm() -> None:
    chances = [0.01, 0.04, None, 0.03, 0.005]
    entries: list[dict[str, float | None]] = [{"chance": chance} for chance in chances]
    correct_together(entries)
    # 4 x 0.005; 3 x 0.01; 2 x 0.03; at least as much as the one before.
    assert [entry["chance"] for entry in entries] == [0.03, 0.06, None, 0.06, 0.02]
    # No less strict than Benjamini and Hochberg's, which allows more to be wrong.
    known = [c for c in chances if c is not None]
    corrected = [entry["chance"] for entry in entries if entry["chance"] is not None]
    assert (np.array(corrected) >= false_discovery_control(known)).all()


def test_of_many_slices_that_do_not_differ_hardly_any_is_told_apart() -> None:
    """One of twenty would be in each file without the correction."""
    random, wrong = np.random.default_rng(5), 0
    for _ in range(40):
        label = (random.random(8_000) < 0.2).astype(int)
        score = random.normal(size=8_000) + label
        group = random.integers(0, 20, 8_000)
        names = [str(code) for code in range(20)]
        found = {"column": slices_of(Groups(group, names), label, score, Auc.of(label, score))}
        uncorrected = [of["apart"]["chance"] for of in found["column"]]
        correct_slices(found)
        wrong += any(of["apart"]["chance"] < SIGNIFICANCE for of in found["column"])
        assert all(of["apart"]["chance"] >= c for of, c in zip(found["column"], uncorrected))
    assert wrong <= 6


def test_a_slice_that_differs_is_told_apart_from_all_rows() -> None:
    """The error of the difference counts that the rows of the slice are among all rows."""
    random, found = np.random.default_rng(6), []
    for _ in range(200):
        label = (random.random(2_000) < 0.2).astype(int)
        inside = np.arange(2_000) < 800
        score = random.normal(size=2_000) + label * np.where(inside, 0.5, 1.5)
        whole, part = Auc.of(label, score), Auc.of(label[inside], score[inside])
        found.append(whole.of_part(part, np.flatnonzero(inside)))
    value, error = np.array(found).T
    assert value.mean() < -0.05
    assert error.mean() == pytest.approx(value.std(), rel=0.2)
    everything = np.arange(2_000)
    assert whole.of_part(whole, everything) == pytest.approx((0, 0), abs=1e-9)


def test_the_expected_auc_is_the_mean_over_labels() -> None:
    random = np.random.default_rng(7)
    probability = random.beta(1, 4, 300)
    score = np.round(probability + random.normal(0, 0.3, 300), 1)
    aucs = [roc_auc_score(random.random(300) < probability, score) for _ in range(300)]
    assert expected_auc(score, probability) == pytest.approx(np.mean(aucs), abs=0.008)
    assert expected_auc(score, probability) < expected_auc(probability, probability)
