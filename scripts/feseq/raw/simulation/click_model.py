"""The planted click model: logit = intercept + sum of the components of `click_components.py`.

Each component is brought to mean 0 and the standard deviation `STRENGTH[name]` on a pilot sample of
mean length 500. The pilot is the same whatever the user's seed, split and number of rows, so one
row has the same logit everywhere, up to the intercept, which depends on the mean length alone.

Legend: R rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...common.ragged import Ragged
from .click_components import COMPONENTS, Floats
from .drawn_columns import DrawnColumns, draw_columns
from .drawn_sequences import draw_sequences
from .statistics import load_statistics, logistic

# Standard deviation of each component in log-odds; None leaves the measured log-odds as they are.
STRENGTH: Mapping[str, float | None] = {
    "categories": None,
    "numerics": 0.75,
    "affinity": 0.9,
    "order": 0.4,
    "far": 1.1,
}

REFERENCE_LENGTH = 500.0
_PILOT_ROWS = 20_000
_INTERCEPT_PILOTS = 2
_PAIRINGS = 5
_PILOT_SEED = 20_253


@dataclass(frozen=True)
class ClickModel:
    """The world: mean and scale of each component, and the intercept."""

    mean: Mapping[str, float]
    scale: Mapping[str, float]
    intercept: float

    def components(self, columns: DrawnColumns, sequences: Ragged) -> dict[str, Floats]:
        """Return each component in log-odds, [R], by name."""
        return {
            name: np.float32(self.scale[name])
            * (component(columns, sequences) - np.float32(self.mean[name]))
            for name, component in COMPONENTS.items()
        }

    def probability(self, columns: DrawnColumns, sequences: Ragged) -> NDArray[np.float64]:
        """Return the true click probability, [R]."""
        components = self.components(columns, sequences)
        return logistic(self.intercept + np.sum(list(components.values()), axis=0))


@lru_cache(maxsize=1)
def _standardised() -> tuple[dict[str, float], dict[str, float]]:
    columns, sequences = _pilot(REFERENCE_LENGTH, 0)
    mean, scale = {}, {}
    for name, component in COMPONENTS.items():
        value = component(columns, sequences).astype(np.float64)
        strength = STRENGTH[name]
        mean[name] = float(value.mean())
        scale[name] = 1.0 if strength is None else strength / float(value.std())
    return mean, scale


def _pilot(mean_length: float, part: int) -> tuple[DrawnColumns, Ragged]:
    rng = np.random.default_rng([_PILOT_SEED, part])
    return draw_columns(rng, _PILOT_ROWS), draw_sequences(rng, _PILOT_ROWS, mean_length)


@lru_cache(maxsize=4)
def click_model(mean_length: float) -> ClickModel:
    """Return the click model whose mean probability at this mean length is the measured rate."""
    mean, scale = _standardised()
    without_intercept = ClickModel(mean, scale, intercept=0.0)
    logits: list[Floats] = []
    for part in range(1, 1 + _INTERCEPT_PILOTS):
        components = without_intercept.components(*_pilot(mean_length, part))
        # Independent of all others, the numerics may meet any row: more pairs, less chance.
        numeric_R = components.pop("numerics")
        other_R = np.sum(list(components.values()), axis=0)
        shifts = range(0, _PILOT_ROWS, _PILOT_ROWS // _PAIRINGS)
        logits.extend(other_R + np.roll(numeric_R, shift) for shift in shifts)
    return ClickModel(mean, scale, _intercept(np.concatenate(logits)))


def _intercept(logit: Floats) -> float:
    """Return what to add to the logits so that the mean probability is the measured click rate."""
    low, high = -20.0, 10.0
    for _ in range(30):
        middle = (low + high) / 2
        too_high = logistic(middle + logit).mean() > load_statistics()["click_rate"]
        low, high = (low, middle) if too_high else (middle, high)
    return (low + high) / 2
