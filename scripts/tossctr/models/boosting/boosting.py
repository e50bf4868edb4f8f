"""Gradient boosting as a family of models: its settings, and the needs of its jobs."""

from collections.abc import Mapping
from importlib.metadata import distributions
from typing import Any

from ..base import Family
from .tree_settings import BoostingConfig


class Boosting(Family):
    """Trees, by XGBoost."""

    def gpus(self, config: Mapping[str, Any], size: str, model: str) -> int:
        """One unless the device is the CPU, or this Python has XGBoost's build for CPUs alone.

        That build has another name on PyPI.
        """
        is_cpu_build = any(distributions(name="xgboost-cpu"))
        return int(config["runtime"]["device"] != "cpu" and not is_cpu_build)


FAMILY = Boosting(
    package=__package__,
    pattern="boosting",
    environment="boosting",
    blocks={"boosting": BoostingConfig},
    entry_points={"train": "train_trees", "load": "tree_file", "trials": "tree_trials"},
)
