"""Every column but the sequence: categories, numerics and history columns.

Legend: R rows of the chunk, C columns. Missing values are NaN in numeric arrays and -1 in
category codes until they are written, where both become parquet nulls.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .advert_ids import CALENDAR_DAYS, advert_ids
from .drawn_users import Draw, Users
from .statistics import (
    history_columns,
    load_statistics,
    logistic,
    missing_share,
    normal_distribution,
    numeric_columns,
    sample_missing_share,
)

Uniform = NDArray[np.float64]

CATEGORIES = ("gender", "age_group", "inventory_id", "day_of_week", "hour")
TEST_DAY = CALENDAR_DAYS - 1  # the calendar day after those of the train file, 0 to 6
# Columns of up to this many distinct values have a grid of them.
_GRID_DISTINCT = 160
# The history columns have no published quantiles: the shape below is invented, once for all seeds.
_HISTORY_SEED = 20_251
_HISTORY_FACTOR = {"history_a_": 0.6, "history_b_": 0.9}
# history_b_3 to 30 are nearly one and the same.
_ALIKE = tuple(f"history_b_{number}" for number in range(3, 31))
_ALIKE_FACTOR = 0.9985


@dataclass(frozen=True)
class DrawnColumns:
    """The drawn columns of one chunk."""

    category: dict[str, NDArray[np.int8]]  # codes into category_values(name), [R]; -1 missing
    numeric: dict[str, NDArray[np.float32]]  # raw values, [R]; NaN missing

    @property
    def rows(self) -> int:
        """Return the number of rows, R."""
        return len(self.category["hour"])

    def arrays(self) -> dict[str, pa.Array]:
        """Return the columns as the file holds them, missing values as null."""
        arrays: dict[str, pa.Array] = {}
        for name, code in self.category.items():
            indices = pa.array(code, mask=code < 0)
            words = pa.DictionaryArray.from_arrays(indices, pa.array(category_values(name)))
            arrays[name] = words.cast(pa.string())
        for name, value in self.numeric.items():
            arrays[name] = pa.array(value, from_pandas=True)
        return arrays


def category_values(column: str) -> list[str]:
    """Return the strings of a category; a code is an index into this list."""
    return list(load_statistics()["categories"][column]["shares"])


def draw_columns(rng: np.random.Generator, users: Users, day: NDArray[np.int8]) -> DrawnColumns:
    """Draw all columns of rows of these users on these calendar days, 0 to 7, but the sequence.

    A user has one gender and age group, and misses the same columns in all rows. In the real file
    they are missing in blocks, so one uniform number per user decides for all columns: one with a
    larger missing share adds users.
    """
    missing_level = users.uniform(Draw.MISSING)
    uniform = {
        "gender": users.uniform(Draw.GENDER),
        "age_group": users.uniform(Draw.AGE_GROUP),
        "inventory_id": rng.random(len(users)),
        "hour": rng.random(len(users)),
    }
    category = {name: _category(name, level) for name, level in uniform.items()}
    for name in ("gender", "age_group"):
        category[name][missing_level < missing_share(name)] = -1
    # The test file's day has the name of the last train day.
    category["day_of_week"] = np.minimum(day, TEST_DAY - 1)
    numeric = _draw_numerics(rng, day) | _draw_history(rng, len(users))
    for name, value_R in numeric.items():
        value_R[missing_level < missing_share(name)] = np.nan
    numeric["l_feat_17"] = numeric["l_feat_9"]
    numeric["l_feat_16"] = 1 + (numeric["l_feat_3"] == 1).astype(np.float32)
    return DrawnColumns(category, numeric)


def train_day(first_row: int, rows: int, total_rows: int) -> NDArray[np.int8]:
    """Return the calendar day 0..6 of train rows `first_row`, ...: the file is sorted by day.

    Each day has, on average, as many rows without a click as any other, and its clicks.
    """
    rate = np.array(list(load_statistics()["categories"]["day_of_week"]["click_rate"].values()))
    upper = np.cumsum(1.0 / (1.0 - rate))
    row = np.arange(first_row, first_row + rows, dtype=np.int64)
    return np.searchsorted(upper / upper[-1] * total_rows, row + 0.5).astype(np.int8)


def _category(column: str, uniform: Uniform) -> NDArray[np.int8]:
    upper = np.cumsum(np.array(list(load_statistics()["categories"][column]["shares"].values())))
    code = np.searchsorted(upper[:-1], uniform * upper[-1], side="right")
    return code.astype(np.int8)


@dataclass(frozen=True)
class QuantileFunction:
    """The inverse distribution function of one numeric column.

    The published quantiles and zero shares count a missing value as 0. Zeros occupy the levels
    [zero_from, zero_to]; the first `missing` of them are the missing values, which no observed
    value may take again.
    """

    level: NDArray[np.float64]
    value: NDArray[np.float64]
    zero_from: float
    zero_to: float
    missing: float
    is_integer: bool
    grid: NDArray[np.float64] | None  # all values but 0; None: a continuum

    @classmethod
    def from_statistics(cls, column: str) -> "QuantileFunction":
        """Build the function of a column from the quantiles of `statistics.json`."""
        statistics = load_statistics()
        measured = statistics["numeric"][column]
        level = np.array(statistics["quantile_levels"], dtype=np.float64)
        value = np.array(measured["quantiles"], dtype=np.float64)
        missing = sample_missing_share(column)
        zero_share = max(float(measured["zero_share"]), missing)
        negative = float(np.interp(0.0, value, level)) - zero_share / 2
        if value[0] >= 0.0:
            negative = 0.0
        elif value[-1] <= 0.0:
            negative = 1.0 - zero_share
        zero_from, zero_to = max(negative, 0.0), min(max(negative, 0.0) + zero_share, 1.0)
        keep = (value != 0.0) & np.where(value < 0.0, level <= zero_from, level >= zero_to)
        level, value = level[keep], value[keep]
        has_zeros = zero_share > missing
        is_integer = column.startswith("l_feat_")
        grid = _grid(value, measured["distinct"], has_zeros, is_integer)
        if has_zeros:
            level = np.concatenate([level, [zero_from, zero_to]])
            value = np.concatenate([value, [0.0, 0.0]])
            order = np.lexsort((value, level))
            level, value = level[order], value[order]
        return cls(level, value, zero_from, zero_to, missing, is_integer, grid)

    def __call__(self, uniform: Uniform) -> NDArray[np.float64]:
        """Return observed values for uniform numbers in [0, 1], same shape."""
        level = uniform * (1.0 - self.missing)
        level = np.where(level >= self.zero_from, level + self.missing, level)
        value = np.interp(level, self.level, self.value)
        if self.grid is not None:
            value = self.grid[np.searchsorted((self.grid[1:] + self.grid[:-1]) / 2, value)]
        elif self.is_integer:
            # A value that merely rounds to 0 would add to the zero share: it becomes 1 or -1.
            value = np.where(np.rint(value) == 0.0, np.sign(value), np.rint(value))
        return np.where((level >= self.zero_from) & (level < self.zero_to), 0.0, value)


def _grid(
    value: NDArray[np.float64], distinct: int, has_zeros: bool, is_integer: bool
) -> NDArray[np.float64] | None:
    """Return the values of a column that has few, 0 apart: as many as the file's, evenly spaced.

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
        grid[place] = measured
        free[place] = False
    return np.unique(grid)


@lru_cache(maxsize=1)
def quantile_functions() -> dict[str, QuantileFunction]:
    """Return the inverse distribution function of each of the 75 numeric columns."""
    return {name: QuantileFunction.from_statistics(name) for name in numeric_columns()}


@lru_cache(maxsize=1)
def _copula_factor() -> NDArray[np.float32]:
    """Return A, [C, C], such that A·normal has the latent correlation of the rank correlation.

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


def _draw_numerics(
    rng: np.random.Generator, day: NDArray[np.int8]
) -> dict[str, NDArray[np.float32]]:
    factor_CC = _copula_factor()
    normal_CR = rng.standard_normal((len(factor_CC), len(day)), dtype=np.float32)
    score_CR = factor_CC @ normal_CR
    drawn = {}
    for score_R, (column, quantile) in zip(score_CR, quantile_functions().items(), strict=True):
        level_R = normal_distribution(score_R)
        ids = advert_ids().get(column)
        drawn[column] = ids(level_R, day) if ids else quantile(level_R).astype(np.float32)
    return drawn


@dataclass(frozen=True)
class HistoryShape:
    """An invented history column: scale · logistic(spread · latent normal score + shift)."""

    scale: float
    spread: float
    shift: float
    zero_share: float


@lru_cache(maxsize=1)
def history_shapes() -> dict[str, HistoryShape]:
    """Return the invented shape of each history column.

    Only zero shares, the order of magnitude (0.0545) and that history_b_3 to 30 correlate at .995
    and more are published. The logistic curve keeps the columns inside (0, scale), so that min-max
    scaling does not crush them.
    """
    rng = np.random.default_rng(_HISTORY_SEED)
    zero_share = load_statistics()["history_zero_share"]
    shapes = {
        name: HistoryShape(
            scale=float(np.exp(rng.normal(-2.0 if name.startswith("history_b_") else -0.5, 0.4))),
            spread=float(rng.uniform(0.6, 1.0)),
            shift=float(rng.normal(-0.4, 0.3)),
            zero_share=float(zero_share.get(name, 0.0)),
        )
        for name in history_columns()
    }
    first = shapes[_ALIKE[0]]
    alike = {name: replace(first, scale=shapes[name].scale) for name in _ALIKE}
    return shapes | alike


def _draw_history(rng: np.random.Generator, rows: int) -> dict[str, NDArray[np.float32]]:
    factor_R = rng.standard_normal(rows, dtype=np.float32)
    drawn = {}
    for column, shape in history_shapes().items():
        alike = column in _ALIKE
        loading = _ALIKE_FACTOR if alike else _HISTORY_FACTOR[column[: len("history_a_")]]
        own_R = rng.standard_normal(rows, dtype=np.float32)
        score_R = loading * factor_R + np.float32(np.sqrt(1.0 - loading**2)) * own_R
        positive_R = shape.scale * logistic(shape.spread * score_R + shape.shift)
        value_R = positive_R.astype(np.float32)
        if shape.zero_share > 0.0:
            value_R[normal_distribution(score_R) < shape.zero_share] = 0.0
        drawn[column] = value_R
    return drawn
