"""What the files of a folder were made from: the user's data, or the simulated stand-in."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from ..raw.source import RawFiles

# Results that say it, below the folder of results.
_SAYING = ("submission_*.json", "*/*/metrics.json", "*/*/training.json")
_MOST_NAMED = 3


def refuse_stand_in_over_real(raw: RawFiles, results: Path) -> None:
    """Raise UserError where the stand-in would overwrite what was made from real data.

    `results` is the folder of results, with `data/h5` beside it.
    """
    if not raw.simulated:
        return
    tables = results.with_name("data") / "h5"
    if real := list(_real(results, tables)):
        named = ", ".join(map(str, real[:_MOST_NAMED]))
        more = f" and {len(real) - _MOST_NAMED} more" if len(real) > _MOST_NAMED else ""
        raise UserError(
            f"{raw.why}, so this run would use the simulated stand-in, and {named}{more} were made "
            f"from real data: nothing was run, and nothing of it is overwritten. Mount the disk or "
            f"put the raw files back; for the stand-in take another folder (snakemake --directory "
            f"DIR, with raw.source: simulated), or delete {results} and {tables} first"
        )


def _real(results: Path, tables: Path) -> Iterator[Path]:
    """Results and H5 files that say so; what cannot be read says nothing."""
    for path in (path for pattern in _SAYING for path in sorted(results.glob(pattern))):
        said: Any = None
        with suppress(OSError, ValueError):
            said = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(said, dict) and said.get("simulated_data") is False:
            yield path
    for path in sorted(tables.rglob("*.h5")):
        import h5py  # here, since every dry run would wait for it

        with suppress(OSError, KeyError, ValueError), h5py.File(path) as file:
            if json.loads(file.attrs["source"]).get("simulated") is False:
                yield path
