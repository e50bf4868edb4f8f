"""Settings as the params of a rule, in texts that name them, and back."""

import json
from collections.abc import Iterable
from typing import Any


def as_setting(name: str, value: Any) -> str:
    """One setting as text, `name=value`, its value in JSON."""
    return f"{name}={json.dumps(value, sort_keys=True)}"


def read_settings(texts: Iterable[str]) -> dict[str, Any]:
    """The settings of such texts by name; a dotted name leads into a mapping.

    ["rows=5", "model.heads=2"]:   {"rows": 5, "model": {"heads": 2}}
    """
    settings: dict[str, Any] = {}
    for text in texts:
        path, value = text.split("=", 1)
        *parents, name = path.split(".")
        block = settings
        for parent in parents:
            block = block.setdefault(parent, {})
        block[name] = json.loads(value)
    return settings
