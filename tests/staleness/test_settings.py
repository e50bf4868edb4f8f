"""Settings as params of rules: the text of each, and which count."""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from entry import read_settings
from feseq.config.catalog import model_settings
from feseq.config.train import TrainConfig
from feseq.families import family_of
from feseq.staleness import not_counted, settings

CONFIG: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "config/config.yaml").read_text()
)


def test_settings_come_back_from_their_texts() -> None:
    values = {"rows": None, "model.heads": 2, "model.mlp": [1, 2], "name": "a=b {x} 'ü'"}
    values["size"] = lambda wildcards: wildcards.size
    job = SimpleNamespace(size="toy")
    texts = [param(job) for param in settings(**values, absent=...).values()]
    assert texts.pop() == ""
    assert read_settings(texts) == {
        "rows": None,
        "model": {"heads": 2, "mlp": [1, 2]},
        "name": "a=b {x} 'ü'",
        "size": "toy",
    }


def test_snakemake_never_compares_what_does_not_count() -> None:
    (param,) = not_counted(gpus=2).values()
    assert "resources" in inspect.signature(param).parameters
    assert param(None, None) == "gpus=2"


POOLED = {"score", "scaled_scores", "item_interaction_layers", "attention_dim"}


@pytest.mark.parametrize(
    ("block", "given", "unused"),
    [
        ("model", {"pooling": "mean", "times": False}, {"time_buckets", "time_log_base"} | POOLED),
        ("model", {"pooling": "target", "times": True}, POOLED),
        ("model", {"pooling": "weighted_sum", "score": "dot", "times": True}, set()),
        ("train", {"start_from": "models/old.safetensors"}, {"start_at_click_rate"}),
        ("train", {}, set()),
    ],
)
def test_settings_that_a_model_does_not_use_are_null_and_read_as_defaults(
    block: str, given: dict[str, Any], unused: set[str]
) -> None:
    config = CONFIG | {"variants": {"other": {block: {"time_log_base": 2, **given}}}}
    if block == "train":
        config["variants"]["other"][block].pop("time_log_base")
    every = model_settings(config, "toy", "len100-other")
    used = family_of("len100-other").used(every)
    null = {key for key, value in used[block].items() if value is None}
    assert {key for key in null if every[block][key] is not None} >= unused & set(every[block])
    assert TrainConfig.from_values(used["train"], "train").seed == every["train"]["seed"]
