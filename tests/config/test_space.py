"""The check of a search space."""

from typing import Any

import pytest
import yaml

from feseq.common.errors import UserError
from feseq.config.space import by_block, check_space
from support.configs import Config


@pytest.mark.parametrize(
    ("space", "named"),
    [
        ("{}", ""),
        ("model.droput: [0.1]", "model.droput"),
        ("dropout: [0.1]", "dropout"),
        ("model.max_len: [50]", "model.max_len"),
        ("train.monitor: [{auc: 1}]", "train.monitor"),
        ("boosting.max_depth: {low: 3, high: 17}", "boosting.max_depth.high"),
        ("model.dropout: 0.1", "model.dropout"),
        ("model.dropout: []", "model.dropout"),
        ("model.dropout: [0.1, 1.5]", "model.dropout.1"),
        ("model.heads: {low: 1, high: 4.5}", "model.heads.high"),
        ("model.pooling: [mean, 3]", "model.pooling.1"),
        ("model.pooling: {low: 1, high: 2}", "model.pooling"),
        ("model.causal: [true, 1]", "model.causal.1"),
        ("train.learning_rate: [1e-3, 1.0e-2]", "train.learning_rate.0"),
        ("model.mlp: [[64], 64]", "model.mlp.1"),
        ("model.dropout: {low: 0, high: 0.1, hihg: 1}", "model.dropout.hihg"),
        ("model.dropout: {low: 0}", "model.dropout.high"),
        ("model.dropout: {low: 0, high: .nan}", "model.dropout.high"),
        ("model.dropout: {low: 0.3, high: 0.1}", "model.dropout"),
        ("model.dropout: {low: 0.0, high: 0.3, log: true}", "model.dropout"),
        ("model.dropout: {low: 0.1, high: 0.3, log: true, step: 0.1}", "model.dropout"),
        ("model.dropout: {low: 0.1, high: 0.3, step: 0}", "model.dropout.step"),
    ],
)
def test_a_mistake_is_named(space: str, named: str) -> None:
    with pytest.raises(UserError) as refusal:
        check_space(yaml.safe_load(space))
    assert str(refusal.value).split(": ")[0] == ".".join(["tuning.space", *filter(None, [named])])


@pytest.mark.parametrize(
    "space",
    [
        "model.dropout: {low: 0.1, high: 0.4, step: 0.1}",
        "model.heads: {low: 1, high: 8, log: true}",
        "train.max_grad_norm: {low: 1, high: 2.5}",
        "model.time_log_base: [2, null, 1.5]",
        "train.evaluations_per_epoch: [auto, 4]",
        "boosting.l2: {low: 0.1, high: 30.0, log: true}",
    ],
)
def test_a_sound_space_passes(space: str) -> None:
    check_space(yaml.safe_load(space))


def test_the_settings_of_every_size_can_be_searched(config: Config) -> None:
    for size in config["sizes"].values():
        space: dict[str, Any] = {f"model.{key}": [value] for key, value in size["model"].items()}
        check_space(space)
        assert by_block({path: values[0] for path, values in space.items()}) == {
            "model": size["model"],
            "train": {},
            "boosting": {},
        }
