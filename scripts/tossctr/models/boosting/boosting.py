"""Gradient boosting as a kind of model: its settings, and the needs of its jobs."""

from collections.abc import Mapping
from importlib.metadata import distributions
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from ...config.declared import AS_WRITTEN, NOT_SEARCHED, SettingsBlock
from ..base import ModelKind

FeatureSet = Literal["histories", "similarities", "clicks", "ids"]
# From the surest to the one that needs most of the later rows to be like the train rows.
FEATURE_SETS: tuple[str, ...] = get_args(FeatureSet)


class BoostingConfig(SettingsBlock):
    """Gradient boosting of trees, by XGBoost."""

    trees: Annotated[int, Field(ge=1, le=100_000)] = 2000
    """trees at most"""
    learning_rate: Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = 0.05
    """share of each tree in the sum"""
    max_depth: Annotated[int, Field(ge=1, le=16)] = 6
    """splits between a tree's root and a leaf, at most"""
    min_child_weight: Literal["auto"] | Annotated[float, Field(ge=0), AS_WRITTEN] = "auto"
    """least sum of p (1 - p) over the rows of a leaf. `auto`: 20, or less where clicks are few, or
    where that lowers the logloss of held-out train rows (docs/boosting.md)"""
    l2: Annotated[float, Field(ge=0), AS_WRITTEN] = 1
    """weight of the squared leaves in the loss"""
    colsample: Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = 0.5
    """share of the features drawn for each tree"""
    features: Literal["auto"] | list[FeatureSet] = "auto"
    """sets of features beside numerics, categories of few values and the histories' lengths, which
    are always there. `auto`: those that surely lower the logloss of held-out rows
    (docs/boosting.md)"""
    negative_sampling_rate: Literal["auto"] | Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = (
        "auto"
    )
    """share of the negatives that trees are grown on, drawn at random; probabilities are those of
    all rows. `auto`: as that of `train`"""
    bags: Annotated[int, Field(ge=1, le=100), NOT_SEARCHED] = 3
    """ensembles of trees, each with a seed and a draw of negatives of its own; their logits are
    averaged"""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42
    """seed of rows and features drawn"""


class Boosting(ModelKind):
    """Trees, by XGBoost."""

    def gpus(self, config: Mapping[str, Any], size: str, model: str) -> int:
        """One unless the device is the CPU, or this Python has XGBoost's build for CPUs alone.

        That build has another name on PyPI.
        """
        is_cpu_build = any(distributions(name="xgboost-cpu"))
        return int(config["runtime"]["device"] != "cpu" and not is_cpu_build)


KIND = Boosting(
    package=__package__,
    pattern="boosting",
    environment="boosting",
    blocks={"boosting": BoostingConfig},
    entry_points={"train": "train_trees", "load": "tree_file", "trials": "train_trees"},
)
