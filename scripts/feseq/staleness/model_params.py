"""The settings of a model as params of the rules that train it."""

from collections.abc import Callable, Mapping
from typing import Any

from ..config.catalog import (
    LAYOUT,
    boosting_settings,
    model_settings,
    size_settings,
    used_settings,
    used_training,
)

_USED = {"model_config": used_settings, "train_config": used_training}


def model_params(config: Mapping[str, Any], *, all_used: bool = False) -> dict[str, Callable]:
    """The settings of a job's network and training, by dotted name, as functions of the wildcards.

    Those that network or training do not use are null, unless `all_used`.
    """

    def value(block: str, key: str) -> Callable[[Any], Any]:
        def job_value(wildcards: Any) -> Any:
            chosen = model_settings(config, wildcards.size, wildcards.model)[block]
            return (chosen if all_used else _USED[block](chosen))[key]

        return job_value

    size = size_settings(config, next(iter(config["sizes"])))
    keys = [("model_config", key) for key in ("max_len", *size["model"])]
    keys += [("train_config", key) for key in size["train"] if key not in LAYOUT]
    return {f"{block}.{key}": value(block, key) for block, key in keys}


def boosting_params(config: Mapping[str, Any]) -> dict[str, Callable]:
    """The settings of a job's model of boosting, by dotted name, as functions of the wildcards."""

    def value(key: str) -> Callable[[Any], Any]:
        return lambda wildcards: boosting_settings(config, wildcards.size, wildcards.model)[key]

    return {f"boosting_config.{key}": value(key) for key in config["boosting"]}
