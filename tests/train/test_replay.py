"""A training on all rows replays another run up to its best weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from feseq.common.errors import UserError
from feseq.config.columns import Columns
from feseq.config.runtime import Runtime
from feseq.config.train import TrainConfig
from feseq.dataset.feature_map import FeatureMap, fit_feature_map
from feseq.dataset.opening import AllRows, open_table
from feseq.evaluate.validation import predict_validation
from feseq.predict.model_file import TrainedModel
from feseq.train.learning_rate import LearningRate
from feseq.train.replay import Replay
from feseq.train.run import TrainingRun, make_trainer, opened, train_model
from feseq.train.step import Stepper
from support.trainings import CONFIG, CPU, SMALL_MODEL, TRAIN, end_at, ended_at, train

FILES = ("train.h5", "valid.h5", "feature_map.json")
FOUR_EPOCHS = replace(TRAIN, epochs=4, patience=9)


def best_after_a_cut(data: Path, out: Path, patch: pytest.MonkeyPatch, config: TrainConfig) -> Path:
    """The training.json of a training whose third epoch is the best, after one without gain."""
    found = iter([0.6, 0.5, 0.7, 0.65])
    metrics = {"logloss": 0.0}
    patch.setattr("feseq.train.loop.monitored_metrics", lambda *_: metrics | {"auc": next(found)})
    return train(data, out, config, SMALL_MODEL)["training"]


@pytest.mark.parametrize("settings", [{}, {"schedule": "cosine"}, {"weight_average": 0.9}])
def test_on_the_same_rows_it_ends_with_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    config = replace(FOUR_EPOCHS, **settings)
    training = best_after_a_cut(data, tmp_path, monkeypatch, config)
    assert json.loads(training.read_text())["best_epoch"] == 3
    run = TrainingRun(*(data / name for name in FILES), SMALL_MODEL, config)
    feature_map = FeatureMap.read(run.feature_map_json)
    with opened(run, feature_map, CPU) as (source, _):
        run = replace(run, replay=training)
        trainer = make_trainer(run, feature_map, (source, None), CPU, verbosity=0)
        trainer.fit()
    assert trainer.step == 9
    for name, weight in (
        TrainedModel.load(tmp_path / "model.safetensors").network.state_dict().items()
    ):
        assert torch.equal(weight, trainer.model.state_dict()[name]), name


def test_steps_and_rates_scale_with_the_epochs() -> None:
    replay = Replay(6, LearningRate(1.0, 12, cuts=[3]), 2.0, {})
    assert replay.steps == 12
    assert [replay.rate(step) for step in range(1, 13)] == pytest.approx([1.0] * 6 + [0.1] * 6)
    assert Replay(7, LearningRate(1.0, 12), 1.1, {}).steps == 8


@pytest.fixture
def refit(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingRun:
    """A run on all rows that replays another, with a feature map of all rows."""
    config = replace(FOUR_EPOCHS, epochs=4)
    training = best_after_a_cut(data, tmp_path / "first", monkeypatch, config)
    feature_map = tmp_path / "feature_map.json"
    columns = Columns.from_config(CONFIG["columns"])
    all_rows = (data / "train.h5", columns, 1, data / "valid.h5")
    fit_feature_map(*all_rows).write(feature_map)
    files = (data / "train.h5", data / "valid.h5", feature_map)
    return TrainingRun(*files, SMALL_MODEL, config, training)


def fit(run: TrainingRun, out: Path) -> dict[str, Path]:
    outputs = {name: out / name for name in ("model", "history", "training")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feseq.train.checkpoint.SECONDS_BETWEEN_SAVES", 0)
        train_model(run, outputs, runtime=Runtime(device="cpu", verbosity=0))
    return outputs


def test_it_sees_all_rows_and_says_whose_its_metrics_are(
    refit: TrainingRun, data: Path, tmp_path: Path
) -> None:
    outputs = fit(refit, tmp_path / "refit")
    about = json.loads(outputs["training"].read_text())
    assert (about["train_rows"], about["valid_rows"], about["refit"]) == (1000, 0, True)
    # Three epochs of 3 steps are three of 4 steps.
    assert about["steps"] == 12
    assert about["valid_auc"] == 0.7
    model = TrainedModel.load(outputs["model"])
    with open_table(AllRows(data / "train.h5", data / "valid.h5")) as table:
        assert model.click_rate == pytest.approx(table.column("label").mean())
    # It was trained on the validation rows.
    with pytest.raises(UserError, match="not made from the same rows"):
        predict_validation(outputs["model"], data / "valid.h5", *(tmp_path / n for n in "ps"))


def test_interrupted_and_resumed_it_ends_the_same(
    refit: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TrainedModel.load(fit(refit, tmp_path / "whole")["model"]).network.state_dict()
    with ended_at(Stepper, "take", 7):
        fit(refit, tmp_path / "resumed")
    taken = end_at(monkeypatch, Stepper, "take", 0, None)
    resumed = TrainedModel.load(fit(refit, tmp_path / "resumed")["model"]).network.state_dict()
    assert 0 < len(taken) < 12
    for name, weight in whole.items():
        assert torch.equal(weight, resumed[name]), name
