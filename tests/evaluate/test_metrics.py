"""The table of metrics against scikit-learn and plain computations."""

import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean, variance

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_sample_weight

from feseq.evaluate.intervals import bootstrap
from feseq.evaluate.metrics import BY_NAME, METRICS, Rows, balanced

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
    arrays = Rows(np.array(label), np.array(logit), 0.25)
    metric, plain = BY_NAME[name], PLAIN[name]
    assert metric.of(arrays) == pytest.approx(plain(label, logit), abs=1e-9)
    at_even_odds = plain(label, [x + math.log(3) for x in logit])
    assert balanced(metric).of(arrays) == pytest.approx(at_even_odds, abs=1e-9)
    # A row that counts twice is two rows; the bins of the calibration stay those of the rows.
    if name != "calibration_error":
        label, logit = (np.repeat(x, count).tolist() for x in (label, logit))
        found = metric.of(arrays.resampled(np.array(count)))
        assert found == pytest.approx(plain(label, logit), abs=1e-9)


def test_the_calibration_error_is_free_of_chance_and_lies_in_its_interval() -> None:
    """Predictions whose odds are off by a factor, or right: the error without chance is known."""
    random, rows, times = np.random.default_rng(3), 4_000, 30
    error = BY_NAME["calibration_error"]
    for factor in (0.0, 0.4):
        errors, held = [], 0
        for _ in range(times):
            logit = random.normal(-2.5, 1, rows)
            true = 1 / (1 + np.exp(-logit))
            label = (random.random(rows) < true).astype(int)
            shifted = Rows(label, logit + factor, 0.1)
            gap = shifted.probability - true[shifted.order]
            of_bins = [gap[shifted.bin == b].mean() ** 2 for b in range(20)]
            entry = bootstrap(lambda rows: {"it": error.of(rows)}, (shifted,), 40)["it"]
            low, value, high = (entry[key] or 0.0 for key in ("low", "value", "high"))
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
