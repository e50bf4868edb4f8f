"""Names of models, of two families, and of what stands beside them.

len150           FESeq with the size's settings and histories of at most 150 events
len150-paper     the same with the settings of the config's variant `paper` on top
boosting         gradient boosting with the size's settings
boosting-deep    the same with the settings of the config's variant `deep` on top
constant         a baseline
ensemble         the models that submit together
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from ..common.errors import UserError, did_you_mean

_VARIANT = r"(?:-[a-z][a-z0-9_]*)?"
FESEQ_PATTERN = rf"len[1-9]\d*{_VARIANT}"
BOOSTING_PATTERN = rf"boosting{_VARIANT}"
Baseline = Literal["constant", "logistic_regression"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
ENSEMBLE = "ensemble"
# The folder inside a model's for the same model trained again on all rows.
REFIT = "refit"


def split_name(model: str) -> tuple[int | None, str | None]:
    """max_len, None for boosting, and variant of a model's name; raises UserError if it is none."""
    if not (is_feseq(model) or is_boosting(model)):
        hint = did_you_mean(model, ("boosting", *BASELINES), "others are")
        raise UserError(
            f"{model!r} is not the name of a model: len and the max_len, such as len150, or "
            f"boosting, and for a variant its name, such as len150-paper; {hint}"
        )
    family, _, variant = model.partition("-")
    length = int(family.removeprefix("len")) if is_feseq(model) else None
    return length, variant or None


def is_feseq(name: str) -> bool:
    """True for the name of a FESeq model."""
    return re.fullmatch(FESEQ_PATTERN, name) is not None


def is_boosting(name: str) -> bool:
    """True for the name of a model of gradient boosting."""
    return re.fullmatch(BOOSTING_PATTERN, name) is not None


def is_model(name: str) -> bool:
    """True for the name of a model of either family, not of a baseline or the ensemble."""
    return is_feseq(name) or is_boosting(name)


def model_file(name: str) -> str:
    """The name of the file that a model is kept in."""
    return "model.ubj" if is_boosting(name) else "model.safetensors"


def check_name(path: Path, found: str, wanted: str) -> None:
    """Raise UserError if a file was not made for the `wanted` model or size, such as full/len150.

    Either may be '', if it is not known.
    """
    if found and wanted and found != wanted:
        raise UserError(
            f"{path}: was made for {found}, and lies in the place of {wanted}; delete it and run "
            f"the same command again, it is rebuilt"
        )


def folder_name(path: Path) -> str:
    """Size and name of the model in whose folder `path` lies."""
    return "/".join(path.absolute().parts[-3:-1])


def name_of(path: Path) -> str:
    """The name of the model in whose folder `path` lies, or in that of its refit."""
    folder = path.absolute().parent
    return folder.parent.name if folder.name == REFIT else folder.name


def share_of(weights: Mapping[str, float], path: Path) -> float:
    """The weight of the model in whose folder `path` lies; raises UserError if it has none."""
    name = name_of(path)
    if name not in weights:
        raise UserError(f"{path}: no weight for {name!r}, only for {', '.join(weights)}")
    return weights[name]
