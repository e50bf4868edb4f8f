"""How long a training of trees takes on a CPU, guessed by rows, features and trees."""

from collections.abc import Mapping
from typing import Any

from ...config.names import MONITORED_ROWS
from ...family.base import Work
from .settings import FEATURE_SETS

# Seconds of one core: to read a row; to bin a feature of a row; a tree's for a feature of a row,
# for a validation row, and for itself. Fitted to trainings of 45,000 to 9,000,000 rows.
_READ, _BIN, _SPLIT, _PREDICT, _TREE = 25e-6, 4e-7, 3e-9, 1e-6, 0.012
# Trees until validation rows gain no more, at 1,000 clicks and a learning rate of 0.05, and those
# that are grown to see it.
_TREES, _EARLY_STOPPING = 110, 50
# Features of a sequence, with the sets of features that are often kept.
_OF_SEQUENCE = 60
# The short trainings that choose: see `choice.py`.
_SET_TRIALS, _LEAF_TRIALS = 1 + len(FEATURE_SETS), 6
_SHORT_RATE, _SHORT_ROWS, _LEAF_ROWS = 0.1, 200_000, 14_000


def training_seconds(boosting: Mapping[str, Any], work: Work) -> float:
    """Seconds of a training with these settings."""
    sets, columns = boosting["features"], work.columns
    features = len(columns.numeric) + len(columns.profile) + len(columns.context)
    features += len(columns.sequences) * (_OF_SEQUENCE if sets else 1)
    valid_rows = min(work.valid_rows, MONITORED_ROWS)

    def grown(rows: float, clicks: float, rate: float, most: int, valid_rows: float) -> float:
        trees = min(most, _TREES * (clicks / 1_000) ** 0.4 * 0.05 / rate + _EARLY_STOPPING)
        tree = (rows * features * _SPLIT + valid_rows * _PREDICT) / work.speed + _TREE
        return trees * tree + rows * features * _BIN / work.speed

    clicks = work.click_rate * work.rows
    rows = work.epoch_rows(boosting["negative_share"])
    seconds = work.rows * _READ / work.speed
    seconds += boosting["bags"] * grown(
        rows, clicks, boosting["learning_rate"], boosting["trees"], 0 if work.refit else valid_rows
    )
    for is_chosen, trials, most in (
        (sets == "auto", _SET_TRIALS, _SHORT_ROWS),
        (boosting["min_child_weight"] == "auto", _LEAF_TRIALS, _LEAF_ROWS),
    ):
        if is_chosen and not work.refit:
            share = min(1, most / max(1, work.rows))
            held_out = min(valid_rows, most)
            seconds += trials * grown(share * work.rows, share * clicks, _SHORT_RATE, 300, held_out)
    return seconds
