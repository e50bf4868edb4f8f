"""Weights of a blend, fitted to all but the holdout rows."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feseq.common.errors import UserError
from feseq.common.logits import sigmoid
from feseq.common.parquet import metadata_of, read_table, write_table
from feseq.evaluate.blend import blend_predictions, cross_fitted
from feseq.evaluate.blend import fit_weights as fit_by_metric
from feseq.evaluate.metrics import BY_NAME
from feseq.evaluate.valid_predictions import read_predictions

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


def test_no_weights_on_a_grid_have_a_better_logloss() -> None:
    logits, label = noisy(0.7, 1.1)

    def logloss(share: float) -> float:
        p = sigmoid(share * logits[0].astype(float) + (1 - share) * logits[1])
        return float(-np.log(np.where(label, p, 1 - p)).mean())

    best = min(np.linspace(0, 1, 51), key=logloss)
    assert fit_weights(logits, label, "logloss")[0] == pytest.approx(best, abs=0.03)


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

    def fit(parts: list[np.ndarray], labels: np.ndarray) -> list[float]:
        seen.append(len(labels))
        # The first model for the second half, the second for the first.
        return [1.0, 0.0] if parts[0][0] == logits[0][0] else [0.0, 1.0]

    blend = cross_fitted(logits, label, fit)
    assert seen == [ROWS // 2, ROWS // 2]
    np.testing.assert_array_equal(blend[1::2], logits[0][1::2])
    np.testing.assert_array_equal(blend[::2], logits[1][::2])


def write(
    folder: Path, logits: list[np.ndarray], label: np.ndarray, holdout: int = 0
) -> list[Path]:
    """Predictions of two models; the last `holdout` rows are holdout rows."""
    is_holdout = np.arange(len(label)) >= len(label) - holdout
    paths = [folder / name / "valid_predictions.parquet" for name in ("a", "b")]
    for path, logit in zip(paths, logits):
        columns = {
            "row": np.arange(len(label)),
            "label": label,
            "holdout": is_holdout,
            "logit": logit,
        }
        write_table(pa.table(columns | {"logit_blanked": logit}), path, {"click_rate": "0.3"})
    return paths


def blend(folder: Path, paths: list[Path]) -> dict[str, float]:
    outputs = (folder / "blend", folder / "weights", folder / "training")
    blend_predictions(paths, None, *outputs, by="logloss", prior="observed")
    return json.loads((folder / "weights").read_text())


def test_fitted_weights_are_written_with_what_the_blend_gains(tmp_path: Path) -> None:
    logits, label = noisy(0.5, 1.0)
    weights = blend(tmp_path, write(tmp_path, logits, label))
    assert dict(zip("ab", fit_weights(logits, label, "logloss"))) == weights
    assert json.loads((tmp_path / "training").read_text()) == {"settings": weights}
    blended = read_predictions(tmp_path / "blend")
    assert metadata_of(blended)["best"] == "a"
    assert blended["logit_best"].to_numpy().tolist() == logits[0].tolist()
    assert np.corrcoef(blended["logit"], blended["logit_blanked"])[0, 1] > 0.999


def test_too_few_clicks_to_fit_weights_to_are_refused(tmp_path: Path) -> None:
    paths = write(tmp_path, [np.zeros(10, np.float32)] * 2, np.eye(10, dtype=np.uint8)[3])
    with pytest.raises(UserError, match=r"1 clicks in 10 validation rows.*submission_weights"):
        blend(tmp_path, paths)


def test_weights_are_fitted_without_holdout_rows(tmp_path: Path) -> None:
    logits, label = noisy(0.5, 1.0)
    # In the holdout rows, the first model is noise.
    logits[0][-JUDGING:] = np.random.default_rng(2).normal(size=JUDGING)
    weights = blend(tmp_path, write(tmp_path, logits, label, JUDGING))
    early = fit_weights([logit[:-JUDGING] for logit in logits], label[:-JUDGING], "logloss")
    assert list(weights.values()) == early
    blended = read_table(tmp_path / "blend", ("logit",))["logit"].to_numpy()
    np.testing.assert_allclose(
        blended, early[0] * logits[0] + early[1] * logits[1], rtol=1e-4, atol=1e-5
    )
    seen = read_predictions(tmp_path / "blend")
    assert len(seen) == JUDGING
    assert metadata_of(seen)["best"] == "a"
    assert seen["logit_best"].to_numpy().tolist() == logits[0][-JUDGING:].tolist()
