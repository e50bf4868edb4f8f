"""The table of all models, as the page and the figures read it."""

from pathlib import Path

import pandas as pd

from ..common.errors import UserError

# What the page and the figures read of it.
COLUMNS = (
    *("size", "model", "kind", "simulated_data", "unseen", "device", "epochs", "train_seconds"),
    *("train_rows", "agreement"),
    *("valid_rows", "valid_clicks", "enough_clicks", "auc_behind", "auc_blanked", "share_of_best"),
    *("auc", "auc_low", "auc_high", "score", "score_balanced", "score_gain"),
)


def read_comparison(path: Path) -> pd.DataFrame:
    """What `compare` wrote; raises UserError for another file."""
    try:
        models = pd.read_csv(path)
    # An empty file, lines of unlike width, bytes that are no UTF-8.
    except ValueError:
        models = pd.DataFrame()
    if models.empty or not set(COLUMNS) <= set(models):
        raise UserError(f"{path}: not a comparison of models; delete it and run the command again")
    return models
