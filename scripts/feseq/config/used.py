"""Which settings of a network and its training change anything beside the others."""

from collections.abc import Mapping
from typing import Any


def used_settings(network: Mapping[str, Any]) -> dict[str, Any]:
    """A network's settings; those that it does not use are null, as they change nothing."""
    unused: set[str] = set()
    if not network["times"]:
        unused |= {"time_buckets", "time_log_base"}
    if network["pooling"] != "weighted_sum":
        unused |= {"score", "scaled_scores", "item_interaction_layers", "attention_dim"}
    elif network["score"] == "din":
        unused.add("scaled_scores")
    return {key: None if key in unused else value for key, value in network.items()}


def used_training(training: Mapping[str, Any]) -> dict[str, Any]:
    """A training's settings; those that it does not use are null."""
    unused: set[str] = set()
    if training["start_from"]:
        unused.add("start_at_click_rate")
    return {key: None if key in unused else value for key, value in training.items()}
