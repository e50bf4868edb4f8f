"""How long a training may take, by an earlier one of the same model."""

from contextlib import suppress
from pathlib import Path

from ..common.errors import UserError
from ..common.files import read_json
from ..common.progress import duration
from ..dataset.negatives import AUTO_ROWS, NegativeShare

_LONG = 24 * 3600


def expected_time(results: Path, model: str, rows: int, negative_share: NegativeShare) -> str:
    """About how long a training on `rows` takes, '' where the model was trained on no size yet.

    Time is proportional to the rows of an epoch. The training with most of them counts, since small
    ones are mostly overhead. It knows nothing of early stopping, or of another machine.
    """
    known = []
    for path in results.glob(f"*/{model}/training.json"):
        # What cannot be read tells nothing; the job that needs it says so.
        with suppress(UserError, KeyError):
            training = read_json(path)
            epoch_rows = training.get("rows_per_epoch", training["train_rows"])
            known.append((epoch_rows, training["seconds"], path))
    if not known:
        return ""
    earlier_rows, seconds, path = max(known)
    epoch_rows = min(rows, AUTO_ROWS) if negative_share == "auto" else negative_share * rows
    expected = seconds * epoch_rows / max(1, earlier_rows)
    shorter = "; `negative_share` and `epochs` make it shorter" * (expected > _LONG)
    return f"about {duration(expected)} by {path.parent}{shorter}"
