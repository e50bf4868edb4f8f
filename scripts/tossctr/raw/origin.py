"""Files of earlier runs: real ones are not overwritten."""

import json
from pathlib import Path

from ..common.errors import UserError
from .raw_files import RawFiles

# Results that record whether their data are simulated, below that folder.
_RECORDS = ("submission_*.json", "*/*/metrics.json", "*/*/training.json")


def refuse_stand_in_over_real(raw: RawFiles, results: Path) -> None:
    """Raise UserError if the stand-in would overwrite results of real data, in that folder."""
    if not raw.simulated:
        return
    paths = [path for pattern in _RECORDS for path in sorted(results.glob(pattern))]
    if real := [path for path in paths if _is_real(path)]:
        raise UserError(
            f"{raw.why}, so this run would use the simulated stand-in, and {len(real)} files such "
            f"as {real[0]} were made from real data: nothing was run or overwritten. Repeat the "
            f"options of the first call if one is missing, such as --config table=mine.yaml; mount "
            f"the disk or put the raw files back; for the stand-in take another folder (snakemake "
            f"--directory DIR, with raw.source: simulated), or delete {results} first"
        )


def _is_real(path: Path) -> bool:
    """True for a result of real data; a file that cannot be read does not count."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("simulated_data") is False
