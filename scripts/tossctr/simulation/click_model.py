"""The true click model: logit = intercept + the sum of strength x effect over `EFFECTS`.

Each effect is a function of a row's columns, history and day, which a model can learn. Each user
also has a random effect. Only the user's other rows, which have the same sequence, reveal it.

Some effects are log-odds in `statistics.json`, which `benchmarks/twin.py --solve` fits to the
published click rates. The strengths of the others were tuned until models had about the same scores
as on the real rows. The seed in the config changes the rows, but not the effects.

Shape legend: R rows, V tokens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.arrays import Ragged
from .sequences import REAL_MEAN, draw_sequences, token_shares, vocabulary
from .simulated_columns import (
    AD_SET,
    ADVERT_COLUMNS,
    CAMPAIGN,
    CATEGORIES,
    CREATIVE,
    ColumnArrays,
    Days,
    draw_columns,
    numeric_user_columns,
)
from .statistics import (
    Floats,
    Floats32,
    category_log_odds,
    category_values,
    load_statistics,
    logistic,
    ordered_dot,
    quantile_function,
)
from .users import Draw, Users, normal

USER_STRENGTH = 0.5
# Of forty seeds, the one that best reproduces the published correlations with clicks.
_RULES_SEED = 20_267
_SEED = 20_255
# Of eight seeds, the one whose days are about equally hard to predict.
_ADVERTS_SEED = 20_263
# A mean over n events is multiplied by n / (n + _DAMPING * mean length).
_DAMPING = 0.05
# The median of history_a_1; above this log ratio to the median, the effect is half as steep.
_USUAL_RATE, _HIGH_RATE = 0.05, 1.2
_RULES, _CONDITIONS, _MIN_SHARE = 80, 4, 0.01


@dataclass(frozen=True)
class RowInputs:
    """What click probabilities depend on; `mean_length` is the config's mean history length."""

    columns: ColumnArrays
    sequences: Ragged
    mean_length: float


def draw_rows(rng: np.random.Generator, users: Users, day: Days, mean_length: float) -> RowInputs:
    """Draw the columns and history of one row per user; `day` has the rows' calendar days, 0-7."""
    columns = draw_columns(rng, users, day)
    return RowInputs(columns, draw_sequences(users, columns["LENGTH"], mean_length), mean_length)


def _value(column: str, rows: RowInputs) -> Floats32:
    """The log-odds in `statistics.json` of each row's value of a categorical column, [R]."""
    return _log_odds_by_value(column)[rows.columns[column]]


@cache
def _log_odds_by_value(name: str) -> Floats32:
    """The log-odds of each value in `statistics.json`, then 0 for missing values."""
    return np.array([*load_statistics()["effects"][name], 0.0], dtype=np.float32)


def missing_block_index(columns: ColumnArrays) -> NDArray[np.int8]:
    """The blocks of columns that are missing in each row, int8 [rows], except feat_e_3.

    0     77 columns, such as gender and history_*, and feat_a_*
    1     feat_a_*
    -1    none
    """
    shared = columns["gender"] < 0
    return np.where(shared, 0, np.where(np.isnan(columns["feat_a_1"]), 1, -1)).astype(np.int8)


def last_token_index(sequences: Ragged) -> NDArray[np.int8]:
    """The index of each row's newest event in `last_token_click_rate` of statistics.json, or -1."""
    published = load_statistics()["sequence"]["last_token_click_rate"]
    index_V = np.full(len(vocabulary()), -1, dtype=np.int8)
    for index, code in enumerate(published):
        index_V[vocabulary().index(code)] = index
    return index_V[sequences.values[sequences.offsets[1:] - 1]]


def _length(rows: RowInputs) -> Floats32:
    """The log-odds of the history's length, interpolated in log length at `length_knots`."""
    scaled = np.log(rows.sequences.lengths * (REAL_MEAN / rows.mean_length))
    return np.interp(scaled, length_knots(), _log_odds_by_value("length")[:-1]).astype(np.float32)


def length_intervals() -> Floats:
    """The intervals of history lengths with published click rates, [intervals, 2]: first, last."""
    spans = load_statistics()["sequence"]["click_rate_by_length"]
    return np.array([span.split("-") for span in spans], dtype=np.float64)


@cache
def length_knots() -> Floats:
    """The log of the geometric mean of the two ends of each of `length_intervals`."""
    return np.log(length_intervals()).mean(axis=1)


def _rate(rows: RowInputs) -> Floats32:
    """The log ratio of the past click rate, history_a_1, to its median; half as steep if high."""
    rate = np.nan_to_num(rows.columns["history_a_1"], nan=_USUAL_RATE)
    log_rate = np.log(rate) - np.float32(np.log(_USUAL_RATE))
    return log_rate - np.float32(0.5) * np.maximum(log_rate - np.float32(_HIGH_RATE), 0)


def _rate_by_inventory(rows: RowInputs) -> Floats32:
    """The effect `_rate` times the inventory's log-odds."""
    return _rate(rows) * category_log_odds("inventory_id")[rows.columns["inventory_id"]]


def _pairs(rows: RowInputs) -> Floats32:
    """Random effects of the pairs of inventory with age group, gender and hour."""
    effect = np.zeros(len(rows.columns["hour"]), dtype=np.float32)
    for index, (other, weight) in enumerate((("age_group", 0.7), ("gender", 0.5), ("hour", 0.5))):
        sizes = [len(category_values(name)) + 1 for name in ("inventory_id", other)]
        cells = np.random.default_rng([_SEED, index]).standard_normal(sizes).astype(np.float32)
        cells *= np.float32(weight)
        effect += cells[rows.columns["inventory_id"], rows.columns[other]]
    return effect


def _rules(rows: RowInputs) -> Floats32:
    """The sum of the weights of the rules that hold; a rule compares columns with thresholds.

    A rule that rarely holds has a large weight, so that models improve with more train rows.
    """
    effect = np.zeros(len(rows.columns["hour"]), dtype=np.float32)
    for weight, conditions in _drawn_rules():
        holds: Any = True
        for column, threshold, is_above in conditions:
            holds = holds & ((rows.columns[column] > threshold) == is_above)
        effect += np.float32(weight) * holds
    return effect


@cache
def _drawn_rules() -> list[tuple[float, list[tuple[str, float, bool]]]]:
    """The weight and (column, threshold, is_above) conditions of rules of similar variance."""
    rng = np.random.default_rng(_RULES_SEED)
    names = [name for name in [*numeric_user_columns(), *ADVERT_COLUMNS] if _splits(name)]
    names += 3 * ["inventory_id", "age_group", "hour"]
    rules: list[tuple[float, list[tuple[str, float, bool]]]] = []
    while len(rules) < _RULES:
        conditions, share = [], 1.0
        for column in rng.choice(names, rng.integers(1, _CONDITIONS + 1), replace=False):
            threshold, above = _splits(column)[rng.integers(len(_splits(column)))]
            is_above = bool(rng.random() < 0.5)
            conditions.append((str(column), threshold, is_above))
            share *= above if is_above else 1.0 - above
        if share < _MIN_SHARE:
            continue
        weight = rng.standard_normal() / np.sqrt(_RULES * share * (1.0 - share))
        rules.append((float(abs(weight) if share < 0.2 else weight), conditions))
    return rules


@cache
def _splits(column: str) -> list[tuple[float, float]]:
    """Pairs (threshold, share of rows above it) of a column, with shares from 15 to 85 %."""
    if column in CATEGORIES:
        share = np.array(list(load_statistics()["categories"][column]["shares"].values()))
        thresholds = np.arange(len(share))
        above = 1.0 - np.cumsum(share) / share.sum()
    else:
        value = quantile_function(column)(np.linspace(0.0, 1.0, 401))
        thresholds = np.unique(np.quantile(value, np.linspace(0.1, 0.9, 9), method="lower"))
        above = (value > thresholds[:, None]).mean(axis=1)
    pairs = zip(thresholds, above, strict=True)
    return [(float(value), float(share)) for value, share in pairs if 0.15 < share < 0.85]


def _adverts(rows: RowInputs) -> Floats32:
    """Random effects of campaign, ad set and creative, learnable only from their train rows."""
    effect = np.zeros(len(rows.columns["hour"]), dtype=np.float32)
    for index, (column, weight) in enumerate(((CAMPAIGN, 0.5), (AD_SET, 0.7), (CREATIVE, 0.5))):
        rng = np.random.default_rng([_ADVERTS_SEED, index])
        number = rng.standard_normal(load_statistics()["ids"][column] + 1).astype(np.float32)
        effect += np.float32(weight) * number[rows.columns[column].astype(np.int64)]
    return effect


def _events(rows: RowInputs) -> Floats32:
    """The damped mean over the history of a random effect of each token."""
    number_V = np.random.default_rng(_SEED + 4).standard_normal(len(vocabulary()))
    number_V = (number_V - number_V @ token_shares()).astype(np.float32)
    sums = np.add.reduceat(number_V[rows.sequences.values], rows.sequences.offsets[:-1])
    damping = _DAMPING * rows.mean_length
    return (sums / (rows.sequences.lengths + np.float32(damping))).astype(np.float32)


# The function and strength of each effect, by name.
EFFECTS: Mapping[str, tuple[Callable[[RowInputs], Floats32], float]] = {
    **{
        name: (partial(_value, name), 1.0)
        for name in ("gender", "age_group", "inventory_id", "hour")
    },
    "day": (lambda rows: _log_odds_by_value("day")[rows.columns["calendar_day"]], 1.0),
    "missing": (lambda rows: _log_odds_by_value("missing")[missing_block_index(rows.columns)], 1.0),
    "last": (lambda rows: _log_odds_by_value("last")[last_token_index(rows.sequences)], 1.0),
    "length": (_length, 1.0),
    "rate": (_rate, 0.63),
    "rate by inventory": (_rate_by_inventory, 0.9),
    "pairs": (_pairs, 0.44),
    "rules": (_rules, 0.5),
    "adverts": (_adverts, 0.36),
    "events": (_events, 0.3),
}


def effect_values(rows: RowInputs) -> dict[str, Floats32]:
    """What each effect adds to the log-odds of a click, float32 [rows], by the effect's name."""
    return {name: np.float32(strength) * of(rows) for name, (of, strength) in EFFECTS.items()}


def click_logit(rows: RowInputs) -> Floats32:
    """The log-odds of a click in each row, float32 [rows], without the random effect of users."""
    values = effect_values(rows).values()
    return np.float32(load_statistics()["effects"]["intercept"]) + np.sum(list(values), axis=0)


def user_effect(users: Users) -> Floats:
    """The random effect of each row's user on the log-odds of a click, [rows]."""
    return USER_STRENGTH * normal(users, Draw.CLICKS)


def mean_click_probability(logit: Floats32 | Floats) -> Floats:
    """Each row's click probability, averaged over the user effects that `logit` leaves out."""
    return np.interp(logit, *_mean_table())


@cache
def _mean_table() -> tuple[Floats, Floats]:
    grid = np.arange(-30.0, 20.0, 0.01)
    node, weight = np.polynomial.hermite_e.hermegauss(40)
    at_node = logistic(grid + USER_STRENGTH * node[:, None])
    return grid, ordered_dot((weight / weight.sum())[None], at_node)[0]
