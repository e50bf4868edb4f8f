"""Each mistake in a search space is named with its cure; sound spaces pass."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from feseq.common.errors import UserError
from feseq.config.space import by_block, check_space

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config/config.yaml").read_text())


def check(text: str) -> Any:
    space = yaml.safe_load(text)
    check_space(space)
    return space


@pytest.mark.parametrize(
    ("space", "mistake"),
    [
        ("{}", "names no setting"),
        ("model.droput: [0.1]", "unknown setting 'model.droput'; did you mean 'model.dropout'"),
        ("train.dropout: [0.1]", "did you mean 'model.dropout'"),
        ("dropout: [0.1]", "did you mean 'model.dropout'"),
        ("model.zzz: [0.1]", "unknown setting .model.zzz.; settings: model.cut, "),
        ("3: [0.1]", "unknown setting '3'"),
        ("model.max_len: [50]", "model.max_len cannot be searched: each max_len has a tuning"),
        ("boosting.depth: [3]", "did you mean 'boosting.max_depth'"),
        ("boosting.max_depth: {low: 3, high: 17}", "17 is not a whole number >= 1 and <= 16"),
        ("train.monitor: [{auc: 1}]", "train.monitor cannot be searched: it is the figure"),
        ("train.monitor.auc: [1, 2]", "train.monitor.auc cannot be searched: it is the figure"),
        ("model.dropout: 0.1", "0.1 is no list of choices and no mapping"),
        ("model.dropout: []", "no choices"),
        ("model.heads: {low: 1, high: 4.5}", "4.5 is not a whole number"),
        ("model.dropout: [0.1, 1.5]", "1.5 is not a number >= 0 and < 1"),
        ("model.heads: [1, 2, 1]", "1 stands there twice"),
        ("model.pooling: [mean, 3]", "3 is not one of mean, sum"),
        ("model.causal: [true, 1]", "1 is not true or false"),
        ("train.learning_rate: [1e-3, 1.0e-2]", "'1e-3' is not a number.* write it with a point"),
        ("model.mlp: [[64], 64]", "64 is not a list"),
        ("model.dropout: {low: 0, hihg: 1}", "unknown key 'hihg'; did you mean 'high'?"),
        ("model.dropout: {low: 0, hihg: 1}", "a range misses 'high'"),
        ("model.dropout: {log: true}", "a range misses 'low' and 'high'"),
        ("train.learning_rate: {low: 1e-4, high: 0.1}", "'1e-4' is no finite .* with a point"),
        ("model.dropout: {low: 0, high: .nan}", "nan is no finite number"),
        ("model.dropout: {low: 0.3, high: 0.1}", "low 0.3 is not below high 0.1"),
        ("model.dropout: {low: 0.1, high: 0.1}", "low 0.1 is not below high 0.1"),
        ("model.dropout: {low: 0.0, high: 0.3, log: true}", "log needs a low above 0"),
        ("model.dropout: {low: 0.1, high: 0.3, log: 1}", "log: 1 is not true or false"),
        ("model.dropout: {low: 0.1, high: 0.3, log: true, step: 0.1}", "log and step exclude"),
        ("model.dropout: {low: 0.1, high: 0.3, step: 0}", "step 0 is not above 0"),
        ("model.heads: {low: 1, high: 4, step: 2}", "steps of 2 from low 1 do not reach high 4"),
        ("model.pooling: {low: 1, high: 2}", "1 is not one of mean, sum"),
        ("model.causal: {low: 0, high: 1}", "0 is not true or false"),
    ],
)
def test_a_mistake_is_named(space: str, mistake: str) -> None:
    with pytest.raises(UserError, match=mistake):
        check(space)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(UserError) as raised:
        check("{model.droput: [0.1], train.epochs: [], model.heads: {low: 4, high: 2}}")
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        "tuning.space",
        "tuning.space.train.epochs",
        "tuning.space.model.heads",
    ]


@pytest.mark.parametrize(
    "space",
    [
        "model.dropout: {low: 0.1, high: 0.4, step: 0.1}",
        "model.heads: {low: 1, high: 8, log: true}",
        "train.max_grad_norm: {low: 1, high: 2.5}",
        "train.eval_steps: [null, 10]",
        "train.eval_steps: {low: 10, high: 30, step: 10}",
        "model.time_log_base: [2, null, 1.5]",
        "model.mlp: [[64], [128, 64]]",
        "train.epochs: [3]",
        "train.evaluations_per_epoch: [auto, 4]",
        "train.schedule: [plateau, cosine]",
        "train.negative_share: {low: 0.1, high: 1.0}",
        "train.weight_decay: {low: 1.0e-6, high: 0.1, log: true}",
    ],
)
def test_a_sound_space_passes(space: str) -> None:
    check(space)


def test_the_settings_of_every_size_can_be_searched() -> None:
    for size in CONFIG["sizes"].values():
        space = {f"model.{key}": [value] for key, value in size["model"].items()}
        check_space(space)
        assert by_block({path: values[0] for path, values in space.items()}) == {
            "model": size["model"],
            "train": {},
            "boosting": {},
        }
