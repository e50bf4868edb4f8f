"""The families of models: each is a folder of this package, registered here.

A family describes itself in the module `family.py` of its folder: an object FAMILY, which is
a `family.base.Family`. Rules and scripts know names of models alone:

    len150           FESeq with the size's settings and histories of at most 150 events
    len150-paper     the same with the settings of the config's variant `paper` on top
    boosting         gradient boosting with the size's settings
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .common.errors import UserError

if TYPE_CHECKING:
    from .family.base import Family

# By name: what names of its models begin with, and its folder.
FAMILIES = {
    "feseq": (r"len[1-9]\d*", "train"),
    "boosting": (r"boosting", "boosting"),
}
VARIANT = r"(?:-[a-z][a-z0-9_]*)?"
MODEL_PATTERN = rf"(?:{'|'.join(begin for begin, _ in FAMILIES.values())}){VARIANT}"

# Settings of a model by block of the config.
Settings = Mapping[str, Mapping[str, Any]]


@cache
def family(name: str) -> "Family":
    """The family of that name."""
    return import_module(f"{__package__}.{FAMILIES[name][1]}.family").FAMILY


def families() -> list["Family"]:
    """All that are registered."""
    return [family(name) for name in FAMILIES]


def family_of(model: str) -> "Family":
    """The family of a model by its name; raises UserError if it is none."""
    return family(family_name(model))


def family_name(model: str) -> str:
    """The name of a model's family; raises UserError if it is none."""
    for name, (begin, _) in FAMILIES.items():
        if re.fullmatch(begin + VARIANT, model):
            return name
    plain = [begin for begin, _ in FAMILIES.values() if begin.isidentifier()]
    raise UserError(
        f"{model!r} is not the name of a model: len and the max_len, such as len150, or "
        f"{' or '.join(plain)}, and for a variant its name, such as len150-paper"
    )


def is_model(name: str) -> bool:
    """True for the name of a model, not of a baseline or the blend."""
    return re.fullmatch(MODEL_PATTERN, name) is not None


def variant_of(model: str) -> str | None:
    """The variant in a model's name."""
    return model.partition("-")[2] or None
