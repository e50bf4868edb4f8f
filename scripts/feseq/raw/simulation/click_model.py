"""The planted click model: logit = intercept + components of `click_components.py` + user part.

The user part is a random number of each user. Nothing in the file tells it but the user's other
rows, which have the same sequence: a model that knows sequences by heart guesses it in a random
split, and nowhere else.

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
from .drawn_columns import DrawnColumns, draw_columns, train_day
from .drawn_sequences import draw_sequences
from .drawn_users import Draw, Users, strangers
from .statistics import load_statistics, logistic

# Standard deviation of each component in log-odds; None leaves the measured log-odds as they are.
STRENGTH: Mapping[str, float | None] = {
    "categories": None,
    "numerics": 0.75,
    "missing": None,
    "adverts": 0.4,
    "affinity": 0.9,
    "order": 0.4,
    "far": 1.1,
}
USER_STRENGTH = 1.2

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

    def logit(self, columns: DrawnColumns, sequences: Ragged) -> Floats:
        """Return the log-odds of a click without the user part, [R]."""
        return self.intercept + np.sum(list(self.components(columns, sequences).values()), axis=0)

    def probability(
        self, columns: DrawnColumns, sequences: Ragged, users: Users
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the true click probability, and its mean over all users that a row may have.

        Both [R]. The second is the best that one can say of a user never seen.
        """
        logit = self.logit(columns, sequences)
        return logistic(logit + user_part(users)), mean_over_users(logit)


def user_part(users: Users) -> NDArray[np.float64]:
    """Return what a user adds to the log-odds, [R]."""
    return USER_STRENGTH * users.normal(Draw.CLICKS)


def mean_over_users(logit: Floats) -> NDArray[np.float64]:
    """Return the mean click probability over all user parts, same shape."""
    return np.interp(logit, *_mean_table())


@lru_cache(maxsize=1)
def _mean_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    grid = np.arange(-30.0, 20.0, 0.01)
    node, weight = np.polynomial.hermite_e.hermegauss(40)
    return grid, logistic(grid[:, None] + USER_STRENGTH * node) @ (weight / weight.sum())


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
    users = strangers(_PILOT_SEED + part, _PILOT_ROWS)
    day = train_day(0, _PILOT_ROWS, _PILOT_ROWS)
    return draw_columns(rng, users, day), draw_sequences(users, mean_length)


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
        too_high = mean_over_users(middle + logit).mean() > load_statistics()["click_rate"]
        low, high = (low, middle) if too_high else (middle, high)
    return (low + high) / 2
