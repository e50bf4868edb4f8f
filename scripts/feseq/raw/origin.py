"""Files of earlier runs: real ones are not overwritten, and a training may start from one."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from ..config.names import MODEL_FILE, REFIT
from .source import RawFiles
from .version import content_version

# The folder of results, before any prefix.
_RESULTS = "results"
# Results that record whether their data are simulated, below that folder.
_RECORDS = ("submission_*.json", "*/*/metrics.json", "*/*/training.json")


def refuse_stand_in_over_real(raw: RawFiles, results: Path) -> None:
    """Raise UserError if the stand-in would overwrite results of real data.

    `results` is the folder of results, with `data/h5` beside it.
    """
    if not raw.simulated:
        return
    tables = results.with_name("data") / "h5"
    if real := list(_real(results, tables)):
        raise UserError(
            f"{raw.why}, so this run would use the simulated stand-in, and {len(real)} files such "
            f"as {real[0]} were made from real data: nothing was run or overwritten. Repeat the "
            f"options of the first call if one is missing, such as --config table=mine.yaml; mount "
            f"the disk or put the raw files back; for the stand-in take another folder (snakemake "
            f"--directory DIR, with raw.source: simulated), or delete {results} and {tables} first"
        )


def _real(results: Path, tables: Path) -> Iterator[Path]:
    """The results and H5 files of real data; a file that cannot be read does not count."""
    for path in (path for pattern in _RECORDS for path in sorted(results.glob(pattern))):
        content: Any = None
        with suppress(OSError, ValueError):
            content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("simulated_data") is False:
            yield path
    for path in sorted(tables.rglob("*.h5")):
        import h5py  # here, since every dry run would wait for it

        with suppress(OSError, KeyError, ValueError), h5py.File(path) as file:
            if json.loads(file.attrs["source"]).get("simulated") is False:
                yield path


def warm_start_file(start: str | None, output: Path) -> tuple[str, str | None] | None:
    """The file of `train.start_from` and its version; None without that setting.

    The version is None where the workflow makes the file. Raises UserError if the file is missing;
    if it is the training's `output`, or its refit, under any name, since Snakemake removes an
    output before its job; and if it is a refit of this workflow.
    """
    if start is None:
        return None
    path = os.path.normpath(start)
    own = (output, output.parent / REFIT / output.name)
    if os.path.realpath(path) in map(os.path.realpath, own):
        raise UserError(
            f"train.start_from: {path} is the file of the very model that would start from it; "
            f"copy it to another place, such as models/, and name the copy"
        )
    if (inside := _in_results(path, output.parents[2])) is not None:
        if inside.parent.name == REFIT:
            raise UserError(
                f"train.start_from: {path} was trained on the held-out rows, so the metrics of a "
                f"model that starts from it would be too high; name "
                f"{Path(path).parents[1] / MODEL_FILE}"
            )
        return str(Path(_RESULTS, inside)), None
    if not Path(path).is_file():
        raise UserError(
            f"train.start_from: {path}: no such file; name the model.safetensors of an earlier "
            f"training, or null to train from the start"
        )
    return path, content_version(Path(path))


def _in_results(path: str, results: Path) -> Path | None:
    """The path below the folder of results, which may have a prefix; None for another file."""
    real = Path(os.path.realpath(path))
    if real.is_relative_to(folder := os.path.realpath(results)):
        return real.relative_to(folder)
    # Snakemake adds the prefix.
    return Path(path).relative_to(_RESULTS) if Path(path).parts[:1] == (_RESULTS,) else None
