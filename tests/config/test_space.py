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
        ("model.max_len: [50]", "model.max_len"),
        ("boosting.bags: [1, 3]", "boosting.bags"),
        ("boosting.max_depth: {low: 3, high: 17}", "boosting.max_depth"),
        ("model.dropout: []", "model.dropout"),
        ("model.dropout: [0.1, 1.5]", "model.dropout"),
        ("model.pooling: {low: 1, high: 2}", "model.pooling"),
        ("train.learning_rate: [1e-3, 1.0e-2]", "train.learning_rate"),
        ("model.mlp: [[64], 64]", "model.mlp"),
        ("model.dropout: {low: 0, high: 0.1, hihg: 1}", "model.dropout.hihg"),
        ("model.dropout: {low: 0}", "model.dropout.high"),
        ("model.dropout: {low: 0, high: .nan}", "model.dropout.high"),
        ("model.dropout: {low: 0.3, high: 0.1}", "model.dropout"),
        ("model.dropout: {low: 0.0, high: 0.3, log: true}", "model.dropout"),
        ("model.dropout: {low: 0.1, high: 0.3, log: true, step: 0.1}", "model.dropout"),
        ("model.heads: {low: 1, high: 8, step: 0.5}", "model.heads"),
        ("model.dropout: {low: 0.1, high: 0.4, step: 0.1}", None),
        ("model.heads: {low: 1, high: 8, log: true}", None),
        ("train.embedding_l2: {low: 1, high: 2.5}", None),
        ("model.time_log_base: [2, null, 1.5]", None),
        ("train.evaluations_per_epoch: [auto, 4]", None),
        ("boosting.l2: {low: 0.1, high: 30.0, log: true}", None),
    ],
)
def test_a_mistake_is_named_and_a_sound_space_passes(space: str, named: str | None) -> None:
    values = {"space": yaml.safe_load(space)}
    if named is None:
        TuneConfig.from_values(values, "tuning")
        return
    with pytest.raises(UserError) as refusal:
        TuneConfig.from_values(values, "tuning")
    assert str(refusal.value).split(": ")[:2] == ["tuning.space", named]


def test_the_settings_of_every_size_can_be_searched(config: Config) -> None:
    for size in config["sizes"].values():
        space: dict[str, Any] = {f"model.{key}": [value] for key, value in size["model"].items()}
        TuneConfig.from_values({"space": space}, "tuning")
        assert by_block({path: values[0] for path, values in space.items()}) == {
            "model": size["model"],
            "train": {},
            "boosting": {},
        }
