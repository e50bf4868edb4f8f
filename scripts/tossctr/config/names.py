"""Names of variants, baselines, the blend and model files; constants that stages share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from ..common.errors import UserError

Baseline = Literal["constant", "logistic_regression"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
# The weighted mean of the submission models' logits.
BLEND = "blend"
# The click rate that probabilities assume: of the data, or 0.5.
Prior = Literal["observed", "balanced"]
# The number of folds of the train rows: features of a row are fitted on the other folds.
FOLDS = 5
# Pattern of the optional variant at the end of a model's name.
VARIANT = r"(?:-[a-z][a-z0-9_]*)?"
# A model's settings, by config block.
Settings = Mapping[str, Mapping[str, Any]]
# With fewer clicks, metrics are too noisy to choose the best model.
FEW_CLICKS = 30
# Significance level: differences with a larger p-value are reported as not significant.
SIGNIFICANCE = 0.05
# The minimum rows and clicks of the evaluations that choose a network's best weights.
MONITORED_ROWS, MONITORED_CLICKS = 200_000, 2_000
# The subfolder for the model refitted on all rows, in a model's folder.
REFIT = "refit"
# The file of a trained model of any kind.
MODEL_FILE = "model.safetensors"


def require_made_for(path: Path, name: str, expected: str) -> None:
    """Raise UserError if the file `path` was made for the size or model `name`, not for `expected`.

    Names are like full (a size) or full/len150 (a model). No error if either is '' (unknown).
    """
    if name and expected and name != expected:
        raise UserError(
            f"{path}: was made for {name}, not for {expected}; give another file. If the "
            f"workflow made this file, delete it and run the same command again"
        )


def model_of_file(path: Path) -> str:
    """The model, such as full/len150, whose folder (or subfolder `refit`) has the file `path`."""
    folder = path.absolute().parent
    return "/".join((folder.parent if folder.name == REFIT else folder).parts[-2:])


def variant_of(model: str) -> str | None:
    """The variant in a model's name: `din` for len150-din, None for len150."""
    return model.partition("-")[2] or None
