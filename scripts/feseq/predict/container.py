"""The file of a trained model, of any family: one safetensors file with all that it needs.

All families share these: the family, the settings by block, the feature map, whether the train rows
are simulated, their share of clicks, and size and name. The rest is the family's own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..common import tensors
from ..common.errors import UserError, first_line
from ..config.names import check_name
from ..config.runtime import Runtime
from ..dataset.feature_map import FeatureMap
from ..families import Family, Model, Settings, family

FORMAT, VERSION = "feseq-model", 11
_SHARED = ("settings", "simulated", "click_rate", "full_name")


class Content(NamedTuple):
    """What a model's file holds; `own` has tensors and plain values of its family.

    `simulated` is true if the train rows are simulated; `click_rate` is their share of clicks;
    `full_name` is size and name, such as full/len150, '' if it was trained by hand.
    """

    settings: Settings
    feature_map: FeatureMap
    simulated: bool
    click_rate: float
    full_name: str
    own: Mapping[str, Any]


def save_model(path: Path, family_name: str, content: Content) -> None:
    """Write everything into one file."""
    # As bytes: safetensors limits plain values, and so vocabularies, to 100 MB.
    feature_map = json.dumps(content.feature_map.to_dict()).encode()
    shared = {name: getattr(content, name) for name in _SHARED}
    shared |= {"feature_map": np.frombuffer(feature_map, np.uint8)}
    header = {"format": FORMAT, "version": VERSION, "family": family_name}
    tensors.save({"marks": header, **shared, **content.own}, path)


def read_model(path: Path, family_name: str, full_name: str = "") -> Content:
    """Read what `save_model` wrote; tensors come as NumPy arrays.

    Raises UserError for anything else, and for another model than the one of this `full_name`.
    """
    try:
        content = tensors.load(path)
        found = content.pop("marks", None)
        wanted = {"format": FORMAT, "version": VERSION, "family": family_name}
        if found != wanted:
            raise ValueError(f"{found}, not {wanted}")
        shared = {name: content.pop(name) for name in _SHARED}
        plain = json.loads(content.pop("feature_map").tobytes())
        read = Content(**shared, feature_map=FeatureMap.from_dict(plain), own=content)
    except (ValueError, TypeError, KeyError) as error:
        raise unreadable(path, error) from None
    check_name(path, read.full_name, full_name)
    return read


def unreadable(path: Path, error: Exception) -> UserError:
    """What to say of a file that is no model."""
    return UserError(
        f"{path}: not a complete model file of this workflow ({first_line(error)}); take another "
        f"file or, where the workflow made it, delete it and run the same command again, or "
        f"`snakemake --cores 4 {path}`: the model is retrained"
    )


def family_in(path: Path) -> Family:
    """The family of the model in a file; raises UserError if it is none."""
    try:
        return family(tensors.peek(path, "marks")["family"])
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(path, error) from None


def load_model(
    path: Path, full_name: str = "", *, runtime: Runtime | None = None, threads: int = 1
) -> Model:
    """The model in a file, ready to predict on this machine.

    Raises UserError if it is no model, or not the one of this `full_name`.
    """
    return family_in(path).verb("load")(path, full_name, runtime or Runtime(), threads)
