"""The true click model: logit = intercept + components + the user's part.

Each component is a function of the file's columns and can, in principle, be learned. It is scaled
to mean 0 and the standard deviation `STRENGTH[name]` on a pilot sample of mean length 500.
The user's part is a random number of each user: only the user's other rows, which have the same
sequence, reveal it. A model that memorizes sequences can guess it in a random split, and nowhere
else.

Coefficients and pilot come from constants, never from the user's seed: the seed changes the rows
but not the world. Only the intercept depends on the mean length.

Legend: R rows, W events of a window, V tokens, G groups of inventories.
"""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..common.ragged import Ragged
from .columns import Columns, draw_columns, train_day
from .sequences import draw_sequences, token_shares
from .statistics import Floats, category_values, load_statistics, logistic
from .users import Draw, Users, normal, strangers

Floats32 = NDArray[np.float32]

# Standard deviation of components in log-odds; others stay as they are.
STRENGTH = {"numerics": 0.75, "adverts": 0.4, "affinity": 0.9, "order": 0.4, "far": 1.1}
USER_STRENGTH = 1.2

RECENT_EVENTS = 150  # what `affinity` takes, and what `far` does not take
NEWEST_EVENTS = 50  # what `order` sees; counted more by `affinity`
NEWEST_WEIGHT = 1.5
FAR_LIMIT = 500  # `far` looks back no further
FAR_LEAST = 5
INVENTORY_GROUPS = 3
# A mean over n events is weighted n / (n + this), so a few events weigh less than hundreds.
_AFFINITY_DAMPING, _ORDER_DAMPING, _FAR_DAMPING = 10.0, 10.0, 50.0
# Pseudo-rows at the mean click rate added to each measured category.
_SHRINKAGE_ROWS = 1_000.0
_HOUR_EFFECT, _HOUR_PEAK = 0.15, 21.0
_AFFINITY_SEED, _ORDER_SEED, _FAR_SEED, _ADVERT_SEED = 20_255, 20_256, 20_257, 20_259
# Rows differ more in some tokens than in others; with this weight the main effect is half of the
# variance.
_MAIN_WEIGHT = 1.25
# Only the frequent tokens have large effects.
_FREQUENT_TOKENS, _RARE_EFFECT = 40, 0.2
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
_PRODUCT, _PRODUCT_EFFECT = ("l_feat_11", "l_feat_15"), 5.0
# The block of 77 columns lacks feat_a_1, too.
_MISSING_EFFECT = {"feat_a_1": -0.5, "feat_e_3": 0.4}
_ADVERT_WEIGHT = {"l_feat_11": 0.5, "l_feat_12": 0.4, "l_feat_14": 0.8}

_PILOT_ROWS, _PILOT_LENGTH, _PILOT_SEED = 20_000, 500.0, 20_253
_INTERCEPT_PILOTS, _PAIRINGS = 2, 5


def categories(columns: Columns, sequences: Ragged) -> Floats32:
    """Gender, age group, inventory, day, and a wave over the hours, each by itself."""
    names = ("gender", "age_group", "inventory_id", "day_of_week")
    hour = np.arange(len(category_values("hour")))
    wave = _HOUR_EFFECT * np.cos(2.0 * np.pi * (hour - _HOUR_PEAK) / 24.0)
    effects = [_category_log_odds(name)[columns[name]] for name in names]
    return np.sum([*effects, wave.astype(np.float32)[columns["hour"]]], axis=0)


@cache
def _category_log_odds(column: str) -> Floats32:
    """Log-odds against the mean by code, the last entry (code -1) for missing values.

    Rates of rare values are shrunk to the mean by pseudo-rows.
    """
    statistics, mean = load_statistics(), load_statistics()["click_rate"]
    measured = statistics["categories"][column]
    shares = {**measured["shares"], "null": measured["null"]}
    rows = np.array(list(shares.values())) * statistics["category_rows"]
    rate = np.array([measured["click_rate"].get(value, mean) for value in shares])
    rate = (rate * rows + mean * _SHRINKAGE_ROWS) / (rows + _SHRINKAGE_ROWS)
    return (np.log(rate / (1.0 - rate)) - np.log(mean / (1.0 - mean))).astype(np.float32)


def numerics(columns: Columns, sequences: Ragged) -> Floats32:
    """Linear in six base numerics and two history columns, plus a product of two base numerics."""
    effects = [np.float32(x) * _scaled(columns, name) for name, x in _NUMERIC_EFFECT.items()]
    left, right = (_scaled(columns, name) - np.float32(0.5) for name in _PRODUCT)
    return np.sum([*effects, np.float32(_PRODUCT_EFFECT) * left * right], axis=0)


def _scaled(columns: Columns, column: str) -> Floats32:
    """A numeric column over its full range, 0 to 1; missing values are 0, as for a model."""
    if column.startswith("history_"):
        low, high = 0.0, load_statistics()["history"][column]["scale"]
    else:
        quantiles = load_statistics()["numeric"][column]["quantiles"]
        low, high = quantiles[0], quantiles[-1]
    return np.nan_to_num((columns[column] - np.float32(low)) / np.float32(high - low))


def missing(columns: Columns, sequences: Ragged) -> Floats32:
    """An effect of the missing blocks, besides those of a missing gender or age group."""
    effects = [np.float32(x) * np.isnan(columns[name]) for name, x in _MISSING_EFFECT.items()]
    return np.sum(effects, axis=0)


def adverts(columns: Columns, sequences: Ragged) -> Floats32:
    """An effect of each campaign, creative and ad set, whose IDs are categories, not numbers.

    Nothing can be learned of IDs that are new in the test file.
    """
    effects = _advert_effects().items()
    return np.sum([effect_N[columns[name].astype(np.int64)] for name, effect_N in effects], axis=0)


@cache
def _advert_effects() -> dict[str, Floats32]:
    """The effect of each ID, [N + 1], by column."""
    rng, counts = np.random.default_rng(_ADVERT_SEED), load_statistics()["ids"]
    return {
        name: (weight * rng.standard_normal(counts[name] + 1)).astype(np.float32)
        for name, weight in _ADVERT_WEIGHT.items()
    }


def affinity(columns: Columns, sequences: Ragged) -> Floats32:
    """Mean over the newest 150 events of a[inventory group, token], the newest 50 weighing more.

    Half of its variance is a main effect of the token, which pooling the history reveals; the other
    half differs by inventory, and takes a crossing of token and target.
    """
    recent_RW = _window(sequences, RECENT_EVENTS)
    weight_W = np.ones(RECENT_EVENTS, dtype=np.float32)
    weight_W[:NEWEST_EVENTS] = NEWEST_WEIGHT
    weight_R = (recent_RW < len(token_shares())) @ weight_W
    effect_GV = _affinity_effects()
    group_R = columns["inventory_id"].astype(np.int64) % len(effect_GV)
    sum_R = effect_GV.reshape(-1)[recent_RW + (group_R * effect_GV.shape[1])[:, None]] @ weight_W
    return (sum_R / (weight_R + np.float32(_AFFINITY_DAMPING))).astype(np.float32)


@cache
def _affinity_effects() -> Floats32:
    """a[group, token], [G, V + 1]; inventories belong to groups in turn, by frequency."""
    rng = np.random.default_rng(_AFFINITY_SEED)
    main_V = _MAIN_WEIGHT * rng.standard_normal(len(token_shares()))
    group_GV = rng.standard_normal((INVENTORY_GROUPS, len(main_V)))
    return _token_effects(main_V + group_GV - group_GV.mean(axis=0))


def order(columns: Columns, sequences: Ragged) -> Floats32:
    """Among the newest 50 events: how often group X precedes group Y, less the reverse.

    Per pair, from -1 to 1, damped where there are few pairs. The bag of events says nothing about
    it: a model must see positions.
    """
    sign_RW = order_groups()[_window(sequences, NEWEST_EVENTS)]
    x_RW, y_RW = (sign_RW > 0).astype(np.float32), (sign_RW < 0).astype(np.float32)
    # The window runs from new to old: a sum up to a position counts the events after it.
    x_first_R = np.einsum("rw,rw->r", x_RW, np.cumsum(y_RW, axis=1))
    y_first_R = np.einsum("rw,rw->r", y_RW, np.cumsum(x_RW, axis=1))
    return (x_first_R - y_first_R) / (x_first_R + y_first_R + np.float32(_ORDER_DAMPING))


@cache
def order_groups() -> NDArray[np.int8]:
    """1 for tokens of group X, -1 for group Y, 0 for the others and padding, [V + 1]."""
    rng = np.random.default_rng(_ORDER_SEED)
    sign_V = np.zeros(len(token_shares()) + 1, dtype=np.int8)
    # Tokens are in pairs of like frequency: one goes to X, the other to Y.
    for first in range(0, 24, 2):
        sign_V[first : first + 2] = rng.permutation([1, -1])
    return sign_V


def far(columns: Columns, sequences: Ragged) -> Floats32:
    """Mean of b[token] over the events 151 to 500 positions back; 0 where there are fewer than 5.

    b has nothing in common with the effects of `affinity`. A model of max_len 150 has no
    positions for these events; it sees them in sums of whole histories alone.
    """
    ends = sequences.offsets[1:] - RECENT_EVENTS
    starts = np.maximum(sequences.offsets[:-1], sequences.offsets[1:] - FAR_LIMIT)
    result = np.zeros(len(ends), dtype=np.float32)
    rows = np.flatnonzero(ends - starts >= FAR_LEAST)
    if len(rows):
        bounds = np.stack([starts[rows], ends[rows]], axis=1).reshape(-1)
        sums = np.add.reduceat(_far_effects()[sequences.values], bounds)[::2]
        result[rows] = sums / (ends - starts + np.float32(_FAR_DAMPING))[rows]
    return result


@cache
def _far_effects() -> Floats32:
    """b[token], [V + 1]."""
    rng = np.random.default_rng(_FAR_SEED)
    return _token_effects(rng.standard_normal((1, len(token_shares()))))[0]


def _token_effects(effect_GV: Floats) -> Floats32:
    """Effects [G, V + 1] of mean 0 over token shares; padding, the last token, has none."""
    is_frequent = np.arange(effect_GV.shape[1]) < _FREQUENT_TOKENS
    effect_GV = np.where(is_frequent, 1.0, _RARE_EFFECT) * effect_GV
    effect_GV = effect_GV - (effect_GV @ token_shares())[:, None]
    return np.pad(effect_GV, ((0, 0), (0, 1))).astype(np.float32)


def _window(sequences: Ragged, events: int) -> NDArray[np.int64]:
    """The newest `events` tokens of each row, [R, W], newest first; V stands for padding."""
    age_W = np.arange(events)
    place_RW = sequences.offsets[1:, None] - 1 - age_W
    is_outside_RW = age_W >= sequences.lengths[:, None]
    place_RW[is_outside_RW] = 0
    token_RW = sequences.values[place_RW].astype(np.int64)
    token_RW[is_outside_RW] = len(token_shares())
    return token_RW


COMPONENTS: Mapping[str, Callable[[Columns, Ragged], Floats32]] = {
    function.__name__: function
    for function in (categories, numerics, missing, adverts, affinity, order, far)
}


@cache
def _scales() -> Mapping[str, tuple[float, float]]:
    """The mean of each component on the pilot sample, and the factor that gives it its strength."""
    scales, pilot = {}, _pilot(_PILOT_LENGTH, 0)
    for name, component in COMPONENTS.items():
        value = component(*pilot).astype(np.float64)
        scales[name] = value.mean(), STRENGTH[name] / value.std() if name in STRENGTH else 1.0
    return scales


def components(columns: Columns, sequences: Ragged) -> dict[str, Floats32]:
    """Each component in log-odds, [R], by name."""
    return {
        name: np.float32(scale) * (COMPONENTS[name](columns, sequences) - np.float32(mean))
        for name, (mean, scale) in _scales().items()
    }


def click_logit(columns: Columns, sequences: Ragged, mean_length: float) -> Floats32:
    """The log-odds of a click without the user's part, [R]."""
    values = components(columns, sequences).values()
    return intercept(mean_length) + np.sum(list(values), axis=0)


def user_part(users: Users) -> Floats:
    """What a user adds to the log-odds, [R]."""
    return USER_STRENGTH * normal(users, Draw.CLICKS)


def mean_over_users(logit: Floats32 | Floats) -> Floats:
    """The mean click probability over all users' parts, same shape."""
    return np.interp(logit, *_mean_table())


@cache
def _mean_table() -> tuple[Floats, Floats]:
    grid = np.arange(-30.0, 20.0, 0.01)
    node, weight = np.polynomial.hermite_e.hermegauss(40)
    return grid, logistic(grid[:, None] + USER_STRENGTH * node) @ (weight / weight.sum())


@cache
def intercept(mean_length: float) -> float:
    """The intercept that gives the measured click rate at this mean length."""
    logits: list[Floats32] = []
    for number in range(1, 1 + _INTERCEPT_PILOTS):
        values = components(*_pilot(mean_length, number))
        # The numerics are independent of all others, so they may be paired with any row.
        numeric_R = values.pop("numerics")
        other_R = np.sum(list(values.values()), axis=0)
        shifts = range(0, _PILOT_ROWS, _PILOT_ROWS // _PAIRINGS)
        logits.extend(other_R + np.roll(numeric_R, shift) for shift in shifts)
    logit, low, high = np.concatenate(logits), -20.0, 10.0
    for _ in range(30):
        middle = (low + high) / 2
        too_high = mean_over_users(middle + logit).mean() > load_statistics()["click_rate"]
        low, high = (low, middle) if too_high else (middle, high)
    return (low + high) / 2


def _pilot(mean_length: float, number: int) -> tuple[Columns, Ragged]:
    rng = np.random.default_rng([_PILOT_SEED, number])
    users = strangers(_PILOT_SEED + number, _PILOT_ROWS)
    day = train_day(np.arange(_PILOT_ROWS), _PILOT_ROWS)
    return draw_columns(rng, users, day), draw_sequences(users, mean_length)
