"""The last lines of a run that submits: how good the models are, and what to do next."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..common.files import read_json
from ..config.names import REFIT, folder_name

logger = logging.getLogger(__name__)

_LARGER = {"toy": "medium", "medium": "full"}


def log_outcome(models: Sequence[Path], size: str) -> None:
    """Say it in a few lines of the log; nothing of models whose training left no figures."""
    for line in [*map(_how_good, models), *_next(size)]:
        if line:
            logger.info("%s", line)


def _how_good(model: Path) -> str:
    """The validation figures of a model; those of a refit are of the training before."""
    folder = model.parent.parent if model.parent.name == REFIT else model.parent
    training = folder / "training.json"
    figures = read_json(training) if training.exists() else {}
    if figures.get("valid_auc") is None:
        return ""
    return (
        f"{folder_name(training)}: AUC {figures['valid_auc']:.5f}, logloss "
        f"{figures['valid_logloss']:.5f} on the {figures['valid_rows']:,} validation rows that "
        f"chose its weights"
    )


def _next(size: str) -> Iterator[str]:
    if size in _LARGER:
        yield f"next: the same command for results/submission_{_LARGER[size]}.csv uses more rows"
    elif size:
        yield "next: the same command for results/summary.md puts baselines beside that"
