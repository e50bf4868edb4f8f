"""Every column but the sequence: categories, numerics, history columns and day of week.

Legend: R rows of the chunk, C columns. Missing values are NaN in numeric arrays and -1 in
category codes until they are written, where both become parquet nulls.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .statistics import (
    history_columns,
    load_statistics,
    logistic,
    missing_share,
    normal_distribution,
    numeric_columns,
)

DRAWN_CATEGORIES = ("gender", "age_group", "inventory_id", "hour")
DAYS = 7
# Up to this many distinct values a column of fractions is a step function, not a continuum.
_STEP_DISTINCT = 12
# The history columns have no published quantiles: the shape below is invented, once for all seeds.
_HISTORY_SEED = 20_251
_HISTORY_FACTOR = {"history_a_": 0.6, "history_b_": 0.9}


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
    """Return the strings of a drawn category; a code is an index into this list."""
    return list(load_statistics()["categories"][column]["shares"])


def draw_columns(rng: np.random.Generator, rows: int) -> DrawnColumns:
    """Draw all columns of `rows` rows that depend neither on the row number nor on the sequence.

    In the real file gender, age group and most numerics are missing in the very same rows, so one
    uniform number per row decides for all of them: a column with a larger missing share adds rows.
    """
    missing_level = rng.random(rows, dtype=np.float32)
    category = {name: _draw_category(rng, name, missing_level) for name in DRAWN_CATEGORIES}
    numeric = _draw_numerics(rng, missing_level) | _draw_history(rng, missing_level)
    return DrawnColumns(category, numeric)


def day_of_week(first_row: int, rows: int, total_rows: int) -> NDArray[np.int64]:
    """Return the day 1..7 of rows `first_row`, ...: the file is sorted by day, in equal shares.

    The day is a function of the row number alone, so the chunking cannot change it.
    """
    row = np.arange(first_row, first_row + rows, dtype=np.int64)
    return 1 + row * DAYS // total_rows


def _draw_category(
    rng: np.random.Generator, column: str, missing_level: NDArray[np.float32]
) -> NDArray[np.int8]:
    statistics = load_statistics()["categories"][column]
    upper = np.cumsum(np.array(list(statistics["shares"].values())))
    draw = rng.random(len(missing_level)) * upper[-1]
    code = np.searchsorted(upper, draw, side="right").clip(max=len(upper) - 1).astype(np.int8)
    code[missing_level < statistics["null"]] = -1
    return code


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
    is_step: bool

    @classmethod
    def from_statistics(cls, column: str) -> "QuantileFunction":
        """Build the function of a column from the quantiles of `statistics.json`."""
        statistics = load_statistics()
        measured = statistics["numeric"][column]
        level = np.array(statistics["quantile_levels"], dtype=np.float64)
        value = np.array(measured["quantiles"], dtype=np.float64)
        missing = missing_share(column)
        zero_share = max(float(measured["zero_share"]), missing)
        negative = float(np.interp(0.0, value, level)) - zero_share / 2
        if value[0] >= 0.0:
            negative = 0.0
        elif value[-1] <= 0.0:
            negative = 1.0 - zero_share
        zero_from, zero_to = max(negative, 0.0), min(max(negative, 0.0) + zero_share, 1.0)
        keep = (value != 0.0) & np.where(value < 0.0, level <= zero_from, level >= zero_to)
        level, value = level[keep], value[keep]
        few = measured["distinct"] <= _STEP_DISTINCT
        # l_feat_* are integers throughout; a measured quantile may lie between two of them.
        whole = column.startswith("l_feat_") or bool(np.all(value == np.rint(value)))
        is_integer = whole and not (few and value[-1] > 12.0)
        is_step = few and not is_integer
        if zero_share > 0.0 and not is_step:
            level = np.concatenate([level, [zero_from, zero_to]])
            value = np.concatenate([value, [0.0, 0.0]])
            order = np.lexsort((value, level))
            level, value = level[order], value[order]
        return cls(level, value, zero_from, zero_to, missing, is_integer, is_step)

    def __call__(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return observed values for uniform numbers in [0, 1], same shape."""
        level = uniform * (1.0 - self.missing)
        level = np.where(level >= self.zero_from, level + self.missing, level)
        if self.is_step:
            nearest = np.searchsorted((self.level[1:] + self.level[:-1]) / 2, level)
            value = self.value[nearest]
        else:
            value = np.interp(level, self.level, self.value)
        if self.is_integer:
            # A value that merely rounds to 0 would add to the zero share: it becomes 1 or -1.
            value = np.where(np.rint(value) == 0.0, np.sign(value), np.rint(value))
        return np.where((level >= self.zero_from) & (level < self.zero_to), 0.0, value)


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
    rng: np.random.Generator, missing_level: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    factor_CC = _copula_factor()
    normal_CR = rng.standard_normal((len(factor_CC), len(missing_level)), dtype=np.float32)
    score_CR = factor_CC @ normal_CR
    drawn = {}
    for score_R, (column, quantile) in zip(score_CR, quantile_functions().items(), strict=True):
        value_R = quantile(normal_distribution(score_R)).astype(np.float32)
        value_R[missing_level < quantile.missing] = np.nan
        drawn[column] = value_R
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

    Only zero shares and the order of magnitude (0.0545) are published. The logistic curve keeps
    the columns inside (0, scale), so that min-max scaling does not crush them.
    """
    rng = np.random.default_rng(_HISTORY_SEED)
    zero_share = load_statistics()["history_zero_share"]
    return {
        name: HistoryShape(
            scale=float(np.exp(rng.normal(-2.0 if name.startswith("history_b_") else -0.5, 0.4))),
            spread=float(rng.uniform(0.6, 1.0)),
            shift=float(rng.normal(-0.4, 0.3)),
            zero_share=float(zero_share.get(name, 0.0)),
        )
        for name in history_columns()
    }


def _draw_history(
    rng: np.random.Generator, missing_level: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    rows = len(missing_level)
    factor_R = rng.standard_normal(rows, dtype=np.float32)
    drawn = {}
    for column, shape in history_shapes().items():
        loading = _HISTORY_FACTOR[column[: len("history_a_")]]
        own_R = rng.standard_normal(rows, dtype=np.float32)
        score_R = loading * factor_R + np.float32(np.sqrt(1.0 - loading**2)) * own_R
        positive_R = shape.scale * logistic(shape.spread * score_R + shape.shift)
        value_R = positive_R.astype(np.float32)
        if shape.zero_share > 0.0:
            value_R[normal_distribution(score_R) < shape.zero_share] = 0.0
        value_R[missing_level < missing_share(column)] = np.nan
        drawn[column] = value_R
    return drawn
