"""Metrics, their intervals and differences against scikit-learn, plain loops, simulated rows."""

import math
from collections.abc import Callable
from functools import partial
from statistics import mean, variance

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_sample_weight

from tossctr.config.names import FEW_CLICKS
from tossctr.evaluate.intervals import auc_interval, bootstrap, differences, intervals
from tossctr.evaluate.metric_table import METRIC_BY_NAME, METRICS, calibration_bins, metrics_of

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
    st.tuples(st.integers(0, 1), st.integers(-12, 12), st.integers(1, 3)), min_size=2, max_size=40
).filter(lambda rows: 0 < sum(row[0] for row in rows) < len(rows))


@pytest.mark.parametrize("name", [metric.name for metric in METRICS])
@given(rows=ROWS)
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
    """Predictions whose odds are off by a factor: the error without chance is known."""
    random, rows, times = np.random.default_rng(3), 4_000, 30
    errors, held = [], 0
    for _ in range(times):
        logit = random.normal(-2.5, 1, rows)
        label = (random.random(rows) < expit(logit)).astype(int)
        off = logit + 0.4
        gap, bins = expit(off) - expit(logit), calibration_bins(off)
        true = mean(gap[bins == b].mean() ** 2 for b in range(20))
        measure = partial(metrics_of, ["calibration_error"])
        (value,), sampled = (x.ravel() for x in bootstrap(label, [off], measure, 40))
        low, high = np.quantile(sampled, (0.025, 0.975))
        assert low <= value <= high
        held += low <= math.sqrt(true) <= high
        errors.append(value**2 - true)
    # 25 or fewer of 30 intervals that hold 95 % would come once in a hundred times.
    assert held > 25
    assert abs(mean(errors)) < 2.5 * np.std(errors) / math.sqrt(times)


def mean_logit(_: np.ndarray, logit: np.ndarray, weight: np.ndarray) -> list[float]:
    return [np.average(logit, weights=weight)]


def test_intervals_and_p_values_are_those_that_theory_gives_a_mean() -> None:
    """Models share their resamples, so what they have in common does not hide a difference."""
    shared, own = np.random.default_rng(4).normal(size=(2, 5_000))
    values, samples = bootstrap(np.arange(5_000) % 2, [shared, shared + own / 9], mean_logit, 1_000)
    of_mean = intervals(values[0], samples[:, 0])[0]
    difference = differences(values, samples)[1][0]
    for entry, rows in ((of_mean, shared), (difference, -own / 9)):
        ends = norm.interval(0.95, rows.mean(), rows.std() / math.sqrt(5_000))
        assert entry["value"] == pytest.approx(rows.mean())
        assert (entry["low"], entry["high"]) == pytest.approx(ends, abs=np.ptp(ends) / 20)
    z = own.mean() / own.std() * math.sqrt(5_000)
    assert difference["p_value"] == pytest.approx(2 * norm.sf(abs(z)), rel=0.2)


@pytest.mark.parametrize("clicks", [0, FEW_CLICKS - 1, 600 - FEW_CLICKS + 1, 600])
def test_below_the_floor_there_is_no_interval_and_no_p_value(clicks: int) -> None:
    """One click that the model ranks first has an AUC of 1, which says nothing."""
    label = (np.arange(600) < clicks).astype(int)
    measure = partial(metrics_of, ["auc", "logloss"])
    values, samples = bootstrap(label, [9.0 * label, -9.0 * label], measure, 9)
    assert {entry["low"] for entry in intervals(values[0], samples[:, 0])} == {None}
    assert {entry["p_value"] for entry in differences(values, samples)[1]} == {None}
    assert math.isnan(values[0, 0]) == (clicks in (0, 600))


def test_equal_and_perfect_models_have_p_values_of_1_and_0() -> None:
    label, score = np.arange(600) % 2, np.random.default_rng(4).normal(size=600)
    models = [label, score, 0 * label, 2 * score]
    values, samples = bootstrap(label, models, partial(metrics_of, ["auc"]), 9)
    assert (values[0, 0], values[2, 0]) == (1, 0.5)
    p_values = [entry["p_value"] for (entry,) in differences(values, samples)]
    assert (p_values[0], p_values[2]) == (1, 0)
    assert differences(values, samples, 1)[3][0]["p_value"] == 1


def test_p_values_are_corrected_by_holm_for_the_number_of_other_models() -> None:
    apart = np.array([0.0, 2.6, 2.1, 2.2, 2.8])[:, None]
    samples = np.random.default_rng(0).normal(size=(4_000, 5, 1)) + apart
    samples[:, 0] = 0
    a, b, c, d = 2 * norm.sf((apart[1:] / samples[:, 1:].std(axis=0, ddof=1)).ravel())
    assert d < a < c < b < 0.05
    corrected = [entry["p_value"] for (entry,) in differences(-apart, -samples)[1:]]
    assert corrected == pytest.approx([3 * a, max(b, 2 * c), 2 * c, 4 * d])


def test_the_interval_of_an_auc_is_that_of_the_published_example() -> None:
    # Hanley and McNeil, Radiology 143, 1982: 51 abnormal and 58 normal images, standard error .032.
    interval = auc_interval(0.893, 51, 58)
    assert interval["high"] - 0.893 == pytest.approx(1.96 * 0.032, abs=0.002)
    assert 0.893 - interval["low"] == pytest.approx(interval["high"] - 0.893)
    assert auc_interval(0.893, 9, 58) == {"value": 0.893, "low": None, "high": None}


def test_every_metric_is_better_without_noise_by_its_sign() -> None:
    random = np.random.default_rng(7)
    true = random.normal(-1, 1.5, 6_000)
    label = (random.random(6_000) < expit(true)).astype(int)
    better, worse = (
        metrics_of(METRIC_BY_NAME, label, logit, click_rate=label.mean())
        for logit in (true, true + random.normal(0, 1.5, 6_000))
    )
    for metric, without, with_noise in zip(METRIC_BY_NAME.values(), better, worse, strict=True):
        assert metric.sign * (without - with_noise) > 0, metric.name
