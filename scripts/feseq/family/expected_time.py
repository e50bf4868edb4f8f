"""How long a training may take, by an earlier one of the same model."""

from contextlib import suppress
from pathlib import Path

from ..batches.negatives import NegativeShare, auto_rows
from ..common.errors import UserError
from ..common.files import read_json
from ..common.progress import duration
from ..config.names import Settings

# Settings that leave the time of a row as it is.
_FREE = {"seed", "negative_share", "start_from", "monitor"}


def expected_time(results: Path, model: str, rows: int, blocks: Settings) -> str:
    """About how long a training on `rows` takes, '' where none had these settings on any size.

    `blocks` are its settings. Time is proportional to the rows of an epoch. The training with most
    of them counts, since small ones are mostly overhead, of several the newest. It knows nothing of
    early stopping, of another machine, or of other jobs that share this one.
    """
    settings = {key: value for keys in blocks.values() for key, value in keys.items()}
    counted = {key: value for key, value in settings.items() if key not in _FREE}
    known = []
    for path in results.glob(f"*/{model}/training.json"):
        # What cannot be read tells nothing; the job that needs it says so.
        with suppress(UserError, KeyError):
            training = read_json(path)
            if any(training["settings"].get(key) != counted[key] for key in counted):
                continue
            epoch_rows = training.get("rows_per_epoch", training["train_rows"])
            clicks = round(rows * training["click_rate"])
            known.append((epoch_rows, path.stat().st_mtime, training["seconds"], clicks, path))
    if not known:
        return ""
    earlier_rows, _, seconds, clicks, path = max(known)
    negative_share: NegativeShare = settings.get("negative_share", 1)
    epoch_rows = auto_rows(rows, clicks) if negative_share == "auto" else negative_share * rows
    expected = seconds * epoch_rows / max(1, earlier_rows)
    return f"about {duration(expected)} by {path.parent}"
