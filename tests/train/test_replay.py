"""A training on all rows replays another run up to its best weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feseq.common.errors import UserError
from feseq.config.columns import Columns
from feseq.config.model import ModelConfig
from feseq.config.train import TrainConfig
from feseq.dataset.feature_map import fit_feature_map
from feseq.dataset.opening import AllRows, open_table
from feseq.evaluate.validation import predict_validation
from feseq.predict.model_file import TrainedModel
from feseq.train.step import Stepper
from support.trainings import (
    CONFIG,
    CPU,
    FOUR_EPOCHS,
    SMALL_MODEL,
    a_run,
    counted_steps,
    ended_at,
    script_monitor,
    train,
    train_saving,
)


def best_after_a_cut(
    data: Path, out: Path, config: TrainConfig = FOUR_EPOCHS, model: ModelConfig = SMALL_MODEL
) -> Path:
    """The training.json of a training whose third epoch is the best, after one without gain."""
    with pytest.MonkeyPatch.context() as patch:
        script_monitor(patch, 0.6, 0.5, 0.7, 0.65)
        return train(data, out, config, model)["training"]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return TrainedModel.load(path).network.state_dict()


@pytest.fixture
def rare(data: Path, tmp_path: Path) -> Path:
    """The same rows with a feature map that knows few categories."""
    folder = tmp_path / "rare"
    folder.mkdir()
    for name in ("train.h5", "valid.h5"):
        (folder / name).symlink_to(data / name)
    columns = Columns.from_config(CONFIG["columns"])
    fit_feature_map(data / "train.h5", columns, 40).write(folder / "feature_map.json")
    return folder


@pytest.mark.parametrize("settings", [{}, {"schedule": "cosine", "weight_average": 0.9}])
def test_on_the_same_rows_it_ends_with_the_same_weights(
    rare: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config, model = replace(FOUR_EPOCHS, **settings), replace(SMALL_MODEL, unknown_share="auto")
    training = best_after_a_cut(rare, tmp_path, config, model)
    about = json.loads(training.read_text())
    assert about["best_epoch"] == 3
    assert any(about["unknown_shares"].values())
    with a_run(rare, model, config).opened(CPU) as (source, _):
        run = a_run(rare, model, config, replay=training)
        trainer = run.trainer((source, None), CPU)
        trainer.fit()
    assert trainer.step == 9
    for name, weight in weights(tmp_path / "model.safetensors").items():
        assert torch.equal(weight, trainer.model.state_dict()[name]), name


def test_no_more_categories_are_drawn_than_validation_rows_have_unknown(
    rare: Path, tmp_path: Path
) -> None:
    run = a_run(rare, replace(SMALL_MODEL, unknown_share="auto"), FOUR_EPOCHS)
    with run.opened(CPU) as (train, valid):
        assert valid is not None
        drawn = np.array(run.unknown_shares(train, valid))
        before = train.encoder.unknown_shares(train.table)
        wanted = valid.encoder.unknown_shares(valid.table)
    assert before.max() > 0.2
    np.testing.assert_allclose(before + (1 - before) * drawn, np.maximum(before, wanted))


def test_it_sees_all_rows_says_whose_its_metrics_are_and_resumes(
    data: Path, tmp_path: Path
) -> None:
    feature_map = tmp_path / "feature_map.json"
    columns = Columns.from_config(CONFIG["columns"])
    fit_feature_map(data / "train.h5", columns, 1, data / "valid.h5").write(feature_map)
    options: dict[str, Any] = {
        "replay": best_after_a_cut(data, tmp_path / "first"),
        "feature_map": feature_map,
    }
    outputs = train_saving(data, tmp_path / "refit", **options)
    about = json.loads(outputs["training"].read_text())
    assert (about["train_rows"], about["valid_rows"], about["refit"]) == (1000, 0, True)
    # Three epochs of 3 steps are three of 4 steps.
    assert about["steps"] == 12
    assert about["valid_auc"] == 0.7
    model = TrainedModel.load(outputs["model"])
    with open_table(AllRows(data / "train.h5", data / "valid.h5")) as table:
        assert model.about.click_rate == pytest.approx(table.column("label").mean())
    # It was trained on the validation rows.
    with pytest.raises(UserError, match="not made from the same rows"):
        predict_validation(outputs["model"], data / "valid.h5", *(tmp_path / n for n in "ps"))
    with ended_at(Stepper, "take", 7):
        train_saving(data, tmp_path / "resumed", **options)
    with counted_steps() as steps:
        resumed = weights(train_saving(data, tmp_path / "resumed", **options)["model"])
    assert len(steps) == 6
    assert all(torch.equal(weight, resumed[n]) for n, weight in weights(outputs["model"]).items())
