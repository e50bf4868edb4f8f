"""Weights of a blend, fitted to all but the holdout rows, equal with few clicks."""

import logging
from pathlib import Path

import numpy as np
import pytest

from feseq.common.errors import UserError
from feseq.common.files import read_json
from feseq.common.logits import sigmoid
from feseq.common.parquet import metadata_of, read_table
from feseq.evaluate import blend as blend_module
from feseq.evaluate.blend import LEAST_CLICKS, bagged_weights, blend_predictions, cross_fitted
from feseq.evaluate.blend import fit_weights as fit_by_metric
from feseq.evaluate.metrics import BY_NAME
from feseq.evaluate.valid_predictions import read_predictions
from support.predictions import put_predictions

ROWS, JUDGING = 6_000, 1_500


def noisy(*noises: float, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Logits of models that see the truth through noise of their own, and labels."""
    random = np.random.default_rng(seed)
    truth = random.normal(-1, 1, ROWS)
    label = (random.random(ROWS) < sigmoid(truth)).astype(np.uint8)
    logits = [(truth + random.normal(0, s, ROWS)).astype(np.float32) for s in noises]
    return logits, label


def fit_weights(
    logits: list[np.ndarray], label: np.ndarray, by: str, click_rate: float = 0.5
) -> list[float]:
    return fit_by_metric(logits, label, BY_NAME[by], click_rate)


@pytest.mark.parametrize("by", ["auc", "average_precision", "logloss", "score"])
def test_the_less_noise_the_more_weight(by: str) -> None:
    logits, label = noisy(0.5, 1.0, 4.0)
    weights = fit_weights(logits, label, by)
    assert sum(weights) == pytest.approx(1)
    assert weights[0] > weights[1] > weights[2] >= 0
    # Noises of their own average out best in inverse proportion to their variance.
    assert weights[0] == pytest.approx(0.8, abs=0.12)


def test_the_odds_of_the_submission_count_in_the_score() -> None:
    (logit,), label = noisy(0.3)
    rate = label.mean()
    odds = np.log(rate / (1 - rate))
    models = [logit, logit + np.float32(2)]
    # The score weighs both classes alike, so it wants the odds moved up to 50:50, once.
    assert fit_weights(models, label, "score", rate)[1] == pytest.approx(-odds / 2, abs=0.05)
    assert fit_weights(models, label, "balanced_score", rate)[1] < 0.05


def test_no_row_has_a_part_in_its_own_weights() -> None:
    logits, label = noisy(0.5, 1.0)
    seen = []

    def fit(parts: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
        seen.append(set(parts[0].tolist()))
        assert labels.sum() == pytest.approx(label.sum() / 2, abs=0.5)
        return np.eye(2)[[len(seen) - 1]]

    blend = cross_fitted(logits, label, fit)
    for i, logit in enumerate(logits):
        by_these = blend == logit
        assert by_these.sum() == ROWS / 2
        assert seen[i].isdisjoint(logits[0][by_these].tolist())


def bagged(logits: list[np.ndarray], label: np.ndarray, by: str = "logloss") -> list[float]:
    found = bagged_weights(logits, label, BY_NAME[by], 0.5)
    assert found.sum(1) == pytest.approx(1)
    assert found.min() >= 0
    return found.mean(0).tolist()


def test_draws_of_fewer_rows_give_about_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, label = noisy(0.5, 1.0)
    all_rows = bagged(logits, label)
    monkeypatch.setattr(blend_module, "_ROWS_OF_DRAW", ROWS // 4)
    assert bagged(logits, label) == pytest.approx(all_rows, abs=0.05)
    assert bagged(logits, label) != all_rows


def write(
    folder: Path, logits: list[np.ndarray], label: np.ndarray, holdout: int = 0
) -> list[Path]:
    """Predictions of two models; the last `holdout` rows are holdout rows."""
    is_holdout = np.arange(len(label)) >= len(label) - holdout
    paths = [folder / name / "valid_predictions.parquet" for name in ("a", "b")]
    for path, logit in zip(paths, logits):
        put_predictions(path, label, logit, holdout=is_holdout, logit_blanked=logit)
    return paths


def blend(
    folder: Path, paths: list[Path], by: str = "logloss", prior: str = "observed"
) -> dict[str, float]:
    outputs = (folder / "blend", folder / "weights", folder / "training")
    blend_predictions(paths, None, *outputs, by=by, prior=prior)
    return read_json(folder / "weights")


def test_fitted_weights_are_written_with_what_they_rest_on(tmp_path: Path) -> None:
    logits, label = noisy(0.5, 1.0)
    weights = blend(tmp_path, write(tmp_path, logits, label))
    assert [*weights.values()] == pytest.approx(fit_weights(logits, label, "logloss"), abs=0.1)
    training = read_json(tmp_path / "training")
    assert training["settings"] == weights
    assert training["clicks"] == label.sum()
    assert 0 < training["spread"]["a"] < 0.1
    blended = read_predictions(tmp_path / "blend")
    assert metadata_of(blended)["best"] == "a"
    assert blended["logit_best"].to_numpy().tolist() == logits[0].tolist()
    mean = weights["a"] * logits[0] + weights["b"] * logits[1]
    np.testing.assert_allclose(blended["logit_blanked"], mean, rtol=1e-4, atol=1e-5)


def test_what_makes_no_mean_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    runs = [write(tmp_path / run, *noisy(0.5, 1.0)) for run in ("yesterday", "today")]
    outputs = [tmp_path / name for name in ("blend", "weights", "training")]
    for paths, given, named in (
        (runs[0], {"a": 0, "b": 0}, "weights"),
        ([run[0] for run in runs], None, "models a, a"),
    ):
        with pytest.raises(UserError, match=named):
            blend_predictions(paths, given, *outputs, by="logloss", prior="observed")
        assert not any(path.exists() for path in outputs)


@pytest.mark.parametrize("by", ["auc", "average_precision", "logloss", "score"])
def test_a_model_that_is_noise_has_no_weight_at_any_odds(tmp_path: Path, by: str) -> None:
    (good,), label = noisy(0.3)
    # Low predictions, as at even odds most rows seem to want.
    noise = np.random.default_rng(1).normal(-2, 2, ROWS).astype(np.float32)
    weights = blend(tmp_path, write(tmp_path, [good, noise], label), by, "balanced")
    assert weights["b"] < 0.05


@pytest.mark.parametrize("few", [0, 1, 2 * LEAST_CLICKS - 1])
@pytest.mark.parametrize("of", ["clicks", "others"])
def test_with_few_clicks_or_others_the_blend_is_the_mean_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, few: int, of: str
) -> None:
    logits, label = noisy(0.5, 4.0)
    label[np.cumsum(label) > few] = 0
    label = label if of == "clicks" else 1 - label
    weights = blend(tmp_path, write(tmp_path, logits, label))
    assert weights == {"a": 0.5, "b": 0.5}
    (warned,) = (r.getMessage() for r in caplog.records if r.levelno == logging.WARNING)
    assert warned.startswith(f"{label.sum():,} clicks in {ROWS:,} rows")
    blended = read_predictions(tmp_path / "blend")["logit"].to_numpy()
    np.testing.assert_allclose(blended, np.mean(logits, axis=0), rtol=1e-4, atol=1e-5)


def test_weights_are_fitted_without_holdout_rows(tmp_path: Path) -> None:
    logits, label = noisy(0.5, 1.0)
    # In the holdout rows, the first model is noise.
    logits[0][-JUDGING:] = np.random.default_rng(2).normal(size=JUDGING)
    weights = blend(tmp_path, write(tmp_path, logits, label, JUDGING))
    early = bagged([logit[:-JUDGING] for logit in logits], label[:-JUDGING])
    assert list(weights.values()) == early
    blended = read_table(tmp_path / "blend", ("logit",))["logit"].to_numpy()
    np.testing.assert_allclose(
        blended, early[0] * logits[0] + early[1] * logits[1], rtol=1e-4, atol=1e-5
    )
    seen = read_predictions(tmp_path / "blend")
    assert len(seen) == JUDGING
    assert metadata_of(seen)["best"] == "a"
    assert seen["logit_best"].to_numpy().tolist() == logits[0][-JUDGING:].tolist()
