"""Baselines learn what was simulated, from features that a plain loop makes too."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from feseq.common.errors import UserError
from feseq.common.parquet import read_table
from feseq.config.names import BASELINES
from feseq.dataset.store import H5Table
from feseq.evaluate import baselines
from feseq.evaluate.baselines import code_counts, fit_baseline
from support.learnable import ROWS, learnable_table, make
from support.raw_tables import ragged, raw_table


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("simulated"), learnable_table())


def fit(
    data: Path, out: Path, baseline: str, *, valid: Path | None = None, threads: int = 1
) -> tuple[pa.Table, dict[str, Any]]:
    """The predictions and what training.json says."""
    files = [data / "train.h5"], [valid or data / "valid.h5"], data / "feature_map.json"
    outputs = out / "valid_predictions.parquet", out / "training.json"
    fit_baseline(baseline, *files, *outputs, threads=threads)
    predictions = read_table(outputs[0], ("row", "label", "logit"))
    return predictions, json.loads(outputs[1].read_text())


def test_codes_of_histories_are_counted_as_a_plain_loop_does() -> None:
    random = np.random.default_rng(0)
    rows = [random.integers(0, 9, length).tolist() for length in random.integers(0, 30, 50)]
    count, recency = (of.toarray() for of in code_counts(ragged([*rows, []], np.int64), 9))
    for i, row in enumerate([*rows, []]):
        for code in range(9):
            places = [len(row) - j for j, other in enumerate(row) if other == code]
            assert count[i, code] == pytest.approx(math.log(1 + len(places)))
            assert recency[i, code] == pytest.approx(sum(1 / place for place in places))


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_baseline_learns_what_was_simulated(
    simulated: Path, tmp_path: Path, baseline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "BLOCK_ROWS", 500)
    predictions, training = fit(simulated, tmp_path, baseline, threads=2)
    label, logit = (predictions[name].to_numpy() for name in ("label", "logit"))
    with H5Table(simulated / "valid.h5") as valid, H5Table(simulated / "train.h5") as train:
        assert predictions["row"].to_numpy().tolist() == valid.column("row").tolist()
        assert label.tolist() == valid.column("label").tolist()
        rate = train.column("label").mean()
    if baseline == "constant":
        assert logit == pytest.approx(math.log(rate / (1 - rate)), rel=1e-6)
    else:
        assert roc_auc_score(label, logit) > 0.8
    assert training["train_rows"] + training["valid_rows"] == ROWS
    assert training["simulated_data"] is False
    assert fit(simulated, tmp_path, baseline)[0].equals(predictions)


def test_of_too_many_rows_the_first_are_used_and_the_log_says_so(
    simulated: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baselines, "ROWS_AT_MOST", 200)
    predictions, training = fit(simulated, tmp_path, "constant")
    with H5Table(simulated / "train.h5") as train:
        rate = train.column("label", 0, 200).mean()
    assert predictions["logit"][0].as_py() == pytest.approx(np.log(rate / (1 - rate)), rel=1e-6)
    assert training["train_rows"] == 200
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1


@pytest.mark.filterwarnings("default")
def test_a_fit_that_does_not_converge_says_so_in_the_log(
    simulated: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(baselines._LOGISTIC, "max_iter", 2)
    # Each test has warnings of its own.
    logging.captureWarnings(False)
    fit(simulated, tmp_path, "logistic_regression")
    assert "lbfgs failed to converge" in caplog.text


def test_mistakes_are_named(simulated: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other", raw_table(90))
    few = make(tmp_path / "few", raw_table(30, y=[0] * 26 + [1] * 4), valid_rows=[*range(24, 30)])
    for data, baseline, valid, named in (
        (simulated, "forest", None, "'forest'"),
        (simulated, "constant", other / "valid.h5", "valid.h5"),
        (few, "constant", None, "label 0"),
    ):
        with pytest.raises(UserError, match=named):
            fit(data, tmp_path, baseline, valid=valid)
        assert not (tmp_path / "training.json").exists()
