"""The repository's config, and changes to it."""

from pathlib import Path
from typing import Any

from . import REPOSITORY

CONFIG: Path = REPOSITORY / "config/config.yaml"
Config = dict[str, Any]


def put(config: Config, path: str, value: Any) -> None:
    """Set the value at a dotted path, and make what leads there."""
    *folders, key = path.split(".")
    for folder in folders:
        config = config.setdefault(folder, {})
    config[key] = value
