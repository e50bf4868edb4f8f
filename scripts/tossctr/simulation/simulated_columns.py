"""Every column but the sequence: categories, adverts, numbers of a user, and history columns.

Columns by name, each [R]: codes into `category_values` (int8, -1 missing) or numbers (float32, NaN
missing) until they are written, where both become parquet nulls.

A user keeps gender, age group, what is missing, and the numbers that are neither an advert's nor a
history's, except feat_e_3, which also depends on the row's inventory. Two hidden scores of a user,
normal numbers, tie columns to clicks: LENGTH to the sequence, RATE to the history columns.

Legend: R rows of the chunk, C columns, U columns of a user.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .adverts import (
    ADVERT_COLUMNS,
    CALENDAR_DAYS,
    OWN_INVENTORY,
    Days,
    draw_adverts,
    own_inventory_share,
)
from .statistics import (
    Floats,
    Floats32,
    category_values,
    copula_factor,
    load_statistics,
    missing_shares,
    normal_distribution,
    product,
    quantile_function,
)
from .users import Draw, Users, normals, uniform

Columns = Mapping[str, NDArray[Any]]

CATEGORIES = ("gender", "age_group", "inventory_id", "day_of_week", "hour")
TEST_DAY = CALENDAR_DAYS - 1
# The hidden scores are sums of a user's column scores and of a number of their own, of variance 1,
# so that the published correlations of lengths and clicks with these columns come out.
_SCORES = {
    "LENGTH": {"feat_b_3": 0.65, "noise": 0.7599},
    "RATE": {
        "LENGTH": -0.15,
        "feat_d_3": -0.3,
        "feat_b_4": -0.25,
        "feat_e_1": -0.35,
        "noise": 0.4526,
    },
}
# How far feat_e_3 is higher in rows of the inventory that has adverts of its own.
_SHIFT_OF_FEAT_E_3 = 1.5


def train_day(row: NDArray[np.int64], total_rows: int) -> Days:
    """The calendar day 0..6 of these train rows: the file is sorted by day.

    Each day has, on average, as many rows without a click as any other, and its clicks.
    """
    rate = np.array(list(load_statistics()["categories"]["day_of_week"]["click_rate"].values()))
    upper = np.cumsum(1.0 / (1.0 - rate))
    return np.searchsorted(upper / upper[-1] * total_rows, row + 0.5).astype(np.int8)


def draw_columns(rng: np.random.Generator, users: Users, day: Days) -> Columns:
    """Draw all columns of rows of these users on these calendar days, 0 to 7, but the sequence.

    Beside the file's columns there are `calendar_day`, and the score `LENGTH` that
    `draw_sequences` reads. A user misses the same columns in all rows: one uniform number decides
    for all columns, which are missing in blocks.
    """
    level = {"gender": uniform(users, Draw.GENDER), "age_group": uniform(users, Draw.AGE_GROUP)}
    level |= {name: rng.random(len(users)) for name in ("inventory_id", "hour")}
    columns: dict[str, NDArray[Any]] = {name: _category(name, level[name]) for name in level}
    # The test file's day has the name of the last train day.
    columns["day_of_week"] = np.minimum(day, TEST_DAY - 1)
    columns["calendar_day"] = day
    inventory = columns["inventory_id"]
    columns |= draw_adverts(rng.random(len(users)), has_own_adverts(inventory), day)
    scores = _user_scores(users)
    columns["LENGTH"] = scores["LENGTH"]
    columns |= _user_numbers(scores, has_own_adverts(inventory))
    columns |= _draw_history(rng, scores, len(users))
    missing_level = uniform(users, Draw.MISSING)
    for name in load_statistics()["column_order"]:
        if name in columns and missing_shares(name)[0]:
            is_missing = missing_level < missing_shares(name)[0]
            columns[name][is_missing] = -1 if name in CATEGORIES else np.nan
    return columns


def has_own_adverts(inventory: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Where the row's inventory is 36, whose adverts are in no other, [R]."""
    return inventory == category_values("inventory_id").index(OWN_INVENTORY)


def as_arrow(columns: Columns) -> dict[str, pa.Array]:
    """The columns as the file holds them, missing values as null."""
    arrays = {}
    for name in columns.keys() & load_statistics()["column_order"]:
        if name in CATEGORIES:
            words = pa.array(category_values(name))
            arrays[name] = words.take(pa.array(columns[name], mask=columns[name] < 0))
        else:
            arrays[name] = pa.array(columns[name], from_pandas=True)
    return arrays


def _category(column: str, level: Floats) -> NDArray[np.int8]:
    upper = np.cumsum(np.array(list(load_statistics()["categories"][column]["shares"].values())))
    return np.searchsorted(upper[:-1], level * upper[-1], side="right").astype(np.int8)


@cache
def user_columns() -> list[str]:
    """The numeric columns drawn from the user's scores, [U]; feat_e_3 alone differs by row."""
    return [name for name in load_statistics()["numeric"] if name not in ADVERT_COLUMNS]


def _user_scores(users: Users) -> dict[str, Floats32]:
    """Normal scores of each of a user's columns, and of LENGTH and RATE, by name."""
    factor_UU, names = copula_factor(tuple(user_columns())), user_columns()
    normal_UR = normals(users, len(names) + 2)
    scores = dict(zip(names, product(factor_UU, normal_UR[:-2]), strict=True))
    for (score, loadings), noise_R in zip(_SCORES.items(), normal_UR[-2:], strict=True):
        values = scores | {"noise": noise_R}
        scores[score] = np.sum([np.float32(x) * values[name] for name, x in loadings.items()], 0)
    return scores


def _user_numbers(
    scores: Mapping[str, Floats32], is_own_inventory: NDArray[np.bool_]
) -> dict[str, Floats32]:
    """The columns of `user_columns`, of the measured quantiles and rank correlations."""
    drawn = {}
    for column in user_columns():
        level_R = normal_distribution(scores[column])
        if column == "feat_e_3":
            share = own_inventory_share()
            shifted_R = scores[column] + np.where(is_own_inventory, _SHIFT_OF_FEAT_E_3, 0.0)
            level_R = (1.0 - share) * normal_distribution(shifted_R)
            level_R += share * normal_distribution(shifted_R - _SHIFT_OF_FEAT_E_3)
        drawn[column] = quantile_function(column)(level_R).astype(np.float32)
    return drawn


def _draw_history(
    rng: np.random.Generator, scores: Mapping[str, Floats32], rows: int
) -> dict[str, Floats32]:
    """The history columns: of a user's past click rate, and of its volume.

    history_b_3 to 30 are k / D of one row times the column's constant: k clicks, mostly one, in D
    events of the past. In `statistics.json` each column begins with its score, rate or length, and
    with the loading that ties it to this.
    """
    history = load_statistics()["history"]
    score_of = {"rate": scores["RATE"], "length": scores["LENGTH"]}
    noise = {name: rng.standard_normal(rows, dtype=np.float32) for name in "abcdl"}
    drawn: dict[str, Floats32] = {}
    for column, (score, loading, kind, *values) in history["values"].items():
        noise_R = np.sqrt(1.0 - loading**2) * noise[kind]
        level_R = normal_distribution(loading * score_of[score] + noise_R)
        value_R = _history_quantiles(level_R, values)
        value_R[level_R < history["zero_share"].get(column, 0.0)] = 0.0
        drawn[column] = value_R.astype(np.float32)
    loading, kind, *values = history["past_rate"]
    noise_R = np.sqrt(1.0 - loading**2) * noise[kind]
    level_R = normal_distribution(loading * scores["RATE"] + noise_R)
    clicks_R = 1 + (rng.random(rows) < 0.15)
    past_R = clicks_R / np.rint(clicks_R / _history_quantiles(level_R, values))
    for column, constant in history["past_rate_columns"].items():
        drawn[column] = (constant * past_R).astype(np.float32)
    return drawn


def _history_quantiles(level_R: Floats, values: list[float]) -> Floats:
    """Values at levels, [R], on a logarithmic scale between the published quantiles.

    The last of these, the file's largest values, are each of one row in ten million. Between them
    and the .999 quantile, a tenth of the rows is a step.
    """

    def stretched(level: Floats) -> Floats:
        return level + np.maximum(0.0, -np.log10(np.maximum(1.0 - level, 1e-7)) - 3.0)

    levels = stretched(np.array(load_statistics()["history"]["levels"]))
    logs = np.log(np.abs(values))
    return np.sign(values[-1]) * np.exp(np.interp(stretched(level_R), levels, logs))
