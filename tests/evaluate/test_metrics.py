"""Metrics, their intervals and differences against scikit-learn, plain loops, simulated rows."""

import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean, variance
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_sample_weight

from tossctr.config.names import FEW_CLICKS, SIGNIFICANCE
from tossctr.evaluate import delong as module
from tossctr.evaluate.delong import Auc, Entry, correct_together
from tossctr.evaluate.intervals import behind_best, bootstrap, gain_entries, metric_entries
from tossctr.evaluate.metric_table import METRICS, calibration_bins, metrics_of

README = Path(__file__).parents[2] / "results/README.md"
Plain = Callable[[list[int], list[float]], float]


def weighted_logloss(label: list[int], logit: list[float]) -> float:
    weight = compute_sample_weight("balanced", label)
    return float(log_loss(label, expit(logit), sample_weight=weight))


def score(label: list[int], logit: list[float]) -> float:
    loss = weighted_logloss(label, logit)
    return 0.5 * average_precision_score(label, logit) + 0.5 / (1 + loss)


def calibration_error(label: list[int], logit: list[float]) -> float:
    edges = sorted({sorted(logit)[i * len(logit) // 20] for i in range(1, 20)})
    bins: dict[int, list[float]] = {}
    for y, x in zip(label, logit):
        bins.setdefault(sum(x >= edge for edge in edges), []).append(1 / (1 + math.exp(-x)) - y)
    several = [gaps for gaps in bins.values() if len(gaps) > 1]
    squares = [(mean(gaps) ** 2 - variance(gaps) / len(gaps)) * len(gaps) for gaps in several]
    return math.sqrt(max(0, sum(squares) / len(label)))


PLAIN: dict[str, Plain] = {
    "auc": roc_auc_score,
    "average_precision": average_precision_score,
    "logloss": lambda label, logit: log_loss(label, expit(logit)),
    "weighted_logloss": weighted_logloss,
    "score": score,
    "calibration_error": calibration_error,
}

# Few values, so that many tie.
ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-12, 12), st.integers(1, 3)),
    min_size=2,
    max_size=40,
).filter(lambda rows: 0 < sum(row[0] for row in rows) < len(rows))


@pytest.mark.parametrize("name", [metric.name for metric in METRICS])
@given(rows=ROWS)
@settings(max_examples=60, deadline=None)
def test_a_metric_is_that_of_plain_loops(name: str, rows: list[tuple[int, ...]]) -> None:
    label, half, count = map(list, zip(*rows))
    logit = [x / 2 for x in half]
    arrays, plain = (np.array(label), np.array(logit), 0.25), PLAIN[name]
    assert metrics_of([name], *arrays) == [pytest.approx(plain(label, logit), abs=1e-9)]
    at_even_odds = plain(label, [x + math.log(3) for x in logit])
    assert metrics_of([f"balanced_{name}"], *arrays) == [pytest.approx(at_even_odds, abs=1e-9)]
    # A row that counts twice is two rows; the bins of the calibration stay those of the rows.
    if name != "calibration_error":
        label, logit = (np.repeat(x, count).tolist() for x in (label, logit))
        (value,) = metrics_of([name], *arrays, np.array(count))
        assert value == pytest.approx(plain(label, logit), abs=1e-9)


def test_the_calibration_error_is_free_of_chance_and_lies_in_its_interval() -> None:
    """Predictions whose odds are off by a factor, or right: the error without chance is known."""
    random, rows, times = np.random.default_rng(3), 4_000, 30
    for factor in (0.0, 0.4):
        errors, held = [], 0
        for _ in range(times):
            logit = random.normal(-2.5, 1, rows)
            true = 1 / (1 + np.exp(-logit))
            label = (random.random(rows) < true).astype(int)
            gap, bins = expit(logit + factor) - true, calibration_bins(logit + factor)
            of_bins = [gap[bins == b].mean() ** 2 for b in range(20)]
            logits, names = [logit + factor], ["calibration_error"]
            (value,), sampled = (x.ravel() for x in bootstrap(label, logits, 0.1, names, 40))
            low, high = np.quantile(sampled, (0.025, 0.975))
            assert low <= value <= high
            held += low <= math.sqrt(mean(of_bins)) <= high
            errors.append(value**2 - mean(of_bins))
        # 25 or fewer of 30 intervals that hold 95 % would come once in a hundred times.
        assert held > 25
        if factor:
            assert abs(mean(errors)) < 2.5 * np.std(errors) / math.sqrt(times)


def test_the_results_page_lists_every_metric() -> None:
    text = README.read_text(encoding="utf-8").replace("\\|", "|")
    assert [m.name for m in METRICS if f"| `{m.name}` | {m.note} |" not in text] == []


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
        apart += first.minus(second)["p_value"] < SIGNIFICANCE
    assert 0.91 < held / times < 0.98
    assert apart / times < 0.09


def test_below_the_floor_there_is_no_interval_and_no_p_value() -> None:
    """One click that the model ranks first has an AUC of 1, which says nothing."""
    random = np.random.default_rng(3)
    for clicks in (0, 1, FEW_CLICKS - 1, 600 - FEW_CLICKS + 1, 599, 600):
        label, *scores = normal_rows(random, clicks, lift=9.0)
        first, second = (Auc.of(label, score) for score in (scores[0], -scores[1]))
        assert first.entry()["low"] is None
        assert first.minus(second)["p_value"] is None
        assert math.isnan(first.value) == (clicks in (0, 600))
        if not math.isnan(first.value):
            entries = metric_entries(label, scores[0], 0.5, 9).values()
            assert {entry["low"] for entry in entries} == {None}
            (_, worse) = behind_best(label, [scores[0], -scores[0]], METRICS[0], 0.5)
            assert worse["p_value"] is None


def test_equal_and_perfect_models_have_p_values_of_1_and_0() -> None:
    label, score, _ = normal_rows(np.random.default_rng(4), 50)
    perfect, auc, constant = (Auc.of(label, each) for each in (label, score, 0 * label))
    assert (perfect.value, constant.value) == (1, 0.5)
    assert auc.minus(auc)["p_value"] == 1
    assert perfect.minus(constant)["p_value"] == 0
    assert perfect.entry()["low"] is None


def test_p_values_are_corrected_by_holm() -> None:
    chances = [0.01, 0.04, None, 0.03, 0.005]
    entries: list[Entry] = [{"p_value": chance} for chance in chances]
    correct_together(entries)
    # 4 x 0.005; 3 x 0.01; 2 x 0.03; at least as much as the one before.
    assert [entry["p_value"] for entry in entries] == [0.03, 0.06, None, 0.06, 0.02]


def test_a_slice_that_differs_from_all_rows_is_significant() -> None:
    """The error of the difference counts that the rows of the slice are among all rows."""
    random, estimates = np.random.default_rng(6), []
    for _ in range(200):
        label = (random.random(2_000) < 0.2).astype(int)
        inside = np.arange(2_000) < 800
        score = random.normal(size=2_000) + label * np.where(inside, 0.5, 1.5)
        whole, part = Auc.of(label, score), Auc.of(label[inside], score[inside])
        entry = part.minus(whole, np.flatnonzero(inside))
        estimates.append([entry["value"], (entry["high"] - entry["low"]) / 2 / norm.ppf(0.975)])
    value, error = np.array(estimates).T
    assert value.mean() < -0.05
    assert error.mean() == pytest.approx(value.std(), rel=0.2)
    assert whole.minus(whole, np.arange(2_000))["value"] == 0


def test_gains_are_positive_where_a_model_is_better_whatever_the_metric() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(-1, 1.5, 6_000)
    label = (random.random(6_000) < 1 / (1 + np.exp(-truth))).astype(int)
    logits = truth, truth + random.normal(0, 1.5, 6_000)
    for name, entry in gain_entries(label, *logits, label.mean(), 30).items():
        assert 0 < entry["low"] < entry["value"], name  # type: ignore[operator]
        assert entry["p_value"] < SIGNIFICANCE  # type: ignore[operator]
    same = gain_entries(label, logits[0], logits[0], label.mean(), 5).values()
    assert {(entry["value"], entry["p_value"]) for entry in same} == {(0, 1)}
