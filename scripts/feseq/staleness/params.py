"""Settings as the params of a rule: texts that name them, what counts among them, and back."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A param that makes a step stale when its value changes; a value may be of the wildcards.

    Its text has the name because Snakemake compares the values of all params as a set. It is
    a function because Snakemake looks for wildcards between the braces of a plain text.
    """

    name: str
    value: Any

    def __call__(self, wildcards: Any) -> str:
        value = self.value(wildcards) if callable(self.value) else self.value
        return as_setting(self.name, value)


@dataclass(frozen=True)
class NotCounted:
    """A param that makes nothing stale, such as the number of GPUs."""

    setting: Setting

    def __call__(self, wildcards: Any, resources: Any) -> str:
        """Takes `resources` because Snakemake never compares params that depend on these."""
        return self.setting(wildcards)


Param = str | Setting | NotCounted


def settings(**values: Any) -> dict[str, Setting]:
    """Params by name, each a setting that counts."""
    return {name.replace(".", "_"): Setting(name, value) for name, value in values.items()}


def not_counted(**values: Any) -> dict[str, NotCounted]:
    """Params by name, each a setting that makes nothing stale."""
    return {name: NotCounted(setting) for name, setting in settings(**values).items()}


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


def params_digest(
    steps: Iterable[tuple[str, Mapping[str, str]]], params_of: Callable[[str], Iterable[Param]]
) -> str:
    """A digest of all params that count, of steps given by rule and wildcards.

    Snakemake removes the outputs of a step that failed, and does not miss them while a file made
    from the earlier ones is there. A last file with this digest is stale itself.
    """
    texts = []
    for rule, wildcards in steps:
        job = SimpleNamespace(**wildcards)
        counted = [param for param in params_of(rule) if not isinstance(param, NotCounted)]
        # Sorted, as the order of settings changes with the config file that names them.
        texts += sorted(param if isinstance(param, str) else param(job) for param in counted)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
