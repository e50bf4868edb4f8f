"""The model kind boosting: its settings, and the GPUs of its jobs."""

from collections.abc import Mapping
from importlib.metadata import distributions
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from ...config.declared import AS_WRITTEN, NOT_SEARCHED, SettingsBlock
from ..base import ModelKind

FeatureSet = Literal["histories", "similarities", "clicks", "ids"]
# In the order in which sets are tried: the first relies least on later rows being like train rows.
FEATURE_SETS: tuple[str, ...] = get_args(FeatureSet)


class BoostingConfig(SettingsBlock):
    """Gradient boosting of trees, by XGBoost."""

    trees: Annotated[int, Field(ge=1, le=100_000)] = 2000
    """maximum number of trees"""
    learning_rate: Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = 0.05
    """shrinkage of each tree"""
    max_depth: Annotated[int, Field(ge=1, le=16)] = 6
    """maximum depth of a tree"""
    min_child_weight: Literal["auto"] | Annotated[float, Field(ge=0), AS_WRITTEN] = "auto"
    """minimum sum of p (1 - p) over the rows of a leaf, with the prediction p. `auto`: 20 or less
    (docs/boosting.md)"""
    l2: Annotated[float, Field(ge=0), AS_WRITTEN] = 1
    """L2 penalty of the leaf values"""
    colsample: Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = 0.5
    """share of the features drawn for each tree"""
    features: Literal["auto"] | list[FeatureSet] = "auto"
    """sets of features (docs/boosting.md). `auto`: the sets that lower the validation logloss"""
    negative_sampling_rate: Literal["auto"] | Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = (
        "auto"
    )
    """share of the negatives to train on; see `train.negative_sampling_rate`"""
    bags: Annotated[int, Field(ge=1, le=100), NOT_SEARCHED] = 3
    """number of tree ensembles whose logits are averaged"""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42
    """seed of the draws of rows and features"""


class BoostingKind(ModelKind):
    """The model kind boosting."""

    def gpus(self, config: Mapping[str, Any], size: str, model: str) -> int:
        """The number of GPUs that train the model: 0 with the package `xgboost-cpu`, else 1."""
        return int(not any(distributions(name="xgboost-cpu")))


KIND = BoostingKind(
    package=__package__,
    pattern="boosting",
    environment="boosting",
    blocks={"boosting": BoostingConfig},
    entry_points={"train": "train_trees", "load": "tree_file", "trial_runner": "train_trees"},
)
