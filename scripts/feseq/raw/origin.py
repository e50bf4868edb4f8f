"""Files of earlier runs: real ones are not overwritten."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from .source import RawFiles

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
