"""The families of models: each is a folder of this package with four verbs, registered here.

    load          a model from its file; it then predicts
    train         a model from H5 files and a feature map
    importance    predictions of changed rows, by which importance is measured
    trials        trainings with other settings, in which `tune` searches

A family describes itself in the module `family.py` of its folder: an object FAMILY, which rules
ask what a job needs. That module imports no more than settings do; the verbs, each a function of
its name in one of the `verbs` modules, are imported when they are called. Rules and scripts know
names of models alone:

    len150           FESeq with the size's settings and histories of at most 150 events
    len150-paper     the same with the settings of the config's variant `paper` on top
    boosting         gradient boosting with the size's settings
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from .common.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from .config.columns import Columns
    from .dataset.feature_map import FeatureMap
    from .dataset.opening import Rows

# By name: what names of its models begin with, and its folder.
FAMILIES = {
    "feseq": (r"len[1-9]\d*", "train"),
    "boosting": (r"boosting", "boosting"),
}
VARIANT = r"(?:-[a-z][a-z0-9_]*)?"
MODEL_PATTERN = rf"(?:{'|'.join(begin for begin, _ in FAMILIES.values())}){VARIANT}"

# Settings of a model by block of the config.
Settings = Mapping[str, Mapping[str, Any]]


class Model(Protocol):
    """A trained model of any family, as `load` gives it."""

    @property
    def feature_map(self) -> "FeatureMap":
        """How its rows are encoded."""

    @property
    def simulated(self) -> bool:
        """True if its train rows are simulated."""

    @property
    def click_rate(self) -> float:
        """The share of clicks of its train rows."""

    @property
    def full_name(self) -> str:
        """Size and name, such as full/len150, '' if it was trained by hand."""

    def predict(
        self, rows: "Rows", *, blank_histories: bool = False, verbosity: int = 0
    ) -> "np.ndarray":
        """Logits float32 [rows], in the order of the rows; histories may be emptied."""


class Family:
    """What rules and scripts ask a family; its FAMILY is an object of a class derived from this."""

    # The conda environment of its jobs, but those that tune: envs/{environment}.yaml.
    environment: str
    # Its blocks of the config, each with the class of its settings.
    blocks: Mapping[str, Any]
    # The module of each verb.
    verbs: Mapping[str, str]
    # GPUs of a job that predicts.
    inference_gpus = 0

    def settings(self, config: Mapping[str, Any], size: str, model: str) -> Settings:
        """The settings of a model; raises UserError if the config has no such model."""
        raise NotImplementedError

    def mistakes(
        self, config: Mapping[str, Any], columns: "Columns", size: str, model: str
    ) -> Iterator[str]:
        """What keeps a model from being trained on a table of these columns, one line each."""
        self.settings(config, size, model)
        yield from ()

    def layout(
        self, config: Mapping[str, Any], size: str, model: str, own_environment: bool
    ) -> tuple[int, int]:
        """Machines that train a model, and the GPUs of each.

        `own_environment` is true if the job has another environment than this Python's.
        """
        return 1, 0

    def start_from(self, settings: Settings) -> str | None:
        """The file of another model that a training with these settings goes on from."""
        return None

    def plots(self, settings: Settings) -> list[str]:
        """Names of plots that not all models have; the rule `plot` draws each."""
        return []

    def verb(self, name: str) -> Any:
        """The function of that name."""
        return getattr(import_module(f"{__package__}.{self.verbs[name]}"), name)


@cache
def family(name: str) -> Family:
    """The family of that name."""
    return import_module(f"{__package__}.{FAMILIES[name][1]}.family").FAMILY


def families() -> list[Family]:
    """All that are registered."""
    return [family(name) for name in FAMILIES]


def family_of(model: str) -> Family:
    """The family of a model by its name; raises UserError if it is none."""
    return family(family_name(model))


def family_name(model: str) -> str:
    """The name of a model's family; raises UserError if it is none."""
    for name, (begin, _) in FAMILIES.items():
        if re.fullmatch(begin + VARIANT, model):
            return name
    hint = did_you_mean(model, ("boosting", "constant", "logistic_regression"), "others are")
    raise UserError(
        f"{model!r} is not the name of a model: len and the max_len, such as len150, or "
        f"boosting, and for a variant its name, such as len150-paper; {hint}"
    )


def is_model(name: str) -> bool:
    """True for the name of a model, not of a baseline or the blend."""
    return re.fullmatch(MODEL_PATTERN, name) is not None


def variant_of(model: str) -> str | None:
    """The variant in a model's name."""
    return model.partition("-")[2] or None
