"""Checking the config: all mistakes at once, each with its path, value, allowed range and cure."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from ..common.errors import UserError
from .catalog import model_mistakes, settings_of_size
from .columns import Columns
from .space import check_space, named_values


def _is_integer(_: object, value: object) -> bool:
    """JSON schema takes 1000.0 for an integer; range() and NumPy do not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: object, value: object) -> bool:
    """Without NaN, which passes every bound, and infinity."""
    return _is_integer(_, value) or (isinstance(value, float) and math.isfinite(value))


_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


def check_config(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise one UserError that lists every mistake in `config`."""
    errors = sorted(
        _Validator(dict(schema)).iter_errors(config), key=lambda error: list(map(str, error.path))
    )
    # Of two missing keys each gives the same line.
    mistakes = list(dict.fromkeys(line for error in errors for line in _describe(error, schema)))
    if not mistakes:
        mistakes = list(dict.fromkeys(_contradictions(config, schema)))
    if mistakes:
        count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        listed = "\n".join(f"  - {mistake}" for mistake in mistakes)
        raise UserError(f"the config has {count}:\n{listed}\nconfig/README.md explains every key.")


def _describe(error: ValidationError, schema: Mapping[str, Any]) -> Iterator[str]:
    path = ".".join(map(str, error.absolute_path))
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        for key in error.instance:
            if key not in known:
                yield _unknown_key(path, key, known)
    elif error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        yield f"{_at(path)}misses {', '.join(map(repr, missing))}"
    elif error.validator == "anyOf":
        yield f"{path}: {error.instance!r} is not {_meaning(error.schema)}"
    else:
        hint = _hint(error.instance)
        yield f"{path}: {error.instance!r} is not {_allowed(error.schema)}{hint}"


def _unknown_key(path: str, key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(str(key), known, n=1)
    cure = f"did you mean {near[0]!r}?" if near else f"keys here: {', '.join(known)}"
    return f"{_at(path)}unknown key {key!r}; {cure}"


def _at(path: str) -> str:
    return f"{path}: " if path else ""


def _meaning(schema: Mapping[str, Any]) -> str:
    return " or ".join(_allowed(option) for option in schema["anyOf"])


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a schema allows, in words."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return _meaning(schema)
    words = {"null": "null", "array": "a list", "object": "a mapping", "string": "a text"}
    words |= {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    text = words[schema["type"]]
    for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<=")):
        if key in schema:
            text += f" {sign} {schema[key]}"
    if "exclusiveMaximum" in schema:
        text += f" < {schema['exclusiveMaximum']}"
    if "minItems" in schema:
        text += f" of at least {schema['minItems']}"
    if "items" in schema:
        text += f" (each {_allowed(schema['items'])})"
    if "uniqueItems" in schema:
        text += " without repeats"
    if "minLength" in schema:
        text += " that is not empty"
    if "pattern" in schema:
        text += f" like {schema['pattern']}"
    return text


def _hint(value: object) -> str:
    """Why a number may have arrived as text."""
    if not isinstance(value, str):
        return ""
    if re.fullmatch(r"[+-]?\d+e[+-]?\d+", value, re.IGNORECASE):
        return "; YAML reads this as text: write it with a point, for example 1.0e-3"
    if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?|null|true|false", value, re.IGNORECASE):
        return "; it is text: leave out the quotes, and set nested keys in a --configfile"
    return ""


def _contradictions(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes between keys, which a schema cannot see."""
    for size in config["sizes"]:
        merged = settings_of_size(config, size)
        for block in ("model", "train"):
            missing = set(schema["$defs"][block]["properties"]) - set(merged[block])
            if missing:
                keys = ", ".join(sorted(missing))
                yield f"{block}: {keys} set neither here nor in sizes.{size}.{block}"
                return
    try:
        columns = Columns.from_config(config["columns"])
    except UserError as error:
        yield str(error)
        return
    for size, settings in config["sizes"].items():
        for model in settings["submission_models"]:
            yield from model_mistakes(config, columns, size, model)
        weights = settings["submission_weights"]
        if weights is not None and len(weights) != len(settings["submission_models"]):
            yield (
                f"sizes.{size}.submission_weights: {len(weights)} weights for "
                f"{len(settings['submission_models'])} submission_models; give one each, or null"
            )
    yield from _mistakes_of_space(config, schema)
    evaluation = config["evaluation"]
    for key, names in (("slices", evaluation["slices"]), ("gauc", [evaluation["gauc"]])):
        for name in names or []:
            if name is not None and name not in columns.categorical:
                yield (
                    f"evaluation.{key}: {name!r} is no categorical column in use; these are "
                    f"{', '.join(columns.categorical)}"
                )


def _mistakes_of_space(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    full, space = settings_of_size(config, "full"), config["tuning"]["space"]
    try:
        check_space(space, full["model"], full["train"])
    except UserError as error:
        yield str(error)
        return
    for path, value in named_values(space):
        block, key = path.split(".")
        allowed = schema["$defs"][block]["properties"][key]
        if not _Validator(allowed).is_valid(value):
            yield f"tuning.space.{path}: {value!r} is not {_allowed(allowed)}{_hint(value)}"
