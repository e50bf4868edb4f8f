"""The settings of a tuning: the config's `tuning` keys, and the check of what it searches.

A space has the settings `model.<key>` and `train.<key>`, which FESeq takes, and `boosting.<key>`,
each with a list of choices, or with a mapping: `low` and `high`, integers or not, and perhaps `log`
or `step`.

    {"model.pooling": ["mean", "sum"], "model.dropout": {"low": 0.0, "high": 0.3}}
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, Field

from ..common.errors import UserError, nearest
from .boosting import BoostingKeys
from .declared import CLOSED, Declared, Seed, fields_of
from .mistakes import hint, mistakes, unknown_key
from .model import ModelKeys
from .train import TrainKeys

Space = Mapping[str, list[Any] | Mapping[str, Any]]

_RANGE_KEYS = ("low", "high", "log", "step")
_NOT_SEARCHED = {
    "model.max_len": "each max_len has a tuning of its own",
    "train.monitor": "it is the figure that trials are compared by",
    "train.start_from": "a search trains from the start",
    "train.gpus": "it changes no result",
    "train.nodes": "it changes no result",
    "boosting.monitor": "it is the figure that trials are compared by",
}
_BLOCKS: dict[str, type[BaseModel]] = {
    "model": ModelKeys,
    "train": TrainKeys,
    "boosting": BoostingKeys,
}
_SEARCHED = [
    path
    for block, keys in _BLOCKS.items()
    for key in fields_of(keys)
    if (path := f"{block}.{key}") not in _NOT_SEARCHED
]


class TuneConfig(BaseModel, Declared, frozen=True):
    """How to tune."""

    model_config = CLOSED

    trials: Annotated[int, Field(ge=1)] = 20
    """trainings"""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """trials at a time, in processes that share the step's threads, and on a GPU the card. With
    one, the same data and settings give the same trials; with several, their order may differ from
    run to run"""
    seed: Seed = 42
    """seed of the draws"""
    startup_trials: Annotated[int, Field(ge=1)] = 8
    """trials drawn at random before the search learns from those before"""
    space: Mapping[Any, Any]
    """settings of `model` and `train`, for FESeq, and of `boosting` by their names, such as
    `train.learning_rate`: a list of choices, or a range `{low, high}` of integers or numbers,
    perhaps with `log: true` or a `step`. A size takes those that its networks can have: others are
    counted as pruned"""


def check_space(space: Space) -> None:
    """Raise one UserError that lists every mistake in a space."""
    if found := list(space_mistakes(space)):
        raise UserError("\n".join(found))


def space_of(space: Space, blocks: Iterable[str]) -> dict[str, Any]:
    """The settings of some blocks."""
    return {path: values for path, values in space.items() if str(path).split(".")[0] in blocks}


def space_mistakes(space: Space) -> Iterator[str]:
    """What is wrong with a space whatever the other settings are, one line each."""
    if not space:
        yield (
            "tuning.space: names no setting of this model; write one as model.dropout: {low: 0.0, "
            "high: 0.3} for FESeq, boosting.max_depth: {low: 3, high: 9} for boosting"
        )
    for path, values in space.items():
        place = f"tuning.space.{path}"
        why = next((why for name, why in _NOT_SEARCHED.items() if _leads_into(name, path)), None)
        if why:
            yield f"{place} cannot be searched: {why}; take it out"
        elif path not in _SEARCHED:
            yield f"tuning.space: {_unknown(str(path))}"
        elif isinstance(values, Mapping):
            yield from (f"{place}: {mistake}" for mistake in _range_mistakes(path, values))
        elif isinstance(values, list):
            yield from (f"{place}: {mistake}" for mistake in _choice_mistakes(path, values))
        else:
            yield f"{place}: {values!r} is no list of choices and no mapping with low and high"


def is_integer_range(values: Mapping[str, Any]) -> bool:
    """True if a range is one of integers: its ends are, and its step."""
    return all(isinstance(values[key], int) for key in ("low", "high", "step") if key in values)


def by_block(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"model.heads": 2} as {"model": {"heads": 2}, "train": {}, "boosting": {}}."""
    blocks: dict[str, dict[str, Any]] = {block: {} for block in _BLOCKS}
    for path, value in settings.items():
        block, key = path.split(".")
        blocks[block][key] = value
    return blocks


def _leads_into(name: str, path: Any) -> bool:
    return path == name or str(path).startswith(f"{name}.")


def _unknown(path: str) -> str:
    """Near by the key alone, whose block may be missing or the other one."""
    keys = [name.split(".")[1] for name in _SEARCHED]
    if near := nearest(path.split(".")[-1], keys):
        return f"unknown setting {path!r}; did you mean {_SEARCHED[keys.index(near)]!r}?"
    return f"unknown setting {path!r}; settings: {', '.join(_SEARCHED)}"


def _range_mistakes(path: str, values: Mapping[str, Any]) -> Iterator[str]:
    for key in values:
        if key not in _RANGE_KEYS:
            yield unknown_key(key, _RANGE_KEYS)
    missing = [key for key in ("low", "high") if key not in values]
    numbers = [values[key] for key in ("low", "high", "step") if key in values]
    wrong = [value for value in numbers if not _is_number(value)]
    if missing:
        yield f"a range misses {' and '.join(map(repr, missing))}"
    elif wrong:
        yield f"{wrong[0]!r} is no finite number{hint(wrong[0])}"
    elif not isinstance(values.get("log", False), bool):
        yield f"log: {values['log']!r} is not true or false"
    else:
        yield from _number_mistakes(values)
        # An end is no integer where the values of its range are none.
        kind = int if is_integer_range(values) else float
        yield from _value_mistakes(path, [kind(values["low"]), kind(values["high"])])


def _number_mistakes(values: Mapping[str, Any]) -> Iterator[str]:
    low, high, step = values["low"], values["high"], values.get("step")
    if low >= high:
        yield f"low {low} is not below high {high}"
    elif values.get("log") and step is not None:
        yield "log and step exclude each other"
    elif values.get("log") and low <= 0:
        yield f"log needs a low above 0, and it is {low}"
    elif step is not None and step <= 0:
        yield f"step {step} is not above 0"
    # As decimals: 0.3 is three steps of 0.1.
    elif step is not None and (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)):
        yield f"steps of {step} from low {low} do not reach high {high}"


def _choice_mistakes(path: str, values: list[Any]) -> Iterator[str]:
    if not values:
        yield "no choices"
    texts = [repr(value) for value in values]
    for text in dict.fromkeys(text for text in texts if texts.count(text) > 1):
        yield f"{text} stands there twice"
    yield from _value_mistakes(path, values)


def _value_mistakes(path: str, values: list[Any]) -> Iterator[str]:
    block, key = path.split(".")
    for value in values:
        for line in mistakes(_BLOCKS[block], {key: value}):
            yield line.removeprefix(f"{key}: ")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
