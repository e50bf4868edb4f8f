"""Gradient boosting as a family of models: its settings, and what its jobs need."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from ..common.errors import UserError
from ..config.boosting import BoostingConfig
from ..config.catalog import check_variant, size_block, size_settings
from ..families import Family, Settings, variant_of


class Boosting(Family):
    """Trees, by XGBoost."""

    environment = "boosting"
    blocks = {"boosting": BoostingConfig}  # noqa: RUF012
    verbs = {  # noqa: RUF012
        "load": "boosting.model_file",
        "train": "boosting.training",
        "importance": "evaluate.importance",
        "trials": "boosting.trials",
    }

    def settings(self, config: Mapping[str, Any], size: str, model: str) -> Settings:
        """Those of the trees; a variant must change some."""
        size_block(config, size)
        check_variant(config, model)
        variant = variant_of(model)
        if variant and not config["variants"][variant].get("boosting"):
            raise UserError(
                f"{model}: variants.{variant} has no settings of boosting, so this would be the "
                f"same model as boosting; give it a block boosting, or use that"
            )
        return {"boosting": size_settings(config, size, variant)["boosting"]}

    def layout(
        self, config: Mapping[str, Any], size: str, model: str, own_environment: bool
    ) -> tuple[int, int]:
        """One machine, with a GPU if boosting may train on one.

        XGBoost's build for CPUs has a name of its own on PyPI. An environment of the job's own may
        hold either build.
        """
        return 1, int(config["runtime"]["device"] != "cpu" and (own_environment or _may_use_gpus()))


def _may_use_gpus() -> bool:
    """Whether this Python's XGBoost is the build for GPUs, without importing it."""
    try:
        distribution("xgboost-cpu")
    except PackageNotFoundError:
        return True
    return False


FAMILY = Boosting()
