"""Gradient boosting as a family of models: its settings, and the needs of its jobs."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any

from ...family.base import Family
from .settings import BoostingConfig


class Boosting(Family):
    """Trees, by XGBoost."""

    def gpus(self, config: Mapping[str, Any], size: str, model: str, has_conda: bool) -> int:
        """One if boosting may train on it.

        XGBoost's build for CPUs has another name on PyPI. A job's own environment may have either
        build.
        """
        return int(config["runtime"]["device"] != "cpu" and (has_conda or _may_use_gpus()))


def _may_use_gpus() -> bool:
    """Whether this Python's XGBoost is the build for GPUs, without importing it."""
    try:
        distribution("xgboost-cpu")
    except PackageNotFoundError:
        return True
    return False


FAMILY = Boosting(
    package=__package__,
    pattern="boosting",
    environment="boosting",
    blocks={"boosting": BoostingConfig},
    entry_points={"train": "train", "load": "model_file", "trials": "trials"},
)

if TYPE_CHECKING:
    # The entry points, for the linter's eyes: a job imports them when it runs.
    from . import model_file, train, trials  # noqa: F401
