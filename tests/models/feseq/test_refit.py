"""Refits keep the first training's weights and how it reads numbers, and new words join."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.networks import WHOLE, random_model
from support.raw_tables import raw_table, to_train_h5, with_roles
from support.trainings import (
    CONFIG,
    FOUR_EPOCHS,
    STILL,
    a_trainer,
    counted_steps,
    ended_at,
    same_weights,
    script_monitor,
    train,
    train_saving,
)
from tossctr.common.errors import UserError
from tossctr.common.files import read_json
from tossctr.config.columns import Columns
from tossctr.datasets.opening import open_table
from tossctr.features.feature_map import FeatureMap
from tossctr.features.fitting import fit_feature_map
from tossctr.models.feseq.network_file import (
    TrainedNetwork,
    build_model,
    copy_weights,
    merge_feature_maps,
)
from tossctr.models.feseq.training_step import Stepper
from tossctr.predict.model_predictions import predict_validation

ROLES = with_roles(shared=("events",), context=("unused",), ids=("age",))
# Without similarities: the vectors of items are those of the newer rows.
MODEL = replace(WHOLE, pooling="weighted_sum", history_statistics=("length", "entropy", "newest"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Older and newer rows as the train and the valid file of one draw."""
    random = np.random.default_rng(4)
    events = [random.integers(0, 60, length) for length in random.integers(0, 12, 150)]
    table = raw_table(
        150,
        events=[",".join(map(str, row)) for row in events],
        item=[str(item) if item < 70 else f"kind {item}" for item in random.integers(0, 90, 150)],
        unused=[f"u{number}" for number in random.integers(0, 40, 150)],
    )
    folder = tmp_path_factory.mktemp("days")
    to_train_h5(folder, table, columns=ROLES)
    return folder


def fitted(folder: Path, *days: str) -> FeatureMap:
    return fit_feature_map([folder / f"{day}.h5" for day in days], ROLES, 1)


def test_the_extended_map_has_the_codes_that_a_fit_to_all_rows_has(folder: Path) -> None:
    old, everything = fitted(folder, "train"), fitted(folder, "train", "valid")
    both = merge_feature_maps(old, everything)
    for kind in ("profile", "targets", "sequences", "context", "ids"):
        assert getattr(both, kind) == getattr(everything, kind)
    assert both.targets != old.targets
    # Numbers are read as the weights have learned to.
    assert (both.numeric, both.statistics) == (old.numeric, old.statistics)
    assert (both.fitted_on, merge_feature_maps(old, old)) == (everything.fitted_on, old)


def test_older_rows_get_their_logits_and_new_codes_their_start_values(folder: Path) -> None:
    earlier = random_model(MODEL, fitted(folder, "train"))
    feature_map = merge_feature_maps(earlier.about.feature_map, fitted(folder, "train", "valid"))
    torch.manual_seed(1)
    network = build_model(MODEL, feature_map)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    # Codes of the older rows at other indices than those that the earlier map gives them.
    newer = TrainedNetwork(replace(earlier.about, feature_map=feature_map), network)
    copy_weights(earlier, network, feature_map)
    logits = [model.predict(folder / "train.h5") for model in (earlier, newer)]
    np.testing.assert_array_equal(*logits)
    # No other row of a table was touched.
    for name, value in network.state_dict().items():
        added = len(value) - len(earlier.network.state_dict()[name]) if value.ndim else 0
        if added:
            assert (value == fresh[name]).all(1).sum() == added
    assert "history.target.0.weight" in fresh


SIMULATED = Columns.from_config(CONFIG["table"]["columns"])
DRAWING = replace(STILL, oov_rate="auto")


@pytest.fixture(scope="module")
def first(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training.json of a training whose third epoch is the best."""
    out = tmp_path_factory.mktemp("first")
    config = replace(FOUR_EPOCHS, batch_size=50, negative_sampling_rate=0.3)
    with pytest.MonkeyPatch.context() as patch:
        script_monitor(patch, 0.6, 0.5, 0.7, 0.65)
        return train(data, out, config, DRAWING)["training"]


@pytest.fixture(scope="module")
def refit(data: Path, first: Path) -> dict[str, Any]:
    """What a refit of the first training is made from."""
    all_rows = first.with_name("all_rows.json")
    fit_feature_map(data / "train.h5", SIMULATED, 1, data / "valid.h5").write(all_rows)
    return {"refit_of": first, "feature_map": all_rows}


def test_it_begins_with_the_predictions_and_oov_rates_of_the_first(
    data: Path, first: Path, refit: dict[str, Any]
) -> None:
    earlier = TrainedNetwork.load(first.with_name("model.safetensors"))
    shares = read_json(first)["oov_rates"]
    assert any(shares.values())
    with a_trainer(data, FOUR_EPOCHS, DRAWING, **refit) as trainer:
        network = trainer.model.eval()
    assert network.oov_dropout.rates.tolist() == pytest.approx(list(shares.values()))
    # Its rows are drawn at another share.
    assert network.logit_shift.shift == 0 > earlier.network.logit_shift.shift
    feature_map = merge_feature_maps(
        earlier.about.feature_map, FeatureMap.read(refit["feature_map"])
    )
    later = TrainedNetwork(replace(earlier.about, feature_map=feature_map), network)
    logits = [model.predict(data / "train.h5") for model in (earlier, later)]
    np.testing.assert_allclose(*logits, rtol=1e-5, atol=1e-5)


def test_its_rows_are_all_validation_rows_and_as_many_others(
    data: Path, refit: dict[str, Any]
) -> None:
    with open_table(data / "valid.h5") as table:
        held_out = set(table.column("row").tolist())
    draws = []
    for seed in (42, 42, 43):
        with a_trainer(data, replace(FOUR_EPOCHS, seed=seed), DRAWING, **refit) as trainer:
            assert trainer.valid is None
            draws.append(trainer.train.table.column("row").tolist())
            assert trainer.train.batch_rows == 50
    for rows in draws:
        assert len(rows) == len(set(rows)) == 2 * len(held_out)
        assert held_out < set(rows)
    assert draws[0] == draws[1] != draws[2]


def test_it_says_whose_its_metrics_are_and_resumes(
    data: Path, first: Path, refit: dict[str, Any], tmp_path: Path
) -> None:
    options = {"model": DRAWING, **refit}
    outputs = train_saving(data, tmp_path / "refit", **options)
    about = read_json(outputs["training"])
    assert (about["train_rows"], about["valid_rows"], about["refit"]) == (200, 0, True)
    assert (about["steps"], about["valid_auc"]) == (4, 0.7)
    assert not same_weights(first.with_name("model.safetensors"), outputs["model"])
    # It was trained on the validation rows.
    with pytest.raises(UserError, match="not made from the same rows"):
        predict_validation(outputs["model"], data / "valid.h5", tmp_path / "predictions")
    with ended_at(Stepper, "take_step", 3):
        train_saving(data, tmp_path / "resumed", **options)
    with counted_steps() as steps:
        resumed = train_saving(data, tmp_path / "resumed", **options)
    assert len(steps) == 2
    assert same_weights(outputs["model"], resumed["model"])
