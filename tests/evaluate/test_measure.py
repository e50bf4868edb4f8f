"""Metrics of predictions and blends of models against plain computations from the rows."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from support.predictions import put_predictions
from support.raw_tables import raw_table, split_events, to_train_h5
from tossctr.common.errors import UserError
from tossctr.common.files import read_json
from tossctr.common.logits import sigmoid
from tossctr.common.parquet import metadata_of, write_table
from tossctr.datasets.store import H5Table
from tossctr.evaluate import blending, measurement
from tossctr.evaluate.blending import cross_fitted_blend, fit_weights
from tossctr.evaluate.measurement import write_metrics
from tossctr.evaluate.metric_table import METRIC_BY_NAME, read_predictions


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """train.parquet, valid.h5 of 300 of its rows, predictions.parquet for them, truth.parquet."""
    random = np.random.default_rng(3)
    country = random.choice(["10", "9", "2.5", "b", "", "nan", None], 1200).tolist()
    _, valid = to_train_h5(tmp_path, raw_table(1200, seed=5, country=country))
    with H5Table(valid) as h5:
        row, label = h5.column("row"), h5.column("label")
    logit = random.normal(size=len(row)).astype(np.float32) + label
    path = tmp_path / "predictions.parquet"
    put_predictions(path, label, logit, 0.25, row=row, logit_ablated=-logit)
    truth = np.linspace(0, 1, 1200)
    write_table(pa.table({"probability": truth}), tmp_path / "truth.parquet")
    return tmp_path


def measured(data: Path, name: str = "predictions.parquet", **options: Any) -> dict[str, Any]:
    write_metrics(data / name, [data / "valid.h5"], data / "metrics.json", **options)
    return read_json(data / "metrics.json")


def blend(
    folder: Path, paths: list[Path], weights: dict[str, float] | None = None
) -> dict[str, float]:
    """The weights of a blend, whose files are in the folder."""
    outputs = (folder / "blend", folder / "weights", folder / "training")
    blending.blend_predictions(paths, weights, *outputs, by="logloss")
    return read_json(folder / "weights")


def test_the_file_of_metrics_says_what_the_predictions_give(data: Path) -> None:
    metrics = measured(data, truth=data / "truth.parquet")
    rows = pd.read_parquet(data / "predictions.parquet")
    label, logit = rows["label"], rows["logit"].astype(float)
    auc = roc_auc_score(label, logit)
    assert (metrics["rows"], metrics["clicks"]) == (len(rows), label.sum())
    assert set(metrics["metrics"]) == set(METRIC_BY_NAME)
    for name, value in {
        "auc": auc,
        "average_precision": average_precision_score(label, logit),
        "logloss": log_loss(label, sigmoid(logit)),
        # A quarter of the train rows are clicks.
        "balanced_logloss": log_loss(label, sigmoid(logit + math.log(3))),
    }.items():
        entry = metrics["metrics"][name]
        assert entry["value"] == pytest.approx(value, abs=1e-6), name
        assert entry["low"] < entry["value"] < entry["high"], name
    assert metrics["auc_ablated"] == pytest.approx(1 - auc)
    raw = pd.read_parquet(data / "train.parquet").iloc[rows["row"]].reset_index()
    truth = pd.read_parquet(data / "truth.parquet")["probability"].to_numpy()[rows["row"]]
    # By the true probabilities, pairs of rows instead of labels: nothing beats them.
    for name, score in (("expected_auc", rows["logit"].to_numpy()), ("best_auc", truth)):
        won = (score[:, None] > score) + (score[:, None] == score) / 2
        pairs = truth[:, None] * (1 - truth)
        assert metrics[name] == pytest.approx((won * pairs).sum() / pairs.sum()), name
    assert 0 < metrics["share_of_best"] < 1
    assert metrics["histories"]["value"] == pytest.approx(2 * auc - 1)
    assert metrics["histories"]["p_value"] < 0.001
    of_country = {entry["slice"]: entry for entry in metrics["slices"]["country"]}
    # Numbers in their order, then words in theirs.
    assert [*of_country] == ["2.5", "9", "10", "(empty)", "b", "nan", "(missing)"]
    country = raw["country"].fillna("(missing)").replace("", "(empty)").to_numpy()
    for name, part in rows.groupby(country):
        entry = of_country[name]
        assert (entry["rows"], entry["clicks"]) == (len(part), part["label"].sum())
        assert entry["auc"]["value"] == pytest.approx(roc_auc_score(part["label"], part["logit"]))
    lengths = raw["events"].fillna("").map(split_events).map(len)
    counts = np.histogram(lengths, (0, 1, 10, 20))[0].tolist()
    of_length = {entry["slice"]: entry["rows"] for entry in metrics["slices"]["length of events"]}
    assert of_length == dict(zip(("0", "1-9", "10-19"), counts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "MAX_SLICES", 2)
        largest = {entry["slice"] for entry in measured(data)["slices"]["country"]}
    assert largest == {*sorted(of_country, key=lambda name: -of_country[name]["rows"])[:2]}


def test_predictions_of_other_rows_or_another_model_are_refused(data: Path) -> None:
    predictions = data / "predictions.parquet"
    table, named = read_predictions(predictions), {"click_rate": "0.25", "full_name": "toy/len5"}
    write_table(table, predictions, named)
    assert measured(data, full_name="toy/len5")["full_name"] == "toy/len5"
    with pytest.raises(UserError, match="not for toy/boosting"):
        measured(data, full_name="toy/boosting")
    other = data / "toy/len9/valid_predictions.parquet"
    write_table(table, other, named)
    with pytest.raises(UserError, match="not for toy/len9"):
        blend(data, [other], {"len9": 1})
    write_table(table[::-1], predictions, named)
    with pytest.raises(UserError, match=r"predictions.parquet: .* rows"):
        measured(data)


def write_models(
    folder: Path, logits: list[np.ndarray], label: np.ndarray, **given: Any
) -> list[Path]:
    """Predictions of the models a and b."""
    paths = [folder / name / "valid_predictions.parquet" for name in ("a", "b")]
    for path, logit in zip(paths, logits):
        put_predictions(path, label, logit, logit_ablated=logit, **given)
    return paths


def test_a_blend_is_the_mean_of_its_logits(data: Path) -> None:
    plain = pd.read_parquet(data / "predictions.parquet")
    row, label, logit = (plain[name].to_numpy() for name in ("row", "label", "logit"))
    models = write_models(data, [logit, -3 * logit], label, row=row)
    blend(data, models, {"b": 0.25, "a": 0.75})
    blended = pd.read_parquet(data / "blend")
    np.testing.assert_allclose(blended["logit"], 0 * logit, atol=1e-6)
    metrics = measured(data, "blend")
    assert metrics["best_model"] == "a"
    gains = metrics["gain_over_best"]
    best, both = (roc_auc_score(label, blended[name]) for name in ("logit_best", "logit"))
    assert gains["auc"]["value"] == pytest.approx(both - best)
    best, both = (log_loss(label, sigmoid(blended[name])) for name in ("logit_best", "logit"))
    assert gains["logloss"]["value"] == pytest.approx(best - both)
    put_predictions(models[1], label, logit, row=row[::-1])
    with pytest.raises(UserError, match=r"b/valid_predictions.parquet: not the same rows"):
        blend(data, models, {"a": 1, "b": 1})


ROWS = 3_000


def noisy(*noises: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Logits of models that see the truth through noise of their own, and labels."""
    random = np.random.default_rng(0)
    truth = random.normal(-1, 1, ROWS)
    label = (random.random(ROWS) < sigmoid(truth)).astype(np.uint8)
    logits = [(truth + random.normal(0, s, ROWS)).astype(np.float32) for s in noises]
    return logits, label


def test_the_less_noise_the_more_weight() -> None:
    logits, label = noisy(0.5, 1.0, 4.0)
    weights = fit_weights(logits, label)
    assert sum(weights) == pytest.approx(1)
    assert weights[0] > weights[1] > weights[2] >= 0
    # Noises of their own average out best in inverse proportion to their variance.
    assert weights[0] == pytest.approx(0.8, abs=0.12)


def test_no_row_has_a_part_in_its_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, label = noisy(0.5, 1.0)
    seen = []

    def fit(parts: list[np.ndarray], labels: np.ndarray) -> Any:
        seen.append(set(parts[0].tolist()))
        assert labels.sum() == pytest.approx(label.sum() / 2, abs=0.5)
        return np.eye(2)[len(seen) - 1]

    monkeypatch.setattr(blending, "fit_weights", fit)
    blended = cross_fitted_blend(logits, label)
    for i, logit in enumerate(logits):
        by_these = blended == logit
        assert by_these.sum() == ROWS / 2
        assert seen[i].isdisjoint(logits[0][by_these].tolist())


def test_fitted_weights_are_in_the_files_of_the_blend(tmp_path: Path) -> None:
    logits, label = noisy(0.5, 1.0)
    weights = blend(tmp_path, write_models(tmp_path, logits, label))
    assert [*weights.values()] == fit_weights(logits, label)
    assert read_json(tmp_path / "training") == {"settings": weights}
    seen = read_predictions(tmp_path / "blend")
    assert metadata_of(seen)["best"] == "a"
    assert seen["logit_best"].to_numpy().tolist() == logits[0].tolist()


def test_weights_are_the_most_probable_of_all() -> None:
    logits, label = noisy(0.5, 1.0)
    first = np.linspace(0, 1, 1001)
    losses = [
        log_loss(label, sigmoid(w * logits[0] + (1 - w) * logits[1]), normalize=False)
        - norm.logpdf([w, 1 - w], 0.5, 0.2).sum()
        for w in first
    ]
    assert fit_weights(logits, label)[0] == pytest.approx(first[np.argmin(losses)], abs=1e-3)


@pytest.mark.parametrize("few", [0, 4])
@pytest.mark.parametrize("of", ["clicks", "others"])
def test_with_few_clicks_or_others_weights_are_nearly_equal(few: int, of: str) -> None:
    logits, label = noisy(0.5, 1.0)
    label[np.cumsum(label) > few] = 0
    label = label if of == "clicks" else 1 - label
    weights = fit_weights([logit[:60] for logit in logits], label[:60])
    assert weights == pytest.approx([0.5, 0.5], abs=0.15)
