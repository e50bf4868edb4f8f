"""Every column but the sequence: categories, numerics, advert IDs and history columns.

Columns by name, each [R]: codes into `category_values` (int8, -1 missing) or numbers (float32, NaN
missing) until they are written, where both become parquet nulls.

Legend: R rows of the chunk, C columns.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .statistics import (
    Floats,
    category_values,
    load_statistics,
    logistic,
    missing_shares,
    normal_distribution,
)
from .users import Draw, Users, uniform

Columns = Mapping[str, NDArray[Any]]
Days = NDArray[np.int8]

CATEGORIES = ("gender", "age_group", "inventory_id", "day_of_week", "hour")
# The days of the train file, 0 to 6, and the day after them, which is the test file's.
CALENDAR_DAYS = 8
TEST_DAY = CALENDAR_DAYS - 1
# Advert IDs (campaign, creative, ad set) come and go. How long they live and how unlike their
# popularity is are invented: a day's rows fall on some hundreds of the IDs.
_MEAN_LIFE_DAYS = 4.0
_LOG_POPULARITY = 1.2
_ADVERT_SEED = 20_258
# Columns of up to this many distinct values have a grid of them.
_GRID_DISTINCT = 160


def train_day(row: NDArray[np.int64], total_rows: int) -> Days:
    """The calendar day 0..6 of these train rows: the file is sorted by day.

    Each day has, on average, as many rows without a click as any other, and its clicks.
    """
    rate = np.array(list(load_statistics()["categories"]["day_of_week"]["click_rate"].values()))
    upper = np.cumsum(1.0 / (1.0 - rate))
    return np.searchsorted(upper / upper[-1] * total_rows, row + 0.5).astype(np.int8)


def draw_columns(rng: np.random.Generator, users: Users, day: Days) -> Columns:
    """Draw all columns of rows of these users on these calendar days, 0 to 7, but the sequence.

    A user has one gender and age group, and misses the same columns in all rows: one uniform number
    decides for all columns, which are missing in blocks.
    """
    level = {"gender": uniform(users, Draw.GENDER), "age_group": uniform(users, Draw.AGE_GROUP)}
    level |= {name: rng.random(len(users)) for name in ("inventory_id", "hour")}
    columns: dict[str, NDArray[Any]] = {name: _category(name, level[name]) for name in level}
    # The test file's day has the name of the last train day.
    columns["day_of_week"] = np.minimum(day, TEST_DAY - 1)
    columns |= _draw_numerics(rng, day) | _draw_history(rng, len(users))
    missing_level = uniform(users, Draw.MISSING)
    for name, value_R in columns.items():
        if name not in ("inventory_id", "day_of_week", "hour"):
            is_missing = missing_level < missing_shares(name)[0]
            value_R[is_missing] = -1 if name in CATEGORIES else np.nan
    columns["l_feat_17"] = columns["l_feat_9"]
    columns["l_feat_16"] = 1 + (columns["l_feat_3"] == 1).astype(np.float32)
    return columns


def as_arrow(columns: Columns) -> dict[str, pa.Array]:
    """The columns as the file holds them, missing values as null."""
    arrays = {}
    for name, value in columns.items():
        if name in CATEGORIES:
            words = pa.array(category_values(name))
            arrays[name] = words.take(pa.array(value, mask=value < 0))
        else:
            arrays[name] = pa.array(value, from_pandas=True)
    return arrays


def _category(column: str, level: Floats) -> NDArray[np.int8]:
    upper = np.cumsum(np.array(list(load_statistics()["categories"][column]["shares"].values())))
    return np.searchsorted(upper[:-1], level * upper[-1], side="right").astype(np.int8)


def _draw_numerics(rng: np.random.Generator, day: Days) -> dict[str, NDArray[np.float32]]:
    """The 75 numeric columns, of the measured quantiles and rank correlations."""
    factor_CC = _copula_factor()
    score_CR = factor_CC @ rng.standard_normal((len(factor_CC), len(day)), dtype=np.float32)
    drawn = {}
    for column, score_R in zip(load_statistics()["numeric"], score_CR, strict=True):
        level_R = normal_distribution(score_R)
        if column in load_statistics()["ids"]:
            drawn[column] = _draw_ids(column, level_R, day)
        else:
            drawn[column] = quantile_function(column)(level_R).astype(np.float32)
    return drawn


@cache
def _copula_factor() -> NDArray[np.float32]:
    """A, [C, C], such that A·normal has the latent correlation of the rank correlation.

    A normal pair of correlation 2 sin(pi r / 6) has rank correlation r. The matrix of these need
    not be positive definite: negative eigenvalues become 0 and the diagonal 1 again.
    """
    rank_correlation = np.array(load_statistics()["rank_correlation"], dtype=np.float64)
    latent = 2.0 * np.sin(np.pi / 6.0 * (rank_correlation + rank_correlation.T) / 2.0)
    np.fill_diagonal(latent, 1.0)
    eigenvalue, eigenvector = np.linalg.eigh(latent)
    factor = eigenvector * np.sqrt(eigenvalue.clip(min=0.0))
    factor /= np.sqrt((factor**2).sum(axis=1, keepdims=True))
    return factor.astype(np.float32)


@cache
def quantile_function(column: str) -> Callable[[Floats], Floats]:
    """The inverse distribution function of the observed values of a numeric column.

    The published quantiles and zero shares count a missing value as 0. Zeros occupy the levels
    `zero_from` to `zero_to`; the first of them are the missing values, which no observed value may
    take again.
    """
    measured = load_statistics()["numeric"][column]
    level = np.array(load_statistics()["quantile_levels"], dtype=np.float64)
    value = np.array(measured["quantiles"], dtype=np.float64)
    missing = missing_shares(column)[1]
    zero_share = max(float(measured["zero_share"]), missing)
    zero_from = max(float(np.interp(0.0, value, level)) - zero_share / 2, 0.0)
    if value[0] >= 0.0 or value[-1] <= 0.0:
        zero_from = 0.0 if value[0] >= 0.0 else 1.0 - zero_share
    zero_to = min(zero_from + zero_share, 1.0)
    keep = (value != 0.0) & np.where(value < 0.0, level <= zero_from, level >= zero_to)
    level, value = level[keep], value[keep]
    has_zeros, is_integer = zero_share > missing, column.startswith("l_feat_")
    grid = _grid(value, measured["distinct"], has_zeros, is_integer)
    if has_zeros:
        level, value = np.append(level, [zero_from, zero_to]), np.append(value, [0.0, 0.0])
        order = np.lexsort((value, level))
        level, value = level[order], value[order]

    def observed(uniform: Floats) -> Floats:
        at = uniform * (1.0 - missing)
        at = np.where(at >= zero_from, at + missing, at)
        result = np.interp(at, level, value)
        if grid is not None:
            result = grid[np.searchsorted((grid[1:] + grid[:-1]) / 2, result)]
        elif is_integer:
            result = np.rint(result)
        return np.where((at >= zero_from) & (at < zero_to), 0.0, result)

    return observed


def _grid(value: Floats, distinct: int, has_zeros: bool, is_integer: bool) -> Floats | None:
    """All values but 0 of a column that has few: as many as in the file, evenly spaced.

    The measured quantiles, `value` without 0, take the place of the nearest of them.
    """
    if distinct > _GRID_DISTINCT:
        return None
    ends = [*value, 0.0] if has_zeros else value
    grid = np.linspace(min(ends), max(ends), distinct)
    if has_zeros:
        grid = np.delete(grid, np.argmin(np.abs(grid)))
    grid = np.rint(grid) if is_integer else grid
    free = np.ones(len(grid), dtype=bool)
    for measured in np.unique(value)[: len(grid)]:
        place = np.argmin(np.where(free, np.abs(grid - measured), np.inf))
        grid[place], free[place] = measured, False
    return np.unique(grid)


def _draw_ids(column: str, level: Floats, day: Days) -> NDArray[np.float32]:
    """The advert ID at each level of the day's distribution, [R]."""
    drawn = np.empty(len(level), dtype=np.float32)
    for today in np.unique(day):
        rows, (ids, upper) = day == today, advert_ids(column)[today]
        drawn[rows] = ids[np.searchsorted(upper[:-1], level[rows], side="right")]
    return drawn


@cache
def advert_ids(column: str) -> list[tuple[NDArray[np.float32], Floats]]:
    """The IDs of each day, rising, and the level up to which each of them is drawn.

    Each ID has a life and a popularity; each day keeps the measured quantiles exactly.
    """
    count = load_statistics()["ids"][column]
    rng = np.random.default_rng([_ADVERT_SEED, count])
    level = np.array(load_statistics()["quantile_levels"])
    # The ends were measured on few rows: the file's IDs run from 1 to their number.
    edge = np.array([1.0, *load_statistics()["numeric"][column]["quantiles"][1:-1], count])
    ids = np.arange(1, count + 1)
    is_old = rng.random(count) < _MEAN_LIFE_DAYS / (_MEAN_LIFE_DAYS + CALENDAR_DAYS - 1)
    born = np.where(is_old, 0, rng.integers(1, CALENDAR_DAYS, count))
    dies = born + rng.geometric(1.0 / _MEAN_LIFE_DAYS, count)
    always = np.isin(ids, np.rint(edge))
    popularity = np.exp(_LOG_POPULARITY * rng.standard_normal(count))
    span = np.searchsorted(edge[1:-1], ids)  # between which two quantiles an ID lies
    days = []
    for day in range(CALENDAR_DAYS):
        lives = always | ((born <= day) & (day < dies))
        weight = popularity * lives
        weight *= (np.diff(level) / np.bincount(span, weight, len(level) - 1))[span]
        days.append((ids[lives].astype(np.float32), np.cumsum(weight[lives])))
    return days


def _draw_history(rng: np.random.Generator, rows: int) -> dict[str, NDArray[np.float32]]:
    """The history columns, of the shapes in `statistics.json`: a common factor and noise.

    The logistic curve keeps a column inside (0, scale), so that min-max scaling does not crush it.
    """
    factor_R = rng.standard_normal(rows, dtype=np.float32)
    drawn = {}
    for column, shape in load_statistics()["history"].items():
        noise_R = rng.standard_normal(rows, dtype=np.float32)
        loading = shape["loading"]
        score_R = loading * factor_R + np.float32(np.sqrt(1.0 - loading**2)) * noise_R
        value_R = shape["scale"] * logistic(shape["spread"] * score_R + shape["shift"])
        value_R[normal_distribution(score_R) < shape["zero_share"]] = 0.0
        drawn[column] = value_R.astype(np.float32)
    return drawn
