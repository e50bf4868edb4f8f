"""The trained model of boosting and its file: XGBoost's own UBJ, with a checksum behind it.

XGBoost reads the file as it is, without the workflow. Its attribute `feseq` holds, as JSON, how
rows become features and what the model was made from.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from ..common.errors import UserError, first_line
from ..common.files import written_beside
from ..config.boosting import BoostingConfig
from ..config.names import check_name
from ..dataset.feature_map import FeatureMap
from .features import Features

_FORMAT, _VERSION = "feseq-boosting", 2
_ATTRIBUTE = "feseq"
_CHECKSUM_BYTES = 32


@dataclass(frozen=True)
class BoostedModel:
    """What a model file holds.

    `features` are those of rows that were not trained on; `simulated` is true if the train rows
    are simulated; `click_rate` is their share of clicks; `full_name` is size and name, such as
    full/boosting, '' if it was trained by hand.
    """

    booster: xgboost.Booster
    features: Features
    simulated: bool
    click_rate: float
    full_name: str = ""

    def save(self, path: Path) -> None:
        """Write everything into one file."""
        about = {
            "format": _FORMAT,
            "version": _VERSION,
            "simulated": self.simulated,
            "click_rate": self.click_rate,
            "full_name": self.full_name,
            **_plain(self.features),
        }
        self.booster.set_attr(**{_ATTRIBUTE: json.dumps(about)})
        content = bytes(self.booster.save_raw("ubj"))
        with written_beside(path) as temporary, open(temporary, "wb") as file:
            file.write(content + hashlib.sha256(content).digest())
            # The rename must not reach the disk before the bytes.
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def load(cls, path: Path, full_name: str = "") -> "BoostedModel":
        """Read what `save` wrote; raises UserError for anything else, and for another model."""
        try:
            written = path.read_bytes()
            content, checksum = written[:-_CHECKSUM_BYTES], written[-_CHECKSUM_BYTES:]
            # XGBoost trusts what it reads.
            if hashlib.sha256(content).digest() != checksum:
                raise ValueError("wrong checksum")
            booster = xgboost.Booster()
            booster.load_model(bytearray(content))
            about = json.loads(booster.attr(_ATTRIBUTE) or "{}")
            found = about.get("format"), about.get("version")
            if found != (_FORMAT, _VERSION):
                raise ValueError(f"format {found}, not {(_FORMAT, _VERSION)}")
            names = ("simulated", "click_rate", "full_name")
            model = cls(booster, _features(about), *(about[name] for name in names))
        except (ValueError, TypeError, KeyError, xgboost.core.XGBoostError) as error:
            raise UserError(
                f"{path}: not a complete model file of this workflow ({first_line(error)}); "
                f"take another file or, where the workflow made it, delete it and run the same "
                f"command again, or `snakemake --cores 4 {path}`: the model is retrained"
            ) from None
        check_name(path, model.full_name, full_name)
        return model

    def marks(self) -> dict[str, str]:
        """What each file of predictions says of its model."""
        return {"click_rate": repr(self.click_rate), "full_name": self.full_name}


def _plain(features: Features) -> dict[str, Any]:
    tables = {
        name: base64.b64encode(table.astype("<f4").tobytes()).decode()
        for name, table in features.tables.items()
    }
    return {
        "feature_map": features.feature_map.to_dict(),
        "config": features.config.model_dump(),
        "tables": tables,
        "common": dict(features.common),
    }


def _features(plain: Mapping[str, Any]) -> Features:
    """The opposite of `_plain`."""
    tables = {
        name: np.frombuffer(base64.b64decode(text), "<f4")[None]
        for name, text in plain["tables"].items()
    }
    feature_map = FeatureMap.from_dict(plain["feature_map"])
    return Features(feature_map, BoostingConfig(**plain["config"]), tables, plain["common"])
