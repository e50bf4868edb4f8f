"""The table of all models, as the page and the figures read it."""

from pathlib import Path

import pandas as pd

from ..common.errors import UserError


def read_comparison(path: Path) -> pd.DataFrame:
    """What `compare` wrote; raises UserError for another file."""
    try:
        models = pd.read_csv(path)
    except pd.errors.EmptyDataError:
        models = pd.DataFrame()
    if models.empty or not {"size", "model", "auc"} <= set(models):
        raise UserError(f"{path}: not a comparison of models; delete it and run the command again")
    return models
