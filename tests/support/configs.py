"""The repository's config, and changes to it."""

from pathlib import Path
from typing import Any

import yaml

from . import REPOSITORY

CONFIG: Path = REPOSITORY / "config/config.yaml"
Config = dict[str, Any]


def shipped() -> Config:
    """The config as it is shipped, with the Toss table in the place of its file's name."""
    config = yaml.safe_load(CONFIG.read_text())
    return config | {"table": yaml.safe_load((REPOSITORY / config["table"]).read_text())}


def put(config: Config, path: str, value: Any) -> None:
    """Set the value at a dotted path, and make what leads there."""
    *folders, key = path.split(".")
    for folder in folders:
        config = config.setdefault(folder, {})
    config[key] = value
