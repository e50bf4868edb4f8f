"""The model file that a training starts from, as an input of its rule."""

import os
from pathlib import Path

from ..common.errors import UserError
from ..raw.version import content_version


def warm_start_file(start: str | None, own: Path) -> tuple[str, str | None] | None:
    """The file of `train.start_from` and its version; None without that setting.

    The version is None where the workflow makes the file. Raises UserError if the file is missing,
    or is the training's `own` model under any name: Snakemake removes an output before its job.
    """
    if start is None:
        return None
    path = os.path.normpath(start)
    if os.path.realpath(path) == os.path.realpath(own):
        raise UserError(
            f"train.start_from: {path} is the file of the very model that would start from it; "
            f"copy it to another place, such as models/, and name the copy"
        )
    if Path(path).parts[:1] == ("results",):
        return path, None
    if not Path(path).is_file():
        raise UserError(
            f"train.start_from: {path}: no such file; name the model.safetensors of an earlier "
            f"training, or null to train from the start"
        )
    return path, content_version(Path(path))
