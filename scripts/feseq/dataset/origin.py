"""What the files of a folder were made from: the user's data, or the simulated stand-in."""

import json
from collections.abc import Iterator
from pathlib import Path

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
    real = [*_real_results(results), *_real_tables(results.with_name("data") / "h5")]
    if real:
        named = ", ".join(map(str, real[:_MOST_NAMED]))
        more = f" and {len(real) - _MOST_NAMED} more" if len(real) > _MOST_NAMED else ""
        raise UserError(
            f"{raw.why}, so this run would use the simulated stand-in, and {named}{more} were made "
            f"from real data: nothing was run, and nothing of it is overwritten. Mount the disk or "
            f"put the raw files back; for the stand-in take another folder (snakemake --directory "
            f"DIR, with raw.source: simulated), or delete {results} and "
            f"{results.with_name('data') / 'h5'} first"
        )


def _real_results(results: Path) -> Iterator[Path]:
    for pattern in _SAYING:
        for path in sorted(results.glob(pattern)):
            try:
                said = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(said, dict) and said.get("simulated_data") is False:
                yield path


def _real_tables(folder: Path) -> Iterator[Path]:
    paths = sorted(folder.rglob("*.h5"))
    if not paths:
        return
    # Here, since every dry run would wait for it.
    import h5py

    for path in paths:
        try:
            with h5py.File(path) as file:
                said = json.loads(file.attrs["source"])
        except (OSError, KeyError, ValueError):
            continue
        if isinstance(said, dict) and said.get("simulated") is False:
            yield path
