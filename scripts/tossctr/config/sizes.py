"""The config's block of a size, and the settings of a size or a variant by block."""

from collections.abc import Mapping
from typing import Any

from ..common.errors import UserError


def size_block(config: Mapping[str, Any], size: str) -> dict[str, Any]:
    """The config's block of a size; raises UserError if there is none."""
    if size not in config["sizes"]:
        known = ", ".join(map(repr, config["sizes"]))
        raise UserError(f"there is no size {size!r}; sizes are {known}")
    return config["sizes"][size]


def block_settings(
    config: Mapping[str, Any], size: str, block: str, variant: str | None = None
) -> dict[str, Any]:
    """One block's settings: a size's override the shared ones, a variant's override both."""
    changes = config["variants"][variant] if variant else {}
    size_settings = size_block(config, size)
    return config.get(block, {}) | size_settings.get(block, {}) | changes.get(block, {})
