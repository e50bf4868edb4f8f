"""The settings of a tuning: the config's `tuning` keys, and the check of what it searches.

A space has settings by their names, each with a list of choices or a range from low to high:

    {"model.pooling": ["mean", "target"], "model.dropout": {"low": 0.0, "high": 0.3}}
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from ..config.declared import (
    AS_WRITTEN,
    NOT_SEARCHED,
    SettingsBlock,
    mistakes,
    partial,
    settable,
)
from .model_kinds import blocks

_SEARCHED = {
    f"{block}.{key}"
    for block, keys in blocks().items()
    for key, field in settable(keys).items()
    if NOT_SEARCHED not in field.metadata
}
_Number = Annotated[float, AS_WRITTEN]


class Range(SettingsBlock):
    """Numbers from `low` to `high`."""

    low: _Number
    high: _Number
    log: bool = False
    step: Annotated[_Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_valid(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low is not below high")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log needs a low above 0 and no step")
        return self


def _mistakes(path: str, values: Any) -> Iterator[str]:
    block, _, key = path.partition(".")
    if path not in _SEARCHED:
        yield f"{path}: cannot be searched; config/README.md has the settings"
    elif isinstance(values, Mapping):
        lines = mistakes(Range, values, path)
        numbers = [values.get(name) for name in ("low", "high", "step")]
        yield from lines or _mistakes(path, [n for n in numbers if n is not None])
    elif not isinstance(values, list) or not values:
        yield f"{path}: {values!r} is neither a list of choices nor a range {{low, high}}"
    else:
        for value in values:
            yield from mistakes(partial(blocks()[block]), {key: value}, block)


def _checked(space: Mapping[str, Any]) -> Mapping[str, Any]:
    lines = [line for item in space.items() for line in _mistakes(*item)]
    if lines:
        raise ValueError("; ".join(dict.fromkeys(lines)))
    return space


class TuneConfig(SettingsBlock):
    """How to tune."""

    trials: Annotated[int, Field(ge=1)] = 20
    """trainings"""
    space: Annotated[Mapping[str, Any], AfterValidator(_checked)] = {}
    """settings of `model` and `train`, for FESeq, and of `boosting` by their names, such as
    `train.learning_rate`: a list of choices, or a range `{low, high}`, perhaps with `log: true` or
    a `step`. Settings that contradict one another are a pruned trial. A further config file adds
    to the space of config.yaml; to search fewer settings, take them out there"""


def space_of(space: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The settings of some blocks."""
    return {path: values for path, values in space.items() if path.split(".")[0] in names}


def takes_fractions(path: str, values: Mapping[str, Any]) -> bool:
    """True for a range of a setting whose values need not be integers."""
    return not any(_mistakes(path, [(values["low"] + values["high"]) / 2]))


def by_block(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"model.heads": 2} as {"model": {"heads": 2}, "train": {}, "boosting": {}}."""
    nested: dict[str, dict[str, Any]] = {block: {} for block in blocks()}
    for path, value in settings.items():
        block, key = path.split(".")
        nested[block][key] = value
    return nested
