"""A trained boosting model: XGBoost's trees, and the computation of their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import xgboost

from ...datasets.table import Block
from ...features.encoding import FeatureEncoder
from ..trained import Model, ModelInfo
from .features import FeatureBuilder


@dataclass(frozen=True)
class BoostedModel(Model):
    """A trained boosting model; predicts the mean logit of its tree ensembles, on the CPU."""

    kind = "boosting"

    boosters: Sequence[xgboost.Booster]
    features: FeatureBuilder

    def content(self) -> dict[str, Any]:
        """What the model file stores, by name; tree ensembles are XGBoost's UBJ files as bytes."""
        features = self.features
        return {
            "boosters": {str(bag): booster_bytes(each) for bag, each in enumerate(self.boosters)},
            "tables": {each.name: features.tables[each.name] for each in features.click_rates},
            "common": dict(features.top_codes),
            "sets": list(features.sets),
            "few": list(features.few_columns),
        }

    @classmethod
    def from_content(cls, about: ModelInfo, content: Mapping[str, Any], threads: int) -> Self:
        stored = (content[name] for name in ("sets", "few", "tables", "common"))
        features = FeatureBuilder(about.feature_map, *stored)
        boosters = [read_booster(each) for each in content["boosters"].values()]
        for booster in boosters:
            # One thread each: blocks are predicted in parallel.
            booster.set_param({"nthread": 1, "device": "cpu"})
        return cls(about, boosters, features, threads=threads)

    def logits(self, encoder: FeatureEncoder, block: Block) -> np.ndarray:
        rows = self.features.matrix(encoder, block)
        options = {"predict_type": "margin", "validate_features": False}
        logits = [booster.inplace_predict(rows, **options) for booster in self.boosters]
        return np.stack(logits).mean(axis=0, dtype=np.float32)


def booster_bytes(booster: xgboost.Booster) -> np.ndarray:
    """The trees of a booster as bytes, uint8, in XGBoost's binary format UBJ."""
    return np.frombuffer(booster.save_raw("ubj"), np.uint8)


def read_booster(content: np.ndarray) -> xgboost.Booster:
    """The booster that `booster_bytes` stored."""
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    return booster


load = BoostedModel.load
