"""How long a training of a network takes on a CPU, guessed by the multiplications of a row."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ...config.names import MONITORED_ROWS
from ...family.base import Work
from .settings import DIN_WIDTHS
from .training.schedule import EVALUATIONS_OF_A_LONG_EPOCH, LONG_EPOCH_STEPS

# Operations a second of one core, and seconds of a row, a step and a start whatever the network,
# fitted to trainings of toy, medium and full size (docs/costs.md).
_SPEED, _ROW, _STEP, _START = 30e9, 250e-6, 0.01, 5.0


def training_seconds(model: Mapping[str, Any], train: Mapping[str, Any], work: Work) -> float:
    """Seconds of a training with these settings, if patience does not end it early."""
    batch_rows = min(train["batch_size"], max(1, work.rows // train["min_steps_per_epoch"]))
    epochs, evaluations = train["epochs"], train["evaluations_per_epoch"]
    if work.refit:
        # One epoch of the held-out rows and as many train rows.
        work = replace(work, rows=min(work.rows, 2 * work.valid_rows))
        epochs, evaluations = 1, 0
    epoch_rows = work.epoch_rows(train["negative_share"])
    if evaluations == "auto":
        is_long = epoch_rows > LONG_EPOCH_STEPS * batch_rows
        evaluations = EVALUATIONS_OF_A_LONG_EPOCH if is_long else 1
    trained = epochs * epoch_rows
    predicted = epochs * evaluations * min(work.valid_rows, MONITORED_ROWS)
    # The backward pass is two forward passes.
    passes = trained + predicted / 3
    row = (3 * _forward(model, work) / _SPEED + _ROW) / work.speed
    return _START + passes * row + trained / batch_rows * _STEP


def _forward(model: Mapping[str, Any], work: Work) -> float:
    """Multiplications and additions of a row's forward pass."""
    columns, d = work.columns, model["embedding_dim"]
    sequences = max(1, len(columns.sequences))
    fields = sequences + len(columns.profile)
    width = d * (fields + model["positions"] + model["times"])
    positions = 1 + _mean_events(model["max_len"], work.length)
    layer = 12 * width**2 + 4 * positions * width
    position = model["transformer_layers"] * layer
    position += model["interaction_layers"] * 2 * (d * fields) ** 2
    if model["pooling"] == "weighted_sum":
        attention = model["attention_dim"]
        layers = [4 * attention, *DIN_WIDTHS] if model["score"] == "din" else [attention]
        position += 2 * sum(a * b for a, b in pairwise([width, *layers]))
    numeric = sum(d if name in ("linear", "buckets") else 1 for name in model["numerics"])
    inputs = len(columns.numeric) * numeric + width
    inputs += d * (len(columns.context) + len(columns.profile) + 3 * sequences)
    output = 2 * inputs * model["mlp_cross_rank"]
    output += sum(a * b for a, b in pairwise([inputs, *model["mlp"], 1]))
    return positions * position + 2 * output


def _mean_events(max_len: int, length: float | None) -> float:
    """Events of a history on average, cut to `max_len`, as lengths are often distributed."""
    if length is None:
        return max_len / 3
    return length * (1 - math.exp(-max_len / length)) if length else 0.0
