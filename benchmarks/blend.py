"""What a blend gains when few clicks choose its weights, and how often it loses.

    python benchmarks/blend.py
    python benchmarks/blend.py --predictions results/full/{a,b}/valid_predictions.parquet

Prints by how many 1e-4 each way of choosing is above the model that is truly best, measured on rows
kept apart, and in how many draws it is below that model by more than chance. Regimes are simulated:
four models see a row's true log odds, of deviation 1, through noise. Predictions of the workflow
are a regime of their own, half of whose rows are kept apart.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from feseq.common.logits import mean_logit, sigmoid
from feseq.evaluate.blend import bagged_weights, fit_weights
from feseq.evaluate.delong import is_significant
from feseq.evaluate.intervals import behind_best
from feseq.evaluate.metrics import BY_NAME, Metric, Predictions
from feseq.evaluate.valid_predictions import read_predictions

KEPT_ROWS = 200_000
# Kept rows are cut into so many blocks, whose differences tell what is chance (t-test at 5 %).
BLOCKS, T = 10, 2.26
# Log odds of the mean row: one row in ten is clicked.
MEAN = -2.6
# By regime, the variance of each model's noise and the correlation of the noises.
REGIMES: dict[str, tuple[Sequence[float], float]] = {
    "alike": ((0.3, 0.3, 0.3, 0.3), 0.8),
    "one worse": ((0.3, 0.3, 0.3, 1.5), 0.8),
    "one better": ((0.05, 0.6, 0.6, 0.6), 0.8),
    "errors of their own": ((0.3, 0.4, 0.5, 0.6), 0.0),
}


class Logits(NamedTuple):
    """Logits [rows] of each model, and labels [rows]."""

    logits: Sequence[np.ndarray]
    label: np.ndarray

    def take(self, rows: np.ndarray | slice) -> "Logits":
        """Some of the rows."""
        return Logits([logit[rows] for logit in self.logits], self.label[rows])


def simulated(regime: str, rows: int, random: np.random.Generator) -> Logits:
    """Models that see the truth through noise, and say what it makes them expect."""
    variances, correlation = REGIMES[regime]
    truth, shared = random.normal(size=(2, rows))
    own = random.normal(size=(len(variances), rows))
    noise = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
    logits = [
        (MEAN + (truth + math.sqrt(v) * error) / (1 + v)).astype(np.float32)
        for v, error in zip(variances, noise)
    ]
    return Logits(logits, (random.random(rows) < sigmoid(MEAN + truth)).astype(np.uint8))


def with_clicks(rows: Logits, clicks: int) -> Logits:
    """The first rows, up to so many clicks."""
    return rows.take(slice(int(np.searchsorted(np.cumsum(rows.label), clicks)) + 1))


def ways(rows: Logits, metric: Metric, click_rate: float) -> dict[str, Sequence[float]]:
    """Weights by the way they are chosen."""
    models = len(rows.logits)
    of_each = [
        metric.sign * metric.of(Predictions.of(rows.label, x, click_rate)) for x in rows.logits
    ]
    return {
        "equal": [1 / models] * models,
        "fitted": fit_weights(*rows, metric, click_rate),
        "ours": bagged_weights(*rows, metric, click_rate).mean(0).tolist(),
        "worse left out": without_worse(rows, metric, click_rate),
        "best single": np.eye(models)[int(np.argmax(of_each))].tolist(),
    }


def without_worse(rows: Logits, metric: Metric, click_rate: float) -> Sequence[float]:
    """The workflow's weights, 0 for models that are significantly worse than the best."""
    _, behind = behind_best(rows.label, rows.logits, metric, click_rate)
    kept = [i for i, entry in enumerate(behind) if not is_significant(entry)]
    weights = np.zeros(len(rows.logits))
    chosen = [rows.logits[i] for i in kept]
    weights[kept] = bagged_weights(chosen, rows.label, metric, click_rate).mean(0)
    return weights.tolist()


def compare(
    draw: Callable[[int, np.random.Generator], Logits],
    kept: Logits,
    metric: Metric,
    options: argparse.Namespace,
) -> list[str]:
    """By number of clicks, the cells of a row of the table."""
    click_rate = float(kept.label.mean())
    blocks = [kept.take(slice(start, None, BLOCKS)) for start in range(BLOCKS)]

    def measured(weights: Sequence[float]) -> np.ndarray:
        rows = [Predictions.of(b.label, mean_logit(b.logits, weights), click_rate) for b in blocks]
        return metric.sign * np.array([metric.of(block) for block in rows])

    best = max((measured(one) for one in np.eye(len(kept.logits)).tolist()), key=np.mean)
    cells = []
    for clicks in options.clicks:
        gains: dict[str, list[np.ndarray]] = {}
        for seed in range(options.draws):
            rows = draw(clicks, np.random.default_rng([seed, clicks]))
            for way, weights in ways(rows, metric, click_rate).items():
                gains.setdefault(way, []).append(measured(weights) - best)
        means = {way: np.mean(of, axis=1) for way, of in gains.items()}
        errors = {way: np.std(of, axis=1, ddof=1) / BLOCKS**0.5 for way, of in gains.items()}
        shown = (
            f"{1e4 * means[way].mean():+.1f} ({int((means[way] < -T * errors[way]).sum())})"
            for way in gains
        )
        cells.append(f"{clicks:,} | {' | '.join(shown)}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, nargs="+", default=[9, 30, 100, 1000])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--by", default="logloss", help="a metric")
    parser.add_argument("--predictions", type=Path, nargs="+", help="of models of one size")
    options = parser.parse_args()
    metric = BY_NAME[options.by]
    heads = ("regime", "clicks", "equal mean", "fitted once", "the workflow's", "worse left out")
    print(f"| {' | '.join(heads)} | best single by the same clicks |")
    print("|---|---|---|---|---|---|---|")
    if options.predictions:
        tables = [read_predictions(path, None) for path in options.predictions]
        logits = [table["logit"].to_numpy() for table in tables]
        half = np.random.default_rng(0).random(len(logits[0])) < 0.5
        rows = Logits(logits, tables[0]["label"].to_numpy())
        chosen, kept = rows.take(half), rows.take(~half)

        def draw(clicks: int, random: np.random.Generator) -> Logits:
            return with_clicks(chosen.take(random.permutation(half.sum())), clicks)

        for cells in compare(draw, kept, metric, options):
            print(f"| {options.predictions[0].absolute().parts[-3]} | {cells} |", flush=True)
        return
    for regime in REGIMES:

        def drawn(regime: str, clicks: int, random: np.random.Generator) -> Logits:
            return with_clicks(simulated(regime, 20 * clicks + 500, random), clicks)

        kept = simulated(regime, KEPT_ROWS, np.random.default_rng(99))
        for cells in compare(partial(drawn, regime), kept, metric, options):
            print(f"| {regime} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
