"""Mistakes in values of declared settings, one line each: place, value, what is allowed, cure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from ..common.errors import did_you_mean

# How pydantic names an unknown key of a model, and of a dataclass.
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def mistakes(declared: Any, values: Any) -> list[str]:
    """What is wrong with `values` of a declared class."""
    try:
        if issubclass(declared, BaseModel):
            declared.model_validate(values)
        elif isinstance(values, Mapping):
            declared(**values)
        else:
            return [f"{values!r} is not a mapping"]
    except ValidationError as error:
        found = error.errors(include_url=False)
    else:
        return []
    missing: dict[str, list[str]] = {}
    lines = []
    for item in found:
        path = _path(item["loc"], values)
        where = ".".join(map(str, path))
        if item["type"] == "missing":
            missing.setdefault(where, []).append(repr(item["loc"][-1]))
        else:
            lines.append(_line(item, where, path, schema_of(declared)))
    lines += [f"{_at(where)}misses {', '.join(names)}" for where, names in missing.items()]
    # What may be of two kinds gives the same line for each.
    return list(dict.fromkeys(lines))


def unknown_key(key: Any, known: Iterable[str]) -> str:
    """An unknown key, with the known one that it is near to."""
    return f"unknown key {key!r}; {did_you_mean(str(key), list(known), 'keys here')}"


@cache
def schema_of(declared: Any) -> dict[str, Any]:
    """The JSON schema of a declared class."""
    return TypeAdapter(declared).json_schema()


def allowed(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """What a part of the schema `root` allows, in words."""
    if "$ref" in schema:
        schema = _resolved(schema, root)
    if "anyOf" in schema:
        return " or ".join(allowed(option, root) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    words = {"null": "null", "array": "a list", "object": "a mapping", "string": "a text"}
    words |= {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    text = words[schema["type"]]
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema]
    text += " " * bool(bounds) + " and ".join(bounds)
    if "minItems" in schema:
        text += f" of at least {schema['minItems']}"
    if "items" in schema:
        text += f" (each {allowed(schema['items'], root)})"
    if "minLength" in schema:
        text += " that is not empty"
    if "pattern" in schema:
        text += f" like {schema['pattern']}"
    return text


def hint(value: Any) -> str:
    """Why a number may have arrived as text."""
    if not isinstance(value, str):
        return ""
    if re.fullmatch(r"[+-]?\d+e[+-]?\d+", value, re.IGNORECASE):
        return "; YAML reads this as text: write it with a point, for example 1.0e-3"
    if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?|null|true|false", value, re.IGNORECASE):
        return "; it is text: leave out the quotes, and set nested keys in a --configfile"
    return ""


def _path(loc: tuple[Any, ...], values: Any) -> list[Any]:
    """The part of a pydantic location that leads through `values`."""
    path: list[Any] = []
    for step in loc:
        try:
            values = values[step]
        except (TypeError, KeyError, IndexError):
            break
        path.append(step)
    return path


def _line(item: Mapping[str, Any], where: str, path: list[Any], root: Mapping[str, Any]) -> str:
    value, loc = item["input"], item["loc"]
    is_key = loc[-1:] == ("[key]",)
    if is_key or item["type"] in (*_UNKNOWN, "invalid_key"):
        above = list(loc[: -2 if is_key else -1])
        key = loc[-1] if item["type"] in _UNKNOWN else value
        place = _at(".".join(map(str, above)))
        schema = _schema_at(root, above)
        known = schema.get("properties") or schema.get("propertyNames", {}).get("enum")
        if known:
            return f"{place}{unknown_key(key, known)}"
        pattern = next(iter(schema.get("patternProperties", [])), None)
        return f"{place}{key!r} is not a text{f' like {pattern}' if pattern else ''}"
    if item["type"] == "value_error":
        return f"{where}: {value!r} {item['ctx']['error']}"
    return f"{_at(where)}{value!r} is not {allowed(_schema_at(root, path), root)}{hint(value)}"


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    return root["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def _schema_at(root: Mapping[str, Any], path: list[Any]) -> Mapping[str, Any]:
    """The part of a schema that the value at `path` has to fit."""
    schema = root
    for key in path:
        options = schema.get("anyOf", [schema])
        schema = next(child for option in options for child in _children(option, key))
        schema = _resolved(schema, root)
    return schema


def _children(schema: Mapping[str, Any], key: Any) -> Iterator[Mapping[str, Any]]:
    if key in schema.get("properties", {}):
        yield schema["properties"][key]
    yield from schema.get("patternProperties", {}).values()
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield schema["additionalProperties"]
    if "items" in schema:
        yield schema["items"]
