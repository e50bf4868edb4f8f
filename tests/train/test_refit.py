"""A refit goes on from a training's best weights, with the validation rows among as many others."""

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
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.opening import open_table
from feseq.evaluate.validation import predict_validation
from feseq.predict.model_file import TrainedModel
from feseq.train.step import Stepper
from support.trainings import (
    CONFIG,
    CPU,
    FOUR_EPOCHS,
    SMALL_MODEL,
    STILL,
    a_run,
    counted_steps,
    ended_at,
    script_monitor,
    train,
    train_saving,
)


def fit_to_all(data: Path, out: Path, min_count: int = 1) -> Path:
    """A feature map of the train and validation rows."""
    columns = Columns.from_config(CONFIG["columns"])
    fit_feature_map(data / "train.h5", columns, min_count, data / "valid.h5").write(out)
    return out


def trained(
    data: Path, out: Path, config: TrainConfig = FOUR_EPOCHS, model: ModelConfig = SMALL_MODEL
) -> Path:
    """The training.json of a training whose third epoch is the best."""
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


def test_it_begins_with_the_weights_and_unknown_shares_of_the_first(
    rare: Path, tmp_path: Path
) -> None:
    config, model = replace(FOUR_EPOCHS, batch_size=50), replace(STILL, unknown_share="auto")
    training = trained(rare, tmp_path, config, model)
    shares = json.loads(training.read_text())["unknown_shares"]
    assert any(shares.values())
    # Steps so small that they leave the weights where they were.
    small = replace(config, learning_rate=1e-30, start_from=str(tmp_path / "model.safetensors"))
    fit_to_all(rare, rare / "feature_map.json", 40)
    run = a_run(rare, model, small, refit_of=training)
    with run.opened(CPU) as sources:
        trainer = run.trainer(sources, CPU)
        assert trainer.model.unknown.shares.tolist() == pytest.approx(list(shares.values()))
        trainer.fit()
    for name, weight in weights(tmp_path / "model.safetensors").items():
        after = trainer.model.state_dict()[name]
        # New categories have rows of their own.
        assert weight.numel() < after.numel() or torch.allclose(weight, after), name


def test_its_rows_are_all_validation_rows_and_as_many_others(data: Path, tmp_path: Path) -> None:
    training = trained(data, tmp_path)
    config = replace(FOUR_EPOCHS, start_from=str(tmp_path / "model.safetensors"))
    with open_table(data / "valid.h5") as table:
        held_out = set(table.column("row").tolist())
    folder, found = tmp_path / "all", []
    folder.mkdir()
    for name in ("train.h5", "valid.h5"):
        (folder / name).symlink_to(data / name)
    fit_to_all(data, folder / "feature_map.json")
    for seed in (42, 42, 43):
        run = a_run(folder, SMALL_MODEL, replace(config, seed=seed), refit_of=training)
        with run.opened(CPU) as (source, valid):
            assert valid is None
            found.append(source.table.column("row").tolist())
            assert source.batch_rows == json.loads(training.read_text())["batch_rows"]
    for rows in found:
        assert len(rows) == len(set(rows)) == 2 * len(held_out)
        assert held_out < set(rows)
    assert found[0] == found[1] != found[2]


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


def test_it_says_whose_its_metrics_are_and_resumes(data: Path, tmp_path: Path) -> None:
    feature_map = fit_to_all(data, tmp_path / "feature_map.json")
    first = trained(data, tmp_path / "first", replace(FOUR_EPOCHS, batch_size=20))
    options: dict[str, Any] = {"refit_of": first, "feature_map": feature_map}
    outputs = train_saving(data, tmp_path / "refit", **options)
    about = json.loads(outputs["training"].read_text())
    assert (about["train_rows"], about["valid_rows"], about["refit"]) == (200, 0, True)
    assert (about["steps"], about["valid_auc"]) == (10, 0.7)
    with open_table(data / "train.h5") as some, open_table(data / "valid.h5") as others:
        label = np.concatenate([some.column("label"), others.column("label")])
    assert TrainedModel.load(outputs["model"]).about.click_rate == pytest.approx(label.mean())
    before = weights(first.with_name("model.safetensors"))
    assert any(
        not torch.equal(weight, before[name]) for name, weight in weights(outputs["model"]).items()
    )
    # It was trained on the validation rows.
    with pytest.raises(UserError, match="not made from the same rows"):
        predict_validation(outputs["model"], data / "valid.h5", *(tmp_path / n for n in "ps"))
    with ended_at(Stepper, "take", 7):
        train_saving(data, tmp_path / "resumed", **options)
    with counted_steps() as steps:
        resumed = weights(train_saving(data, tmp_path / "resumed", **options)["model"])
    assert len(steps) == 4
    assert all(torch.equal(weight, resumed[n]) for n, weight in weights(outputs["model"]).items())
