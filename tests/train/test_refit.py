"""A refit goes on from a training's best weights, with the validation rows among as many others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feseq.common.errors import UserError
from feseq.common.files import read_json
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
    same_weights,
    script_monitor,
    train,
    train_saving,
)


def fit(data: Path, out: Path, min_count: int = 1, *, all_rows: bool = True) -> Path:
    """The file of a feature map of the train rows, or of these and the validation rows."""
    columns, valid = Columns.from_config(CONFIG["columns"]), [data / "valid.h5"] * all_rows
    fit_feature_map(data / "train.h5", columns, min_count, valid).write(out)
    return out


def trained(
    data: Path,
    out: Path,
    config: TrainConfig = FOUR_EPOCHS,
    model: ModelConfig = SMALL_MODEL,
    **options: Any,
) -> Path:
    """The training.json of a training whose third epoch is the best."""
    with pytest.MonkeyPatch.context() as patch:
        script_monitor(patch, 0.6, 0.5, 0.7, 0.65)
        return train(data, out, config, model, **options)["training"]


@pytest.fixture
def rare(data: Path, tmp_path: Path) -> Path:
    """A feature map that knows few categories."""
    return fit(data, tmp_path / "rare.json", 40, all_rows=False)


def test_it_begins_with_the_weights_and_unknown_shares_of_the_first(
    data: Path, rare: Path, tmp_path: Path
) -> None:
    config, model = replace(FOUR_EPOCHS, batch_size=50), replace(STILL, unknown_share="auto")
    training = trained(data, tmp_path, config, model, feature_map=rare)
    shares = read_json(training)["unknown_shares"]
    assert any(shares.values())
    # Steps so small that they leave the weights where they were.
    small = replace(config, learning_rate=1e-30, start_from=str(tmp_path / "model.safetensors"))
    fit(data, rare, 40)
    run = a_run(data, model, small, rare, before=read_json(training))
    with run.opened(CPU) as sources:
        trainer = run.trainer(sources, CPU)
        assert trainer.model.unknown.shares.tolist() == pytest.approx(list(shares.values()))
        trainer.fit()
    first = TrainedModel.load(tmp_path / "model.safetensors").network
    for name, weight in first.state_dict().items():
        after = trainer.model.state_dict()[name]
        # New categories have rows of their own.
        assert weight.numel() < after.numel() or torch.allclose(weight, after), name


def test_its_rows_are_all_validation_rows_and_as_many_others(data: Path, tmp_path: Path) -> None:
    before = read_json(trained(data, tmp_path))
    config = replace(FOUR_EPOCHS, start_from=str(tmp_path / "model.safetensors"))
    with open_table(data / "valid.h5") as table:
        held_out = set(table.column("row").tolist())
    feature_map, found = fit(data, tmp_path / "all.json"), []
    for seed in (42, 42, 43):
        run = a_run(data, SMALL_MODEL, replace(config, seed=seed), feature_map, before=before)
        with run.opened(CPU) as (source, valid):
            assert valid is None
            found.append(source.table.column("row").tolist())
            assert source.batch_rows == before["batch_rows"]
    for rows in found:
        assert len(rows) == len(set(rows)) == 2 * len(held_out)
        assert held_out < set(rows)
    assert found[0] == found[1] != found[2]


def test_no_more_categories_are_drawn_than_validation_rows_have_unknown(
    data: Path, rare: Path
) -> None:
    run = a_run(data, replace(SMALL_MODEL, unknown_share="auto"), FOUR_EPOCHS, rare)
    with run.opened(CPU) as (train, valid):
        assert valid is not None
        drawn = np.array(run.unknown_shares(train, valid))
        before = train.encoder.unknown_shares(train.table)
        wanted = valid.encoder.unknown_shares(valid.table)
    assert before.max() > 0.2
    np.testing.assert_allclose(before + (1 - before) * drawn, np.maximum(before, wanted))


def test_it_says_whose_its_metrics_are_and_resumes(data: Path, tmp_path: Path) -> None:
    feature_map = fit(data, tmp_path / "feature_map.json")
    first = trained(data, tmp_path / "first", replace(FOUR_EPOCHS, batch_size=20))
    options: dict[str, Any] = {"refit_of": first, "feature_map": feature_map}
    outputs = train_saving(data, tmp_path / "refit", **options)
    about = read_json(outputs["training"])
    assert (about["train_rows"], about["valid_rows"], about["refit"]) == (200, 0, True)
    assert (about["steps"], about["valid_auc"]) == (10, 0.7)
    with open_table(data / "train.h5") as some, open_table(data / "valid.h5") as others:
        label = np.concatenate([some.column("label"), others.column("label")])
    assert TrainedModel.load(outputs["model"]).about.click_rate == pytest.approx(label.mean())
    assert not same_weights(first.with_name("model.safetensors"), outputs["model"])
    # It was trained on the validation rows.
    with pytest.raises(UserError, match="not made from the same rows"):
        predict_validation(outputs["model"], data / "valid.h5", *(tmp_path / n for n in "ps"))
    with ended_at(Stepper, "take", 7):
        train_saving(data, tmp_path / "resumed", **options)
    with counted_steps() as steps:
        resumed = train_saving(data, tmp_path / "resumed", **options)
    assert len(steps) == 4
    assert same_weights(outputs["model"], resumed["model"])
