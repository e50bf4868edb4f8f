"""Draws all columns except the sequence: categories, adverts, user columns and history columns.

Each column is an array [R]: codes into `category_values` (int8, -1 if missing) or numbers (float32,
NaN if missing). In the file, missing values are nulls.

All rows of a user have the same gender, age group, missing columns and user columns (feat_e_3 also
depends on the inventory). Adverts and history columns differ by row. Two latent normal scores of a
user relate columns to clicks: LENGTH through the sequence, RATE through the history columns.

Each creative belongs to one ad set, and each ad set to one campaign; ad sets have lifetimes.
Adverts do not depend on the seed in the config. Over all rows, IDs and attributes of adverts have
the measured quantiles.

Shape legend: R rows of the chunk, A creatives, C columns, U user columns.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .statistics import (
    Floats,
    Floats32,
    category_values,
    copula_factor,
    load_statistics,
    missing_shares,
    normal_cdf,
    ordered_dot,
    quantile_function,
)
from .users import Draw, Users, standard_normals, uniform

ColumnArrays = Mapping[str, NDArray[Any]]
Days = NDArray[np.int8]

CATEGORIES = ("gender", "age_group", "inventory_id", "day_of_week", "hour")
# Days 0 to 6 are the train file's, day 7 is the test file's.
CALENDAR_DAYS = 8
CAMPAIGN, AD_SET, CREATIVE = "l_feat_11", "l_feat_14", "l_feat_12"
# The level (campaign, ad set or creative) that determines each advert column.
ADVERT_COLUMNS = {
    CAMPAIGN: CAMPAIGN,
    **dict.fromkeys(
        ("l_feat_1", "l_feat_4", "l_feat_9", "l_feat_10", "l_feat_13", AD_SET, "l_feat_15"), AD_SET
    ),
    **dict.fromkeys(("l_feat_3", "l_feat_5", "l_feat_6", "l_feat_7", CREATIVE), CREATIVE),
    # l_feat_16 is 3 - l_feat_1; l_feat_17 equals l_feat_9.
    **dict.fromkeys(("l_feat_16", "l_feat_17"), AD_SET),
}
# Invented lifetime and popularity of adverts; with these, a day has about 850 ad sets.
_MEAN_LIFE_DAYS = 2.5
_LOG_POPULARITY = 1.2
# Tail index of group sizes: 1.6 creatives per ad set (max 158), 2.1 ad sets per campaign (max 125).
_TAIL_INDEX = 1.1
# The inventory whose adverts are in no other inventory.
EXCLUSIVE_INVENTORY = "36"
_WORLD_SEED = 20_258
TEST_DAY = CALENDAR_DAYS - 1
# The weights of column scores and noise in the latent scores, which have variance 1. They reproduce
# the published correlations of lengths and clicks with these columns.
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
# Added to the score of feat_e_3 in rows of EXCLUSIVE_INVENTORY.
_SHIFT_OF_FEAT_E_3 = 1.5


def day_of(row: NDArray[np.int64], total_rows: int) -> Days:
    """The calendar day, 0 to 6, of the train rows numbered `row`, in a file sorted by day.

    Days have equally many negatives on average, and different click rates.
    """
    rate = np.array(list(load_statistics()["categories"]["day_of_week"]["click_rate"].values()))
    upper = np.cumsum(1.0 / (1.0 - rate))
    return np.searchsorted(upper / upper[-1] * total_rows, row + 0.5).astype(np.int8)


def draw_columns(rng: np.random.Generator, users: Users, day: Days) -> ColumnArrays:
    """Draw all columns except the sequence, for one row per user, on the days `day`, 0 to 7.

    The result also has the column `calendar_day`, and the column `LENGTH`, a standard normal number
    from which `draw_sequences` makes the sequence's length.
    """
    level = {"gender": uniform(users, Draw.GENDER), "age_group": uniform(users, Draw.AGE_GROUP)}
    level |= {name: rng.random(len(users)) for name in ("inventory_id", "hour")}
    columns: dict[str, NDArray[Any]] = {name: _category(name, level[name]) for name in level}
    # The test file's day has the name of the last train day.
    columns["day_of_week"] = np.minimum(day, TEST_DAY - 1)
    columns["calendar_day"] = day
    exclusive = category_values("inventory_id").index(EXCLUSIVE_INVENTORY)
    is_exclusive = columns["inventory_id"] == exclusive
    columns |= _draw_adverts(rng.random(len(users)), is_exclusive, day)
    scores = _user_scores(users)
    columns["LENGTH"] = scores["LENGTH"]
    columns |= _user_numbers(scores, is_exclusive)
    columns |= _draw_history(rng, scores, len(users))
    missing_level = uniform(users, Draw.MISSING)
    for name in load_statistics()["column_order"]:
        if name in columns and missing_shares(name)[0]:
            is_missing = missing_level < missing_shares(name)[0]
            columns[name][is_missing] = -1 if name in CATEGORIES else np.nan
    return columns


def as_arrow(columns: ColumnArrays) -> dict[str, pa.Array]:
    """The columns as Arrow arrays for the file; missing values are null."""
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
def numeric_user_columns() -> list[str]:
    """The numeric columns of a user; only feat_e_3 varies between the rows of one user."""
    return [name for name in load_statistics()["numeric"] if name not in ADVERT_COLUMNS]


def _user_scores(users: Users) -> dict[str, Floats32]:
    """Normal scores [R] of all user columns, LENGTH and RATE, by name."""
    factor_UU, names = copula_factor(tuple(numeric_user_columns())), numeric_user_columns()
    normal_UR = standard_normals(users, len(names) + 2)
    scores = dict(zip(names, ordered_dot(factor_UU, normal_UR[:-2]), strict=True))
    for (score, loadings), noise_R in zip(_SCORES.items(), normal_UR[-2:], strict=True):
        values = scores | {"noise": noise_R}
        scores[score] = np.sum([np.float32(x) * values[name] for name, x in loadings.items()], 0)
    return scores


def _user_numbers(
    scores: Mapping[str, Floats32], is_exclusive: NDArray[np.bool_]
) -> dict[str, Floats32]:
    """The values of `numeric_user_columns`, with the measured quantiles and rank correlations."""
    drawn = {}
    for column in numeric_user_columns():
        level_R = normal_cdf(scores[column])
        if column == "feat_e_3":
            share = _exclusive_share()
            shifted_R = scores[column] + np.where(is_exclusive, _SHIFT_OF_FEAT_E_3, 0.0)
            level_R = (1.0 - share) * normal_cdf(shifted_R)
            level_R += share * normal_cdf(shifted_R - _SHIFT_OF_FEAT_E_3)
        drawn[column] = quantile_function(column)(level_R).astype(np.float32)
    return drawn


def _draw_history(
    rng: np.random.Generator, scores: Mapping[str, Floats32], rows: int
) -> dict[str, Floats32]:
    """The history columns, which describe a user's past click rate and volume.

    history_b_3 to 30 are a constant times k / D: k clicks, mostly one, in D past events.
    """
    history = load_statistics()["history"]
    score_of = {"rate": scores["RATE"], "length": scores["LENGTH"]}
    noise = {name: rng.standard_normal(rows, dtype=np.float32) for name in "abcdl"}
    drawn: dict[str, Floats32] = {}
    for column, (score, loading, kind, *values) in history["values"].items():
        noise_R = np.sqrt(1.0 - loading**2) * noise[kind]
        level_R = normal_cdf(loading * score_of[score] + noise_R)
        value_R = _quantiles_at(level_R, values)
        value_R[level_R < history["zero_share"].get(column, 0.0)] = 0.0
        drawn[column] = value_R.astype(np.float32)
    loading, kind, *values = history["past_rate"]
    noise_R = np.sqrt(1.0 - loading**2) * noise[kind]
    level_R = normal_cdf(loading * scores["RATE"] + noise_R)
    clicks_R = 1 + (rng.random(rows) < 0.15)
    past_R = clicks_R / np.rint(clicks_R / _quantiles_at(level_R, values))
    for column, constant in history["past_rate_columns"].items():
        drawn[column] = (constant * past_R).astype(np.float32)
    return drawn


def _quantiles_at(level_R: Floats, values: list[float]) -> Floats:
    """A history column's quantiles at levels 0 to 1, [R], from `values`, the published quantiles.

    The last quantile is the maximum in ten million rows. From the .999 quantile to the maximum,
    levels are on a logarithmic scale of the share of rows above.
    """

    def stretched(level: Floats) -> Floats:
        return level + np.maximum(0.0, -np.log10(np.maximum(1.0 - level, 1e-7)) - 3.0)

    levels = stretched(np.array(load_statistics()["history"]["levels"]))
    logs = np.log(np.abs(values))
    return np.sign(values[-1]) * np.exp(np.interp(stretched(level_R), levels, logs))


def _draw_adverts(level: Floats, is_exclusive: NDArray[np.bool_], day: Days) -> dict[str, Floats32]:
    """The advert columns, drawn by the uniform number `level` of each row, [R]."""
    creative_R = np.empty(len(level), dtype=np.int64)
    for today in np.unique(day):
        for has_exclusive in (False, True):
            rows = np.flatnonzero((day == today) & (is_exclusive == has_exclusive))
            ids, upper = _adverts_of_day(int(today), has_exclusive)
            creative_R[rows] = ids[np.searchsorted(upper[:-1], level[rows], side="right")]
    return {column: value_A[creative_R] for column, value_A in _advert_table().items()}


@cache
def _levels() -> Mapping[str, NDArray[np.int64]]:
    """The index of each creative's campaign, ad set and creative, [A]."""
    rng, counts = np.random.default_rng(_WORLD_SEED), load_statistics()["ids"]

    def group_of_member(members: int, groups: int) -> NDArray[np.int64]:
        """Draw each member's group index; no group is empty."""
        weight = rng.pareto(_TAIL_INDEX, groups) + 0.2
        more = rng.choice(groups, members - groups, p=weight / weight.sum())
        return np.concatenate([np.arange(groups), more])

    ad_set_A = group_of_member(counts[CREATIVE], counts[AD_SET])
    campaign_A = group_of_member(counts[AD_SET], counts[CAMPAIGN])[ad_set_A]
    return {CAMPAIGN: campaign_A, AD_SET: ad_set_A, CREATIVE: np.arange(counts[CREATIVE])}


@cache
def _scores() -> Mapping[str, Floats]:
    """Normal scores [A] of the creatives, by column; equal in each group of the column's level."""
    from_level = {CAMPAIGN: (1.0, 0.0, 0.0), AD_SET: (0.6, 0.4, 0.0), CREATIVE: (0.5, 0.3, 0.2)}
    rng, levels = np.random.default_rng(_WORLD_SEED + 1), _levels()
    names = tuple(ADVERT_COLUMNS)
    factor = copula_factor(names).astype(np.float64)
    normal = [rng.standard_normal((len(names), group.max() + 1)) for group in levels.values()]
    part = [x[:, group] for x, group in zip(normal, levels.values(), strict=True)]
    score = {
        level: ordered_dot(factor, sum(np.sqrt(w) * x for w, x in zip(weights, part, strict=True)))
        for level, weights in from_level.items()
    }
    return {name: score[ADVERT_COLUMNS[name]][index] for index, name in enumerate(names)}


@cache
def _weights() -> Floats:
    """The share of each creative in the rows of each day, [days, A].

    They are scaled iteratively to the measured share of the exclusive inventory and ID quantiles.
    """
    rng, levels = np.random.default_rng(_WORLD_SEED + 2), _levels()
    creatives, ad_sets = len(levels[CREATIVE]), levels[AD_SET].max() + 1
    is_old = rng.random(ad_sets) < _MEAN_LIFE_DAYS / (_MEAN_LIFE_DAYS + CALENDAR_DAYS - 1)
    born = np.where(is_old, 0, rng.integers(1, CALENDAR_DAYS, ad_sets))[levels[AD_SET]]
    dies = born + rng.geometric(1.0 / _MEAN_LIFE_DAYS, ad_sets)[levels[AD_SET]]
    popularity = np.exp(_LOG_POPULARITY * rng.standard_normal(creatives))
    share = _exclusive_share()
    spans = [_spans(name) for name in (CREATIVE, AD_SET, CAMPAIGN)]
    spans.append((_is_exclusive().astype(np.int64), np.array([1.0 - share, share])))
    days = []
    for day in range(CALENDAR_DAYS):
        weight = popularity * ((born <= day) & (day < dies))
        for _ in range(60):
            for span, wanted in spans:
                there = np.bincount(span, weight, len(wanted))
                weight = weight * np.divide(wanted, there, where=there > 0, out=0 * there)[span]
        days.append(weight / weight.sum())
    return np.array(days)


@cache
def _is_exclusive() -> NDArray[np.bool_]:
    """True for creatives of the exclusive inventory, [A]; they have l_feat_1 = 1."""
    score = _scores()["l_feat_1"]
    return np.asarray(score < np.quantile(score, _exclusive_share()))


def _exclusive_share() -> float:
    """The share of the exclusive inventory in the rows."""
    return float(load_statistics()["categories"]["inventory_id"]["shares"][EXCLUSIVE_INVENTORY])


def _ids(column: str) -> NDArray[np.int64]:
    """The ID of each creative's group in `column`, [A]: groups are numbered from 1 by score."""
    group, score = _levels()[column], _scores()[column]
    first = np.unique(group, return_index=True)[1]
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(score[first])] = np.arange(1, len(first) + 1)
    return rank[group]


def _spans(column: str) -> tuple[NDArray[np.int64], Floats]:
    """The quantile interval of each creative's ID, [A], and the share of rows of each interval."""
    level = np.array(load_statistics()["quantile_levels"])
    # The extreme quantiles are inaccurate; the IDs run from 1 to their count.
    inner = np.array(load_statistics()["numeric"][column]["quantiles"][1:-1])
    return np.searchsorted(inner, _ids(column)), np.diff(level)


@cache
def _adverts_of_day(day: int, is_exclusive: bool) -> tuple[NDArray[np.int64], Floats]:
    """A day's creatives in or outside the exclusive inventory, and their cumulative shares."""
    weight = np.where(_is_exclusive() == is_exclusive, _weights()[day], 0.0)
    ids = np.flatnonzero(weight)
    upper = np.cumsum(weight[ids])
    return ids, upper / upper[-1]


@cache
def _advert_table() -> Mapping[str, Floats32]:
    """The value of each advert column for each creative, [A]."""
    weight = _weights().mean(axis=0)
    table: dict[str, NDArray[np.floating]] = {}
    for column, level in ADVERT_COLUMNS.items():
        if column in load_statistics()["ids"]:
            table[column] = _ids(column).astype(np.float64)
            continue
        score, group = _scores()[column], _levels()[level]
        first = np.unique(group, return_index=True)[1]
        order = first[np.argsort(score[first], kind="stable")]
        mass = np.bincount(group, weight)[group[order]]
        middle = np.empty(len(first))
        middle[group[order]] = np.cumsum(mass) - mass / 2.0
        table[column] = quantile_function(column)(middle[group])
    table["l_feat_1"] = 2.0 - _is_exclusive()
    table["l_feat_16"] = 3.0 - table["l_feat_1"]
    table["l_feat_17"] = table["l_feat_9"]
    return {column: value.astype(np.float32) for column, value in table.items()}
