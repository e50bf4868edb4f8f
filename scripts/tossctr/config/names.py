"""Names of variants, baselines, the blend and model files.

constant         a baseline
blend            the weighted mean of the models that submit
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from ..common.errors import UserError

Baseline = Literal["constant", "logistic_regression"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
BLEND = "blend"
# The click rate that probabilities assume: the data's, or one half.
Prior = Literal["observed", "balanced"]
# Folds of the train rows: a row's fitted features come from the other folds.
FOLDS = 5
# The end of the name of a variant's model.
VARIANT = r"(?:-[a-z][a-z0-9_]*)?"
# Settings of a model by block of the config.
Settings = Mapping[str, Mapping[str, Any]]
# With fewer clicks, noise decides which model is best.
FEW_CLICKS = 30
# Significance level: differences with a larger p-value are reported as not significant.
SIGNIFICANCE = 0.05
# At least this many rows and clicks are used to choose the best weights of a network.
MONITORED_ROWS, MONITORED_CLICKS = 200_000, 2_000
# The subfolder of a model's folder with the model refitted on all rows.
REFIT = "refit"
# The file of a trained model, of any kind.
MODEL_FILE = "model.safetensors"


def check_name(path: Path, name: str, wanted: str) -> None:
    """Raise UserError if a file's model or size is not the `wanted` one, such as full/len150.

    `name`, the file's own, and `wanted` are '' if unknown.
    """
    if name and wanted and name != wanted:
        raise UserError(
            f"{path}: was made for {name}, not for {wanted}; take another file. If the workflow "
            f"made it, delete it and run the same command again"
        )


def folder_name(path: Path) -> str:
    """Size and name of the model whose folder, or refit folder, holds `path`."""
    folder = path.absolute().parent
    return "/".join((folder.parent if folder.name == REFIT else folder).parts[-2:])


def name_of(path: Path) -> str:
    """The name of the model whose folder, or refit folder, holds `path`."""
    return folder_name(path).rpartition("/")[2]


def variant_of(model: str) -> str | None:
    """The variant in a model's name, if any."""
    return model.partition("-")[2] or None
