"""Checking the config: all mistakes at once, each with its place, value, allowed range and cure."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from .catalog import model_mistakes, size_settings
from .columns import Columns
from .declared import fields_of
from .mistakes import mistakes
from .model import ModelKeys
from .settings import Config, with_defaults
from .space import space_mistakes
from .train import TrainKeys
from .yaml_text import text_mistakes


def checked_config(config: Mapping[str, Any], files: Iterable[Path | str] = ()) -> dict[str, Any]:
    """The config, with defaults for keys that are not there.

    Raises one UserError that lists every mistake in it, and in the text of the `files` it is from.
    """
    full = with_defaults(config)
    found = [*text_mistakes(files), *mistakes(Config, full)]
    space = full["tuning"].get("space") if isinstance(full["tuning"], Mapping) else None
    if isinstance(space, Mapping):
        found += space_mistakes(space)
    found = found or list(dict.fromkeys(_contradictions(full)))
    if found:
        count = "one mistake" if len(found) == 1 else f"{len(found)} mistakes"
        listed = "\n".join(f"  - {mistake}" for mistake in found)
        raise UserError(f"the config has {count}:\n{listed}\nconfig/README.md explains every key.")
    return full


def _contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes between keys that are sound by themselves."""
    complete = []
    for size in config["sizes"]:
        merged = size_settings(config, size)
        missing = []
        for block, keys in (("model", ModelKeys), ("train", TrainKeys)):
            if names := [key for key in fields_of(keys) if key not in merged[block]]:
                place = f"sizes.{size}.{block}"
                missing.append(f"{block}: {', '.join(names)} set neither here nor in {place}")
        yield from missing
        complete += [] if missing else [size]
    try:
        columns = Columns.from_config(config["columns"])
    except UserError as error:
        yield str(error)
        return
    for size, settings in config["sizes"].items():
        for model in settings["submission_models"] if size in complete else ():
            yield from model_mistakes(config, columns, size, model)
        weights = settings["submission_weights"]
        if weights is not None and len(weights) != len(settings["submission_models"]):
            yield (
                f"sizes.{size}.submission_weights: {len(weights)} weights for "
                f"{len(settings['submission_models'])} submission_models; give one each, or null"
            )
    evaluation = config["evaluation"]
    for key, names in (("slices", evaluation["slices"]), ("gauc", [evaluation["gauc"]])):
        for name in names or []:
            if name is not None and name not in columns.categorical:
                yield (
                    f"evaluation.{key}: {name!r} is no categorical column in use; these are "
                    f"{', '.join(columns.categorical)}"
                )
