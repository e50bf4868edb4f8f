"""The settings of a tuning: the config's `tuning` keys, and the check of what it searches.

A space has settings by their names, each with a list of choices or a range from low to high:

    {"model.pooling": ["mean", "sum"], "model.dropout": {"low": 0.0, "high": 0.3}}
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Generic, Self, TypeVar, get_args

from pydantic import BaseModel, Field, create_model, model_validator

from ..common.errors import UserError, did_you_mean
from .boosting import BoostingKeys
from .declared import CLOSED, Declared, fields_of, list_of, type_of
from .mistakes import mistakes
from .model import ModelKeys
from .train import TrainKeys

_BLOCKS: dict[str, type[BaseModel]] = {
    "model": ModelKeys,
    "train": TrainKeys,
    "boosting": BoostingKeys,
}
# What trials are compared by, what belongs to one network, and what changes no result.
_NOT_SEARCHED = {
    *("train.monitor", "boosting.monitor", "train.start_from", "train.gpus", "train.nodes")
}
_Number = TypeVar("_Number", int, float)


class Range(BaseModel, Generic[_Number]):
    """Numbers from `low` to `high`."""

    model_config = CLOSED

    low: _Number
    high: _Number
    log: bool = False
    step: Annotated[_Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low is not below high")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log needs a low above 0 and no step")
        return self


class TuneConfig(BaseModel, Declared, frozen=True):
    """How to tune."""

    model_config = CLOSED

    trials: Annotated[int, Field(ge=1)] = 20
    """trainings"""
    space: Mapping[str, Any] = {}
    """settings of `model` and `train`, for FESeq, and of `boosting` by their names, such as
    `train.learning_rate`: a list of choices, or a range `{low, high}`, perhaps with `log: true` or
    a `step`. Settings that contradict one another are a pruned trial"""


def check_space(space: Mapping[str, Any]) -> None:
    """Raise one UserError that lists every mistake in a space."""
    if not space:
        raise UserError("tuning.space: has no setting of this model's family")
    if found := space_mistakes(space):
        raise UserError("\n".join(found))


def space_mistakes(space: Mapping[str, Any]) -> list[str]:
    """What is wrong with a space, one line each."""
    types = {
        f"{block}.{key}": type_of(field)
        for block, declared in _BLOCKS.items()
        for key, field in fields_of(declared).items()
    }
    found: list[str] = []
    fields: dict[str, Any] = {}
    for path, values in space.items():
        if path not in types or path in _NOT_SEARCHED:
            known = did_you_mean(path, types.keys() - _NOT_SEARCHED, "settings")
            found.append(f"tuning.space.{path}: cannot be searched; {known}")
        elif isinstance(values, Mapping) and get_args(types[path])[0] in (int, float):
            fields[path] = Range.__class_getitem__(types[path]), ...
        else:
            fields[path] = list_of(types[path]), ...
    declared = create_model("Space", __config__=CLOSED, **fields)
    return found + mistakes(declared, {path: space[path] for path in fields}, "tuning.space")


def space_of(space: Mapping[str, Any], blocks: Iterable[str]) -> dict[str, Any]:
    """The settings of some blocks."""
    return {path: values for path, values in space.items() if path.split(".")[0] in blocks}


def is_integer(path: str) -> bool:
    """True for a setting whose values are integers."""
    block, key = path.split(".")
    return fields_of(_BLOCKS[block])[key].annotation is int


def by_block(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"model.heads": 2} as {"model": {"heads": 2}, "train": {}, "boosting": {}}."""
    blocks: dict[str, dict[str, Any]] = {block: {} for block in _BLOCKS}
    for path, value in settings.items():
        block, key = path.split(".")
        blocks[block][key] = value
    return blocks
