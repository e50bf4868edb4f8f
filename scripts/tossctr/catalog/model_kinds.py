"""The families of models, each a folder of `tossctr.models`, which is registered here.

Rules and scripts know names of models alone:

    len150           FESeq with the size's settings and histories of at most 150 events
    len150-briefing  the same with the settings of the config's variant `briefing` on top
    boosting         gradient boosting with the size's settings
"""

import re
from functools import cache
from typing import Any

from ..common.errors import UserError
from ..config.names import VARIANT
from ..models.base import Family
from ..models.boosting.boosting import FAMILY as BOOSTING
from ..models.feseq.feseq import FAMILY as FESEQ

FAMILIES = {family.name: family for family in (FESEQ, BOOSTING)}
MODEL_PATTERN = rf"(?:{'|'.join(each.pattern for each in FAMILIES.values())}){VARIANT}"


def family_of(model: str) -> Family:
    """The family of a model by its name; raises UserError if no family has such names."""
    for family in FAMILIES.values():
        if re.fullmatch(family.pattern + VARIANT, model):
            return family
    plain = [each.pattern for each in FAMILIES.values() if each.pattern.isidentifier()]
    raise UserError(
        f"{model!r} is not the name of a model: len and the max_len, such as len150, or "
        f"{' or '.join(plain)}, and for a variant its name, such as len150-briefing"
    )


def is_model(name: str) -> bool:
    """True for the name of a model, not of a baseline or the blend."""
    return re.fullmatch(MODEL_PATTERN, name) is not None


@cache
def blocks() -> dict[str, Any]:
    """The settings of all families by block, for the config's top, its sizes and its variants."""
    return {name: keys for family in FAMILIES.values() for name, keys in family.blocks.items()}
