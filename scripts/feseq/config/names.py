"""Names of models.

len150           FESeq with the size's settings and histories of at most 150 events
len150-paper     the same with the settings of the config's variant `paper` on top
boosting         a baseline
ensemble         the models that submit together
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from ..common.errors import UserError, did_you_mean

MODEL_PATTERN = r"len[1-9]\d*(?:-[a-z][a-z0-9_]*)?"
Baseline = Literal["constant", "logistic_regression", "boosting", "boosting_without_histories"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
ENSEMBLE = "ensemble"


def split_name(model: str) -> tuple[int, str | None]:
    """max_len and variant of a model's name; raises UserError if it is none."""
    if not re.fullmatch(MODEL_PATTERN, model):
        raise UserError(
            f"{model!r} is not the name of a model: len and the max_len, such as len150, and for a "
            f"variant its name, such as len150-paper; {did_you_mean(model, BASELINES, 'baselines')}"
        )
    length, _, variant = model.removeprefix("len").partition("-")
    return int(length), variant or None


def is_feseq(name: str) -> bool:
    """True for the name of a FESeq model, not of a baseline or the ensemble."""
    return re.fullmatch(MODEL_PATTERN, name) is not None


def share_of(weights: Mapping[str, float], path: Path) -> float:
    """The weight of the model in whose folder `path` lies; raises UserError if it has none."""
    name = path.absolute().parent.name
    if name not in weights:
        raise UserError(f"{path}: no weight for {name!r}, only for {', '.join(weights)}")
    return weights[name]
