"""Generate the tables of config/README.md from the declared settings.

To run it in the repository: PYTHONPATH=scripts python -m tossctr.catalog.reference
"""

import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter

from ..config.declared import defaults_of, fields_of, settable_fields
from .model_kinds import settings_classes
from .schema import Config, Size, Sizes, Table

_TABLE = re.compile(r"(<!-- keys of ([\w, ]+) -->\n)(?:\|.*\n)*")
_HEAD = "| key | values | default | meaning |\n|---|---|---|---|\n"
_WORDS = {"null": "null", "array": "list", "object": "mapping", "string": "text"}
_WORDS |= {"integer": "integer", "number": "number", "boolean": "true or false"}
_SIGNS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def with_tables(readme: str) -> str:
    """The text `readme`, with a new table of keys below each `<!-- keys of … -->`."""
    rows = list(key_rows())

    def table(match: re.Match[str]) -> str:
        names = match[2].split(", ")
        listed = [row for row in rows if row[0].split(".")[0] in names]
        lines = [_HEAD, *(f"| `{path}` | {' | '.join(cells)} |\n" for path, *cells in listed)]
        return match[1] + "".join(lines)

    return _TABLE.sub(table, readme)


def key_rows(declared: Any = Config, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield (path, allowed values, default, meaning) of each key in a class of settings."""
    schema = TypeAdapter(declared).json_schema()
    meanings, defaults = _meanings(declared), defaults_of(declared)
    for name, field in settable_fields(declared).items():
        path, block = prefix + name, field.annotation
        if name in settings_classes():
            block = settings_classes()[name] if declared is Config else None
        # The class of a block's entries: the sizes, or entries that the user names.
        inner = Size if block is Sizes else next(iter(get_args(block)[1:]), None)
        if block is Table:
            # These keys are in the table file, so their paths start there.
            yield path, "text or mapping", "", meanings[name]
            yield from key_rows(block)
        elif fields_of(inner):
            yield from key_rows(inner, f"{path}.<{name[:-1]}>.")
        elif fields_of(block := next((b for b in (block, *get_args(block)) if fields_of(b)), None)):
            yield from key_rows(block, f"{path}.")
        else:
            # A block of a size or a variant is empty by default.
            shown = json.dumps(defaults.get(name), default=lambda _: {})
            default = f"`{shown}`" if name in defaults else ""
            yield (
                path,
                _allowed(schema["properties"][name]),
                default,
                meanings.get(name) or f"`{name}` keys to override",
            )


def _meanings(declared: Any) -> dict[str, str]:
    """The text below each field of a class; pydantic would read the texts at every import."""
    parsed: Any = ast.parse(inspect.getsource(declared))
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(parsed.body[0].body)
        if [type(each) for each in (field, text)] == [ast.AnnAssign, ast.Expr]
    }


def _allowed(schema: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, in words."""
    if "$ref" in schema:
        return "mapping"
    if "anyOf" in schema:
        return " or ".join(map(_allowed, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(map(_value, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    bounds = [f"{sign} {schema[key]}" for key, sign in _SIGNS.items() if key in schema]
    if {"minimum", "maximum"} <= schema.keys():
        bounds = [f"{schema['minimum']} to {schema['maximum']}"]
    text = " ".join([_WORDS[schema["type"]], " and ".join(bounds)]).strip()
    return f"{text} of: {_allowed(schema['items'])}" if "items" in schema else text


def _value(value: Any) -> str:
    """An allowed value as a table shows it, with quotes around punctuation."""
    text = str(value)
    return text if text.isalnum() or len(text) > 1 else json.dumps(text).replace("|", "\\|")


if __name__ == "__main__":
    readme = Path("config/README.md")
    readme.write_text(with_tables(readme.read_text(encoding="utf-8")), encoding="utf-8")
