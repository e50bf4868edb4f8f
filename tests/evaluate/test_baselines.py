"""Baselines learn what was simulated, from features that pandas makes too."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from support.learnable import ROWS, learnable_table, make
from support.raw_tables import raw_table, split_events, with_roles
from tossctr.common.errors import UserError
from tossctr.common.parquet import read_table
from tossctr.config.names import BASELINES, Baseline
from tossctr.datasets.store import H5Table
from tossctr.datasets.table import Table
from tossctr.evaluate import baselines
from tossctr.evaluate.baselines import InputColumns, fit_baseline
from tossctr.features.feature_map import FeatureMap


def fit(data: Path, out: Path, baseline: Baseline) -> tuple[pa.Table, dict[str, Any]]:
    """The predictions and what training.json says."""
    files = [data / "train.h5"], [data / "valid.h5"], data / "feature_map.json"
    outputs = out / "valid_predictions.parquet", out / "training.json"
    fit_baseline(baseline, *files, *outputs, threads=2)
    predictions = read_table(outputs[0], ("row", "label", "logit"))
    return predictions, json.loads(outputs[1].read_text())


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_baseline_learns_what_was_simulated(
    learnable: Path, tmp_path: Path, baseline: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Table, "block_rows", 500)
    predictions, training = fit(learnable, tmp_path, baseline)
    label, logit = (predictions[name].to_numpy() for name in ("label", "logit"))
    with H5Table(learnable / "valid.h5") as valid, H5Table(learnable / "train.h5") as train:
        assert predictions["row"].to_numpy().tolist() == valid.column("row").tolist()
        assert label.tolist() == valid.column("label").tolist()
        rate = train.column("label").mean()
    if baseline == "constant":
        assert logit == pytest.approx(math.log(rate / (1 - rate)), rel=1e-6)
    else:
        rows = learnable_table().to_pandas().loc[predictions["row"].to_numpy()]
        # The codes of the history are left out.
        known = rows["price"] + (rows["country"] == "a")
        assert roc_auc_score(label, logit) > roc_auc_score(label, known) - 0.01
    assert training["train_rows"] + training["valid_rows"] == ROWS
    assert training["simulated_data"] is False
    assert fit(learnable, tmp_path, baseline)[0].equals(predictions)


def test_without_histories_the_row_alone_counts(tmp_path: Path) -> None:
    few = [f"{i * 7 % 4}" for i in range(800)]
    table = raw_table(800, country=few, y=[int(value in ("1", "2")) for value in few])
    roles: dict[str, Any] = {"sequences": (), "targets": (), "numeric": ()}
    make(tmp_path, table, columns=with_roles(**roles, profile=(), context=("item", "country")))
    predictions, _ = fit(tmp_path, tmp_path, "logistic_regression")
    assert roc_auc_score(*map(predictions.column, ("label", "logit"))) == 1


def test_inputs_are_ranks_flags_and_categories_of_columns_that_have_few(tmp_path: Path) -> None:
    """Against pandas, on the rows that were fitted."""
    items = [f"item {i % 70}" for i in range(800)]
    table = raw_table(800, item=items, price=pd.Series(np.arange(800) % 97).where(lambda p: p > 9))
    data = make(tmp_path, table)
    fields = InputColumns(FeatureMap.read(data / "feature_map.json"))
    with H5Table(data / "train.h5") as train:
        x = np.concatenate(list(fields.read(train, "read", 1)))
        raw = table.to_pandas().loc[train.column("row")].reset_index(drop=True)
    assert x.shape == (len(raw), fields.count)
    lengths = raw["events"].fillna("").map(split_events).map(len)
    numbers = pd.DataFrame({"price": raw["price"], "age": raw["age"], "length": lengths})
    ranks = numbers.rank(pct=True)
    np.testing.assert_allclose(
        x[:, :2], ((ranks - ranks.mean()) / ranks.std()).fillna(0)[["price", "age"]], atol=0.02
    )
    # Where many lengths are equal, their ranks are another scale of the same order.
    assert pd.Series(x[:, 2]).rank().equals(lengths.rank())
    np.testing.assert_array_equal(x[:, 3:5], numbers[["price", "age"]].isna())
    countries = pd.get_dummies(raw["country"], dummy_na=True)
    one_hot = {tuple(column) for column in x[:, 5:].T.astype(int) if column.any()}
    # Items are too many.
    assert one_hot == {tuple(column) for column in countries.to_numpy(int).T}


def test_the_strength_is_the_best_for_the_validation_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(1)
    noise = {"price": random.normal(size=300), "y": (random.random(300) < 0.3).astype(np.int8)}
    data = make(tmp_path, raw_table(300, **noise), valid_rows=[*range(100, 300)])
    losses = {}
    for strength in baselines.C_VALUES:
        with monkeypatch.context() as patch:
            patch.setattr(baselines, "C_VALUES", (strength,))
            rows = fit(data, tmp_path, "logistic_regression")[0].to_pandas()
        assert sorted(rows["row"]) == list(range(100, 300))
        losses[strength] = log_loss(rows["label"], expit(rows["logit"]))
    _, training = fit(data, tmp_path, "logistic_regression")
    assert training["settings"] == {"C": min(losses, key=losses.__getitem__)}


@pytest.mark.parametrize("baseline", BASELINES)
def test_of_too_many_rows_logistic_regression_uses_the_first_and_constant_all(
    learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, baseline: Baseline
) -> None:
    monkeypatch.setattr(baselines, "MAX_ROWS", 200)
    with H5Table(learnable / "train.h5") as train:
        rows = 200 if baseline == "logistic_regression" else train.rows
    assert fit(learnable, tmp_path, baseline)[1]["train_rows"] == rows


def test_of_rows_with_one_label_nothing_is_learned(tmp_path: Path) -> None:
    make(tmp_path, raw_table(30, y=[0] * 26 + [1] * 4), valid_rows=[*range(24, 30)])
    with pytest.raises(UserError, match="label 0"):
        fit(tmp_path, tmp_path, "constant")
