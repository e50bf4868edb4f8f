"""Mistakes in values of declared settings: path, what is allowed, value."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ..common.errors import did_you_mean

# New names of keys.
_RENAMED = {"judge_share": "holdout_share"}


def mistakes(declared: Any, values: Any, place: str = "") -> list[str]:
    """What is wrong with `values` of a declared class, one line each, in pydantic's words."""
    if not isinstance(values, Mapping):
        return [f"{place}: {values!r} is no mapping"]
    try:
        declared(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        found = error.errors(include_url=False)
    else:
        return []
    # What may be of several kinds has an error for each.
    texts: dict[str, list[str]] = {}
    ends: dict[str, str] = {}
    for item in found:
        loc, end = item["loc"], ""
        text = item["msg"].removeprefix("Value error, ").split(" or instance of ")[0]
        if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            end = f"; {_meant(str(loc[-1]), _known(declared, loc[:-1]))}"
        elif item["type"] != "missing":
            loc = _path(loc, values)
            if item["type"] != "value_error":
                end = f", not {item['input']!r}{_hint(item['input'])}"
        where = ".".join(map(str, (*place.split(), *loc)))
        others = texts.setdefault(where, [])
        others.append(text.removeprefix("Input should be ") if others else text)
        ends[where] = end
    return [f"{where}: {' or '.join(dict.fromkeys(texts[where]))}{ends[where]}" for where in texts]


def _hint(value: Any) -> str:
    """Why a number may have arrived as text."""
    try:
        float(value if isinstance(value, str) else "no number")
    except ValueError:
        return ""
    return "; YAML reads this as text: write it without quotes, and 1e-3 as 1.0e-3"


def _meant(name: str, known: list[str]) -> str:
    new = _RENAMED.get(name)
    return f"its name is {new!r} now" if new in known else did_you_mean(name, known, "keys here")


def _path(loc: tuple[Any, ...], values: Any) -> tuple[Any, ...]:
    """The part of a pydantic location that leads through `values`; the rest names types."""
    for i, step in enumerate(loc):
        try:
            values = values[step]
        except (TypeError, KeyError, IndexError):
            return loc[:i]
    return loc


def _known(declared: Any, loc: tuple[Any, ...]) -> list[str]:
    """The keys that the place `loc` in a declared class has."""
    for step in loc:
        fields = fields_of(declared)
        declared = fields[step].annotation if step in fields else (get_args(declared) or [None])[-1]
    return list(fields_of(declared))


def fields_of(declared: Any) -> dict[str, FieldInfo]:
    """The fields of a declared class by name; none for any other type."""
    return getattr(declared, "__pydantic_fields__", {})
