"""The check of a search space."""

from typing import Any

import pytest
import yaml

from feseq.common.errors import UserError
from feseq.config.space import TuneConfig, by_block
from support.configs import Config


@pytest.mark.parametrize(
    ("space", "named"),
    [
        ("model.droput: [0.1]", "model.droput"),
        ("dropout: [0.1]", "dropout"),
        ("model.max_len: [50]", "model.max_len"),
        ("train.monitor: [{auc: 1}]", "train.monitor"),
        ("boosting.bags: [1, 3]", "boosting.bags"),
        ("boosting.max_depth: {low: 3, high: 17}", "boosting.max_depth"),
        ("model.dropout: 0.1", "model.dropout"),
        ("model.dropout: []", "model.dropout"),
        ("model.dropout: [0.1, 1.5]", "model.dropout"),
        ("model.heads: {low: 1, high: 4.5}", "model.heads"),
        ("model.pooling: [mean, 3]", "model.pooling"),
        ("model.pooling: {low: 1, high: 2}", "model.pooling"),
        ("model.causal: [true, 1]", "model.causal"),
        ("train.learning_rate: [1e-3, 1.0e-2]", "train.learning_rate"),
        ("model.mlp: [[64], 64]", "model.mlp"),
        ("model.dropout: {low: 0, high: 0.1, hihg: 1}", "model.dropout.hihg"),
        ("model.dropout: {low: 0}", "model.dropout.high"),
        ("model.dropout: {low: 0, high: .nan}", "model.dropout.high"),
        ("model.dropout: {low: 0.3, high: 0.1}", "model.dropout"),
        ("model.dropout: {low: 0.0, high: 0.3, log: true}", "model.dropout"),
        ("model.dropout: {low: 0.1, high: 0.3, log: true, step: 0.1}", "model.dropout"),
        ("model.dropout: {low: 0.1, high: 0.3, step: 0}", "model.dropout.step"),
        ("model.heads: {low: 1, high: 8, step: 0.5}", "model.heads"),
    ],
)
def test_a_mistake_is_named(space: str, named: str) -> None:
    with pytest.raises(UserError) as refusal:
        TuneConfig.from_values({"space": yaml.safe_load(space)}, "tuning")
    assert str(refusal.value).split(": ")[:2] == ["tuning.space", named]


@pytest.mark.parametrize(
    "space",
    [
        "model.dropout: {low: 0.1, high: 0.4, step: 0.1}",
        "model.heads: {low: 1, high: 8, log: true}",
        "train.embedding_l2: {low: 1, high: 2.5}",
        "model.time_log_base: [2, null, 1.5]",
        "train.evaluations_per_epoch: [auto, 4]",
        "boosting.l2: {low: 0.1, high: 30.0, log: true}",
    ],
)
def test_a_sound_space_passes(space: str) -> None:
    TuneConfig.from_values({"space": yaml.safe_load(space)}, "tuning")


def test_the_settings_of_every_size_can_be_searched(config: Config) -> None:
    for size in config["sizes"].values():
        space: dict[str, Any] = {f"model.{key}": [value] for key, value in size["model"].items()}
        TuneConfig.from_values({"space": space}, "tuning")
        assert by_block({path: values[0] for path, values in space.items()}) == {
            "model": size["model"],
            "train": {},
            "boosting": {},
        }
