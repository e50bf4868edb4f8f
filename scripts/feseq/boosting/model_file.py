"""The trained model of boosting and its file: XGBoost's trees, and how rows become features."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xgboost

from ..common.ahead import map_ahead
from ..common.progress import progress
from ..config.boosting import BoostingConfig
from ..config.runtime import Runtime
from ..dataset.encoding import FeatureEncoder
from ..dataset.feature_map import FeatureMap, check_same_kind
from ..dataset.opening import Rows, open_table
from ..predict.container import Content, read_model, save_model, unreadable
from .features import Features
from .matrix import finite

_FAMILY = "boosting"


@dataclass(frozen=True)
class BoostedModel:
    """What a model file holds, and the threads that it predicts with.

    A logit is the mean of those of all boosters. `features` are those of rows that were not trained
    on; `simulated` is true if the train rows are simulated; `click_rate` is their share of clicks;
    `full_name` is size and name, such as full/boosting, '' if it was trained by hand.
    """

    boosters: Sequence[xgboost.Booster]
    features: Features
    config: BoostingConfig
    simulated: bool
    click_rate: float
    full_name: str = ""
    threads: int = 1

    @property
    def feature_map(self) -> FeatureMap:
        """How its rows are encoded."""
        return self.features.feature_map

    def save(self, path: Path) -> None:
        """Write everything into one file; the tensors `boosters` are XGBoost's own UBJ."""
        own = {
            "boosters": {
                str(bag): np.frombuffer(booster.save_raw("ubj"), np.uint8)
                for bag, booster in enumerate(self.boosters)
            },
            "tables": dict(self.features.tables),
            "common": dict(self.features.common),
            "sets": list(self.features.sets),
        }
        settings = {"boosting": self.config.model_dump()}
        about = (self.feature_map, self.simulated, self.click_rate, self.full_name)
        save_model(path, _FAMILY, Content(settings, *about, own))

    def predict(
        self, rows: Rows, *, blank_histories: bool = False, verbosity: int = 0
    ) -> np.ndarray:
        """Logits float32 [rows], in the order of the rows; histories may be emptied."""
        table, features = open_table(rows), self.features
        check_same_kind(table, self.simulated)
        encoder = FeatureEncoder(self.feature_map, table)
        for booster in self.boosters:
            booster.set_param({"nthread": self.threads, "device": "cpu"})
        matrices = map_ahead(
            lambda block: finite(features.matrix(encoder, block, blank_histories=blank_histories)),
            features.blocks(table),
            self.threads,
        )
        logits = [np.empty(0, np.float32)]
        with progress("predicted", table.rows, verbosity=verbosity) as predicting:
            for matrix in matrices:
                of_bags = [
                    booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
                    for booster in self.boosters
                ]
                logits.append(np.mean(of_bags, axis=0, dtype=np.float32))
                predicting.advance(len(matrix))
        return np.concatenate(logits)


def load(
    path: Path, full_name: str = "", runtime: Runtime | None = None, threads: int = 1
) -> BoostedModel:
    """Read what `save` wrote; it predicts on the CPU.

    Raises UserError for anything else, and for another model.
    """
    read = read_model(path, _FAMILY, full_name)
    try:
        boosters = [xgboost.Booster() for _ in read.own["boosters"]]
        for bag, booster in enumerate(boosters):
            booster.load_model(bytearray(read.own["boosters"][str(bag)].tobytes()))
        config = BoostingConfig(**read.settings["boosting"])
        own = (read.own[name] for name in ("sets", "tables", "common"))
        features = Features(read.feature_map, *own)
    except (ValueError, TypeError, KeyError, xgboost.core.XGBoostError) as error:
        raise unreadable(path, error) from None
    about = (read.simulated, read.click_rate, read.full_name)
    return BoostedModel(boosters, features, config, *about, threads)
