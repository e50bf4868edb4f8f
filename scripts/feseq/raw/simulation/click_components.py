"""The named components of the planted click model; `click_model.py` adds them up.

Each component is a pure function of what stands in the file and can, in principle, be learned; the
part of the user, which cannot, is in `click_model.py`. Coefficients come from constants, never from
the user's seed: the seed changes the rows but not the world. Only relative sizes within a component
matter.

Legend: R rows, W events of a window, V tokens, G groups of inventories.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...common.ragged import Ragged
from .drawn_columns import DrawnColumns, category_values, history_shapes
from .drawn_sequences import token_shares
from .statistics import load_statistics

Floats = NDArray[np.float32]

RECENT_EVENTS = 150  # what `affinity` sees, and what `far` does not see
NEWEST_EVENTS = 50  # what `order` sees; counted more by `affinity`
NEWEST_WEIGHT = 1.5
FAR_LIMIT = 500  # `far` looks back no further than the longest history a model is given
FAR_LEAST = 5
INVENTORY_GROUPS = 3
# A mean over n events counts n / (n + this): a handful of events must not outshout hundreds.
_AFFINITY_DAMPING = 10.0
_FAR_DAMPING = 50.0
# Pseudo-rows at the mean click rate added to each measured category.
_SHRINKAGE_ROWS = 1_000.0
_HOUR_EFFECT = 0.15
_HOUR_PEAK = 21.0
_AFFINITY_SEED, _ORDER_SEED, _FAR_SEED, _ADVERT_SEED = 20_255, 20_256, 20_257, 20_259
# Rows differ more in some tokens than in others: this makes the main effect half of the variance.
_MAIN_WEIGHT = 1.25
_FREQUENT_TOKENS = 40

_NUMERIC_EFFECT = {
    "l_feat_5": 1.0,
    "l_feat_6": -0.8,
    "l_feat_11": 0.8,
    "l_feat_12": 0.7,
    "l_feat_14": -0.9,
    "feat_c_8": 0.8,
    "history_a_1": 1.0,
    "history_b_1": -1.0,
}
# The block of 77 columns lacks feat_a_1, too.
_MISSING_EFFECT = {"feat_a_1": -0.5, "feat_e_3": 0.4}
_ADVERT_WEIGHT = {"l_feat_11": 0.5, "l_feat_12": 0.4, "l_feat_14": 0.8}
_PRODUCT = ("l_feat_11", "l_feat_15")
_PRODUCT_EFFECT = 5.0


def categories(columns: DrawnColumns, sequences: Ragged) -> Floats:
    """Sum of the log-odds of gender, age group, inventory and day, and of a wave over the day.

    To learn it, a model must see these five categories; each counts by itself, without crossings.
    """
    total = np.zeros(columns.rows, dtype=np.float32)
    for name in ("gender", "age_group", "inventory_id", "day_of_week"):
        total += category_log_odds(name)[columns.category[name]]
    hour = np.arange(len(category_values("hour")))
    wave = _HOUR_EFFECT * np.cos(2.0 * np.pi * (hour - _HOUR_PEAK) / 24.0)
    return total + wave.astype(np.float32)[columns.category["hour"]]


@lru_cache(maxsize=4)
def category_log_odds(column: str) -> Floats:
    """Return log-odds against the mean by code, the last entry (code -1) for missing values.

    Rates of rare values are shrunk to the mean by pseudo-rows.
    """
    statistics, mean = load_statistics(), float(load_statistics()["click_rate"])
    measured = statistics["categories"][column]
    rates = measured["click_rate"]
    shares = {**measured["shares"], "null": measured["null"]}
    log_odds = []
    for value in [*category_values(column), "null"]:
        count = shares[value] * statistics["category_rows"]
        clicks = rates.get(value, mean) * count + mean * _SHRINKAGE_ROWS
        rate = clicks / (count + _SHRINKAGE_ROWS)
        log_odds.append(math.log(rate / (1.0 - rate)) - math.log(mean / (1.0 - mean)))
    return np.array(log_odds, dtype=np.float32)


def scaled_numeric(columns: DrawnColumns, column: str) -> Floats:
    """Return a numeric column over its full range, 0 to 1; missing values are 0, as for a model."""
    value = columns.numeric[column]
    if column.startswith("history_"):
        low, high = 0.0, history_shapes()[column].scale
    else:
        quantiles = load_statistics()["numeric"][column]["quantiles"]
        low, high = quantiles[0], quantiles[-1]
    return np.nan_to_num((value - np.float32(low)) / np.float32(high - low))


def numerics(columns: DrawnColumns, sequences: Ragged) -> Floats:
    """Linear in six base numerics and two history columns, plus one product of two base numerics.

    To learn the linear part, a model must see the numeric columns, `history_*` included; to learn
    the product, it must cross l_feat_11 with l_feat_15.
    """
    total = np.zeros(columns.rows, dtype=np.float32)
    for column, effect in _NUMERIC_EFFECT.items():
        total += np.float32(effect) * scaled_numeric(columns, column)
    left, right = (scaled_numeric(columns, column) - np.float32(0.5) for column in _PRODUCT)
    return total + np.float32(_PRODUCT_EFFECT) * left * right


def missing(columns: DrawnColumns, sequences: Ragged) -> Floats:
    """Log-odds of the missing blocks, beside what the missing gender and age group tell.

    To learn it, a model must tell a missing value from the number that stands for it.
    """
    total = np.zeros(columns.rows, dtype=np.float32)
    for name, effect in _MISSING_EFFECT.items():
        total += np.float32(effect) * np.isnan(columns.numeric[name])
    return total


def adverts(columns: DrawnColumns, sequences: Ragged) -> Floats:
    """Sum of an effect of each campaign, creative and ad set, by its ID.

    To learn it, a model must take these numbers for names. Nothing can be learned of IDs that come
    first in the test file.
    """
    total = np.zeros(columns.rows, dtype=np.float32)
    for name, effect_N in advert_effects().items():
        total += effect_N[columns.numeric[name].astype(np.int64)]
    return total


@lru_cache(maxsize=1)
def advert_effects() -> dict[str, Floats]:
    """Return the effect of each ID, [N + 1], by column."""
    rng = np.random.default_rng(_ADVERT_SEED)
    return {
        name: (weight * rng.standard_normal(load_statistics()["ids"][name] + 1)).astype(np.float32)
        for name, weight in _ADVERT_WEIGHT.items()
    }


def affinity(columns: DrawnColumns, sequences: Ragged) -> Floats:
    """Mean over the newest 150 events of a[inventory group, token], the newest 50 weighing more.

    Half of its variance is a main effect of the token, which pooling the history reveals; the other
    half differs by inventory, and takes a crossing of token and target.
    """
    recent_RW = window(sequences, RECENT_EVENTS)
    weight_W = np.ones(RECENT_EVENTS, dtype=np.float32)
    weight_W[:NEWEST_EVENTS] = NEWEST_WEIGHT
    seen_RW = recent_RW < len(token_shares())
    weight_R = seen_RW @ weight_W
    effect_GV = affinity_effects()
    group_R = columns.category["inventory_id"].astype(np.int64) % len(effect_GV)
    state_RW = recent_RW + (group_R * effect_GV.shape[1])[:, None]
    sum_R = effect_GV.reshape(-1)[state_RW] @ weight_W
    return (sum_R / (weight_R + np.float32(_AFFINITY_DAMPING))).astype(np.float32)


@lru_cache(maxsize=1)
def affinity_effects() -> Floats:
    """Return a[group, token], [G, V + 1], mean 0 over token shares; padding, the last token, is 0.

    Inventories belong to groups in turn, by frequency. Only the frequent tokens have large effects.
    """
    rng = np.random.default_rng(_AFFINITY_SEED)
    size = len(token_shares())
    main_V = _MAIN_WEIGHT * rng.standard_normal(size)
    own_GV = rng.standard_normal((INVENTORY_GROUPS, size))
    own_GV -= own_GV.mean(axis=0)
    return _centred(_loudness() * (main_V + own_GV))


def order(columns: DrawnColumns, sequences: Ragged) -> Floats:
    """Among the newest 50 events: how often group X precedes group Y, less the reverse.

    Per pair, from -1 to 1, damped where there are few pairs. The bag of events says nothing about
    it. A model must see positions: that X lies further back than Y.
    """
    newest_RW = window(sequences, NEWEST_EVENTS)
    sign_V = order_groups()
    x_RW = (sign_V > 0)[newest_RW].astype(np.float32)
    y_RW = (sign_V < 0)[newest_RW].astype(np.float32)
    # The window runs from new to old: a sum up to a position counts the events after it.
    x_later_RW, y_later_RW = np.cumsum(x_RW, axis=1), np.cumsum(y_RW, axis=1)
    x_first_R = np.einsum("rw,rw->r", x_RW, y_later_RW)
    y_first_R = np.einsum("rw,rw->r", y_RW, x_later_RW)
    return (x_first_R - y_first_R) / (x_first_R + y_first_R + np.float32(10.0))


@lru_cache(maxsize=1)
def order_groups() -> NDArray[np.int8]:
    """Return 1 for tokens of group X, -1 for group Y, 0 for the others and padding, [V + 1]."""
    rng = np.random.default_rng(_ORDER_SEED)
    sign_V = np.zeros(len(token_shares()) + 1, dtype=np.int8)
    # Two neighbours in frequency: one goes to X, one to Y.
    for first in range(0, 24, 2):
        sign_V[first : first + 2] = rng.permutation([1, -1])
    return sign_V


def far(columns: DrawnColumns, sequences: Ragged) -> Floats:
    """Mean of b[token] over the events 151 to 500 positions back; 0 where there are fewer than 5.

    b has nothing in common with the effects of `affinity`. A model of max_len 150 or less cannot
    see these events; it can only guess at them from the interests a row shows later.
    """
    ends = sequences.offsets[1:] - RECENT_EVENTS
    starts = np.maximum(sequences.offsets[:-1], sequences.offsets[1:] - FAR_LIMIT)
    result = np.zeros(len(ends), dtype=np.float32)
    rows = np.flatnonzero(ends - starts >= FAR_LEAST)
    if len(rows) == 0:
        return result
    effect_E = far_effects()[sequences.values]
    bounds = np.stack([starts[rows], ends[rows]], axis=1).reshape(-1)
    sums = np.add.reduceat(effect_E, bounds)[::2]
    result[rows] = sums / (ends - starts + np.float32(_FAR_DAMPING))[rows]
    return result


@lru_cache(maxsize=1)
def far_effects() -> Floats:
    """Return b[token], [V + 1], mean 0 over token shares; padding, the last token, is 0."""
    rng = np.random.default_rng(_FAR_SEED)
    size = len(token_shares())
    return _centred((_loudness() * rng.standard_normal(size))[None, :])[0]


def _loudness() -> NDArray[np.float64]:
    return np.where(np.arange(len(token_shares())) < _FREQUENT_TOKENS, 1.0, 0.2)


def _centred(effect_GV: NDArray[np.float64]) -> Floats:
    effect_GV = effect_GV - (effect_GV @ token_shares())[:, None]
    return np.pad(effect_GV, ((0, 0), (0, 1))).astype(np.float32)


def window(sequences: Ragged, events: int) -> NDArray[np.int64]:
    """Return the newest `events` tokens of each row, [R, W], newest first; V stands for padding."""
    age_W = np.arange(events)
    place_RW = sequences.offsets[1:, None] - 1 - age_W
    outside_RW = age_W >= sequences.lengths[:, None]
    place_RW[outside_RW] = 0
    token_RW = sequences.values[place_RW].astype(np.int64)
    token_RW[outside_RW] = len(token_shares())
    return token_RW


Component = Callable[[DrawnColumns, Ragged], Floats]
COMPONENTS: Mapping[str, Component] = {
    "categories": categories,
    "numerics": numerics,
    "missing": missing,
    "adverts": adverts,
    "affinity": affinity,
    "order": order,
    "far": far,
}
