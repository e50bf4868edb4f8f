"""Adverts: each creative belongs to one ad set, each ad set to one campaign; they come and go.

The world's adverts are constants, not of the user's seed. IDs and attributes of an advert have the
measured quantiles over the rows.

Legend: A creatives, C columns, R rows.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .statistics import (
    Floats,
    Floats32,
    copula_factor,
    load_statistics,
    product,
    quantile_function,
)

Days = NDArray[np.int8]

# The days of the train file, 0 to 6, and the day after them, which is the test file's.
CALENDAR_DAYS = 8
CAMPAIGN, AD_SET, CREATIVE = "l_feat_11", "l_feat_14", "l_feat_12"
# Each column, and the level that determines it: campaign, ad set or creative.
ADVERT_COLUMNS = {
    CAMPAIGN: CAMPAIGN,
    **dict.fromkeys(
        ("l_feat_1", "l_feat_4", "l_feat_9", "l_feat_10", "l_feat_13", AD_SET, "l_feat_15"), AD_SET
    ),
    **dict.fromkeys(("l_feat_3", "l_feat_5", "l_feat_6", "l_feat_7", CREATIVE), CREATIVE),
    # 3 - l_feat_1, and l_feat_9 again.
    **dict.fromkeys(("l_feat_16", "l_feat_17"), AD_SET),
}
# How long adverts live, and how unlike their popularity is, are invented: a day's rows fall on
# some hundreds of ad sets.
_MEAN_LIFE_DAYS = 2.5
_LOG_POPULARITY = 1.2
# Tail index of group sizes: 1.6 creatives an ad set, 2.1 ad sets a campaign, at most 158 and 125.
_TAIL_INDEX = 1.1
OWN_INVENTORY = "36"
_SEED = 20_258


def draw_adverts(
    level: Floats, is_own_inventory: NDArray[np.bool_], day: Days
) -> dict[str, Floats32]:
    """The advert columns of rows, by a uniform number each, [R].

    `is_own_inventory` tells the rows of inventory 36, whose adverts no other inventory shows.
    """
    creative_R = np.empty(len(level), dtype=np.int64)
    for today in np.unique(day):
        for is_own in (False, True):
            rows = np.flatnonzero((day == today) & (is_own_inventory == is_own))
            ids, upper = _on_a_day(int(today), is_own)
            creative_R[rows] = ids[np.searchsorted(upper[:-1], level[rows], side="right")]
    return {column: value_A[creative_R] for column, value_A in advert_table().items()}


@cache
def _levels() -> Mapping[str, NDArray[np.int64]]:
    """The campaign, ad set and creative of each creative, from 0, [A]."""
    rng, counts = np.random.default_rng(_SEED), load_statistics()["ids"]

    def group_of_member(members: int, groups: int) -> NDArray[np.int64]:
        """The group of each member; no group is empty."""
        weight = rng.pareto(_TAIL_INDEX, groups) + 0.2
        more = rng.choice(groups, members - groups, p=weight / weight.sum())
        return np.concatenate([np.arange(groups), more])

    ad_set_A = group_of_member(counts[CREATIVE], counts[AD_SET])
    campaign_A = group_of_member(counts[AD_SET], counts[CAMPAIGN])[ad_set_A]
    return {CAMPAIGN: campaign_A, AD_SET: ad_set_A, CREATIVE: np.arange(counts[CREATIVE])}


@cache
def _scores() -> Mapping[str, Floats]:
    """A normal score of each creative by column, [A]; those of one group share their columns'."""
    from_level = {CAMPAIGN: (1.0, 0.0, 0.0), AD_SET: (0.6, 0.4, 0.0), CREATIVE: (0.5, 0.3, 0.2)}
    rng, levels = np.random.default_rng(_SEED + 1), _levels()
    names = tuple(ADVERT_COLUMNS)
    factor = copula_factor(names).astype(np.float64)
    normal = [rng.standard_normal((len(names), group.max() + 1)) for group in levels.values()]
    part = [x[:, group] for x, group in zip(normal, levels.values(), strict=True)]
    score = {
        level: product(factor, sum(np.sqrt(w) * x for w, x in zip(weights, part, strict=True)))
        for level, weights in from_level.items()
    }
    return {name: score[ADVERT_COLUMNS[name]][place] for place, name in enumerate(names)}


@cache
def _weights() -> Floats:
    """The share of each creative in the rows of each day, [days, A].

    Shares of inventory 36 and the quantiles of the three IDs are the measured ones on every day:
    they are scaled to each in turn.
    """
    rng, levels = np.random.default_rng(_SEED + 2), _levels()
    creatives, ad_sets = len(levels[CREATIVE]), levels[AD_SET].max() + 1
    is_old = rng.random(ad_sets) < _MEAN_LIFE_DAYS / (_MEAN_LIFE_DAYS + CALENDAR_DAYS - 1)
    born = np.where(is_old, 0, rng.integers(1, CALENDAR_DAYS, ad_sets))[levels[AD_SET]]
    dies = born + rng.geometric(1.0 / _MEAN_LIFE_DAYS, ad_sets)[levels[AD_SET]]
    popularity = np.exp(_LOG_POPULARITY * rng.standard_normal(creatives))
    share = own_inventory_share()
    spans = [_spans(name) for name in (CREATIVE, AD_SET, CAMPAIGN)]
    spans.append((own_adverts().astype(np.int64), np.array([1.0 - share, share])))
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
def own_adverts() -> NDArray[np.bool_]:
    """Whether a creative is shown in inventory 36 alone, [A]: its l_feat_1 is 1."""
    score = _scores()["l_feat_1"]
    return np.asarray(score < np.quantile(score, own_inventory_share()))


def own_inventory_share() -> float:
    """The share of rows of inventory 36."""
    return float(load_statistics()["categories"]["inventory_id"]["shares"][OWN_INVENTORY])


def _ids(column: str) -> NDArray[np.int64]:
    """The ID of each creative's group, 1 to their number, in the order of the score, [A]."""
    group, score = _levels()[column], _scores()[column]
    first = np.unique(group, return_index=True)[1]
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(score[first])] = np.arange(1, len(first) + 1)
    return rank[group]


def _spans(column: str) -> tuple[NDArray[np.int64], Floats]:
    """Between which two measured quantiles each creative's ID lies, [A], and what share does."""
    level = np.array(load_statistics()["quantile_levels"])
    # The ends were measured on few rows: the file's IDs run from 1 to their number.
    inner = np.array(load_statistics()["numeric"][column]["quantiles"][1:-1])
    return np.searchsorted(inner, _ids(column)), np.diff(level)


@cache
def _on_a_day(day: int, own: bool) -> tuple[NDArray[np.int64], Floats]:
    """A day's creatives, of inventory 36 or the others, and the level up to which each is drawn."""
    weight = np.where(own_adverts() == own, _weights()[day], 0.0)
    ids = np.flatnonzero(weight)
    upper = np.cumsum(weight[ids])
    return ids, upper / upper[-1]


@cache
def advert_table() -> Mapping[str, Floats32]:
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
    table["l_feat_1"] = 2.0 - own_adverts()
    table["l_feat_16"] = 3.0 - table["l_feat_1"]
    table["l_feat_17"] = table["l_feat_9"]
    return {column: value.astype(np.float32) for column, value in table.items()}
