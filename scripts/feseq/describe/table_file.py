"""A table file as YAML with remarks, each beside the line that it is about."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

# The way to a value: keys, and an item of a list at its end.
Place = tuple[str, ...]


def as_yaml(content: Mapping[str, Any], remarks: Mapping[Place, str]) -> str:
    """The content in block style; a line whose place has a remark ends with it."""
    return "\n".join(_lines(content, remarks, ()))


def scalar(text: str | None) -> str:
    """A text on one line, as YAML and its comments can have it; null for None."""
    if text is None:
        return "null"
    # PyYAML knows which texts read as something else; it escapes line breaks in quotes.
    is_plain = re.fullmatch(r"[\w/][\w./-]*", text) and yaml.safe_load(text) == text
    style = None if is_plain else '"'
    dumped = yaml.safe_dump(text, default_style=style, allow_unicode=True, width=float("inf"))
    return dumped.removesuffix("\n").removesuffix("\n...")


def _lines(content: Any, remarks: Mapping[Place, str], place: Place) -> Iterator[str]:
    indent = "  " * len(place)
    if isinstance(content, Mapping):
        for key, value in content.items():
            here = (*place, key)
            is_block = isinstance(value, Mapping | Sequence) and not isinstance(value, str)
            line = f"{indent}{scalar(key)}:" + ("" if is_block else f" {scalar(value)}")
            yield _with_remark(line, here, remarks)
            if is_block:
                yield from _lines(value, remarks, here)
    else:
        for item in content:
            yield _with_remark(f"{indent}- {scalar(item)}", (*place, item), remarks)


def _with_remark(line: str, place: Place, remarks: Mapping[Place, str]) -> str:
    return f"{line}  # {remarks[place]}" if place in remarks else line
