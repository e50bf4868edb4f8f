"""Params of rules: which settings they have, and what counts in a digest of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from feseq.config.train import TrainConfig
from feseq.staleness.model_params import model_params
from feseq.staleness.params import (
    as_setting,
    not_counted,
    params_digest,
    read_settings,
    settings,
)

CONFIG: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "config/config.yaml").read_text()
)


def test_settings_come_back_from_their_texts() -> None:
    values = {"rows": None, "model.heads": 2, "model.mlp": [1, 2], "name": "a=b {x} 'ü'"}
    texts = [as_setting(name, value) for name, value in values.items()]
    assert read_settings(texts) == {
        "rows": None,
        "model": {"heads": 2, "mlp": [1, 2]},
        "name": "a=b {x} 'ü'",
    }


def test_an_upstream_digest_has_code_and_settings_of_each_job_but_what_does_not_count() -> None:
    def digest(code: str = "a.py@1", size: str = "toy", seed: int = 1, gpus: int = 1) -> str:
        named = settings(seed=seed, size=lambda wildcards: wildcards.size)
        params = [code, *named.values(), *not_counted(gpus=gpus).values()]
        params = params[::-1] if gpus > 1 else params
        return params_digest([("train", {"size": size})], {"train": params}.__getitem__)

    assert digest(gpus=2) == digest()
    assert len({digest(), digest(code="a.py@2"), digest(size="full"), digest(seed=2)}) == 4


POOLED = {"score", "scaled_scores", "item_interaction_layers", "attention_dim"}


@pytest.mark.parametrize(
    ("network", "unused"),
    [
        ({"pooling": "mean", "times": False}, {"time_buckets", "time_log_base"} | POOLED),
        ({"pooling": "target", "times": True}, POOLED),
        ({"pooling": "weighted_sum", "score": "din", "times": True}, {"scaled_scores"}),
        ({"pooling": "weighted_sum", "score": "dot", "times": True}, set()),
    ],
)
def test_settings_that_a_network_does_not_use_are_null(
    network: dict[str, Any], unused: set[str]
) -> None:
    defaults = {"time_log_base": 2}
    variants = {"other": {"model": defaults | network}}
    job = SimpleNamespace(size="toy", model="len100-other")

    def given(**options: Any) -> dict[str, Any]:
        params = settings(**model_params(CONFIG | {"variants": variants}, **options)).values()
        return read_settings(param(job) for param in params)["model_config"]

    every = given(all_used=True)
    assert None not in every.values()
    assert given() == every | dict.fromkeys(unused)


@pytest.mark.parametrize(
    ("training", "unused"),
    [
        ({"embedding_l2": 0.1}, set()),
        ({"start_from": "old", "start_at_click_rate": True}, {"start_at_click_rate"}),
    ],
)
def test_settings_that_a_training_does_not_use_are_null_and_read_as_defaults(
    training: dict[str, Any], unused: set[str]
) -> None:
    variants = {"other": {"train": training}}
    job = SimpleNamespace(size="toy", model="len100-other")
    params = settings(**model_params(CONFIG | {"variants": variants})).values()
    found = read_settings(param(job) for param in params)["train_config"]
    null = {name for name, value in found.items() if value is None}
    assert null - {"start_from"} == unused
    read = TrainConfig.from_values(found, "train_config")
    assert (read.start_at_click_rate, read.evaluations_per_epoch) == (False, "auto")
