"""The expected time of a training, from an earlier one of the same model."""

from contextlib import suppress
from pathlib import Path

from ..batches.negatives import NegativeShare, auto_rows
from ..common.errors import UserError
from ..common.files import read_json
from ..common.progress import duration
from ..config.names import Settings

# Settings that do not change the time per row.
_FREE = {"seed", "negative_share", "start_from", "monitor"}


def expected_time(results: Path, model: str, rows: int, blocks: Settings) -> str:
    """About how long a training on `rows` takes, '' if no size has one with these settings.

    `blocks` are its settings. Time is proportional to the rows of an epoch. The estimate uses the
    training with the most of them, since small ones are mostly overhead, and the newest of several.
    It assumes the same machine without other jobs, and ignores early stopping.
    """
    settings = {key: value for keys in blocks.values() for key, value in keys.items()}
    relevant = {key: value for key, value in settings.items() if key not in _FREE}
    earlier = []
    for path in results.glob(f"*/{model}/training.json"):
        # Unreadable files are skipped; the job that needs one reports it.
        with suppress(UserError, KeyError):
            training = read_json(path)
            if any(training["settings"].get(key) != relevant[key] for key in relevant):
                continue
            epoch_rows = training.get("rows_per_epoch", training["train_rows"])
            clicks = round(rows * training["click_rate"])
            earlier.append((epoch_rows, path.stat().st_mtime, training["seconds"], clicks, path))
    if not earlier:
        return ""
    earlier_rows, _, seconds, clicks, path = max(earlier)
    negative_share: NegativeShare = settings.get("negative_share", 1)
    epoch_rows = auto_rows(rows, clicks) if negative_share == "auto" else negative_share * rows
    expected = seconds * epoch_rows / max(1, earlier_rows)
    return f"about {duration(expected)} by {path.parent}"
