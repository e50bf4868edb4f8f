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
from ..config.names import split_name
from ..config.space import space_of

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


def variant_of_boosting(config: Mapping[str, Any]) -> Callable[[Any], dict[str, Any]]:
    """What the variant of a job's model of boosting changes; {} where it has none."""

    def job_value(wildcards: Any) -> dict[str, Any]:
        boosting_settings(config, wildcards.size, wildcards.model)
        variant = split_name(wildcards.model)[1]
        return config["variants"][variant]["boosting"] if variant else {}

    return job_value


def tuning_params(config: Mapping[str, Any], *blocks: str) -> dict[str, Any]:
    """The settings of a search over the settings of these blocks, by dotted name."""
    tuning = config["tuning"]
    values = {**tuning, "space": space_of(tuning["space"], blocks)}
    return {f"tuning.{key}": value for key, value in values.items()}
