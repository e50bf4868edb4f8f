"""What a tuning searches: names and values of settings, checked before anything runs.

A space has the settings `model.<key>` and `train.<key>`, each with a list of choices, or with a
mapping: `low` and `high`, integers or not, and perhaps `log` or `step`.

    {"model.pooling": ["mean", "sum"], "model.dropout": {"low": 0.0, "high": 0.3}}
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..common.errors import UserError

Space = Mapping[str, list[Any] | Mapping[str, Any]]

_RANGE_KEYS = ("low", "high", "log", "step")
_NOT_SEARCHED = {
    "model.max_len": "each max_len has a tuning of its own",
    "train.monitor": "it is the figure that trials are compared by",
    "train.gpus": "it changes no result",
    "train.nodes": "it changes no result",
}


@dataclass(frozen=True)
class TuneConfig:
    """How to tune; the names and meaning of the config file's `tuning` keys."""

    trials: int
    workers: int
    seed: int
    startup_trials: int
    space: Space


def check_space(
    space: Any, model_settings: Mapping[str, Any], train_settings: Mapping[str, Any]
) -> None:
    """Raise one UserError that lists every mistake in a space.

    The settings are those of one model, with all keys that there are. Whether a value is allowed
    is left to the schema of the config, and to the network: see `named_values`.
    """
    mistakes = list(_mistakes(space, model_settings, train_settings))
    if mistakes:
        raise UserError("tuning.space:\n" + "\n".join(f"  - {mistake}" for mistake in mistakes))


def named_values(space: Space) -> Iterator[tuple[str, Any]]:
    """Setting and value, for each choice and for both ends of each range.

    An end is no integer where the values of its range are none.
    """
    for path, values in space.items():
        if isinstance(values, Mapping):
            number = int if is_integer_range(values) else float
            yield from ((path, number(values[end])) for end in ("low", "high"))
        else:
            yield from ((path, value) for value in values)


def is_integer_range(values: Mapping[str, Any]) -> bool:
    """True if a range is one of integers: its ends are, and its step."""
    return all(isinstance(values[key], int) for key in ("low", "high", "step") if key in values)


def by_block(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"model.heads": 2} as {"model": {"heads": 2}, "train": {}}."""
    blocks: dict[str, dict[str, Any]] = {"model": {}, "train": {}}
    for path, value in settings.items():
        block, key = path.split(".")
        blocks[block][key] = value
    return blocks


def _mistakes(
    space: Any, model_settings: Mapping[str, Any], train_settings: Mapping[str, Any]
) -> Iterator[str]:
    if not isinstance(space, Mapping) or not space:
        yield f"{space!r} names no setting; write one as model.dropout: {{low: 0.0, high: 0.3}}"
        return
    known = {f"model.{key}": value for key, value in model_settings.items()}
    known |= {f"train.{key}": value for key, value in train_settings.items()}
    for path, values in space.items():
        why = next((why for name, why in _NOT_SEARCHED.items() if _leads_into(name, path)), None)
        if why:
            yield f"{path} cannot be searched: {why}; take it out"
        elif path not in known:
            yield _unknown(str(path), [name for name in known if name not in _NOT_SEARCHED])
        elif isinstance(values, Mapping):
            yield from (f"{path}: {mistake}" for mistake in _of_range(values, known[path]))
        elif isinstance(values, list):
            yield from (f"{path}: {mistake}" for mistake in _of_choices(values, known[path]))
        else:
            yield f"{path}: {values!r} is neither a list of choices nor a mapping with low and high"


def _leads_into(name: str, path: Any) -> bool:
    return path == name or str(path).startswith(f"{name}.")


def _unknown(path: str, known: list[str]) -> str:
    """Near by the key alone, whose block may be missing or the other one."""
    names = {name.split(".")[1]: name for name in known}
    near = difflib.get_close_matches(path.split(".")[-1], names, n=1)
    cure = f"did you mean {names[near[0]]!r}?" if near else f"settings: {', '.join(known)}"
    return f"unknown setting {path!r}; {cure}"


def _of_range(values: Mapping[str, Any], now: Any) -> Iterator[str]:
    """Mistakes in a range for a setting that is `now` in the config."""
    for key in values:
        if key not in _RANGE_KEYS:
            near = difflib.get_close_matches(str(key), _RANGE_KEYS, n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"keys here: {', '.join(_RANGE_KEYS)}"
            yield f"unknown key {key!r}; {cure}"
    if isinstance(now, str | bool | list | tuple):
        yield f"it is no number ({now!r} in the config): give a list of choices"
        return
    missing = [key for key in ("low", "high") if key not in values]
    if missing:
        yield f"a range misses {' and '.join(map(repr, missing))}"
        return
    numbers = [values[key] for key in ("low", "high", "step") if key in values]
    wrong = [value for value in numbers if not _is_number(value)]
    if wrong:
        yield f"{wrong[0]!r} is no finite number{_hint(wrong[0])}"
        return
    if not isinstance(values.get("log", False), bool):
        yield f"log: {values['log']!r} is not true or false"
        return
    yield from _of_numbers(values)


def _of_numbers(values: Mapping[str, Any]) -> Iterator[str]:
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


def _of_choices(values: list[Any], now: Any) -> Iterator[str]:
    """Mistakes in the choices for a setting that is `now` in the config."""
    if not values:
        yield "no choices"
    texts = [json.dumps(value, sort_keys=True) for value in values]
    for text in dict.fromkeys(text for text in texts if texts.count(text) > 1):
        yield f"{text} stands there twice"
    if now is None:
        return
    for value in values:
        # null is a value of settings that are numbers otherwise.
        if _kind(value) != _kind(now) and not (value is None and _kind(now) == "a number"):
            yield f"{value!r} is not {_kind(now)}, as {now!r} in the config is{_hint(value)}"


def _kind(value: Any) -> str:
    names = {bool: "true or false", str: "a text", list: "a list", tuple: "a list"}
    return names.get(type(value), "a number" if _is_number(value) else "a value")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _hint(value: Any) -> str:
    """Why a number may have arrived as text."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+e[+-]?\d+", value, re.IGNORECASE):
        return "; YAML reads this as text: write it with a point, for example 1.0e-3"
    return ""
