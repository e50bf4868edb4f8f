"""Published statistics of the real files and fitted effects (`statistics.json`), and their use."""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
# Columns with at most this many distinct values are drawn from a grid.
_GRID_DISTINCT = 160


@cache
def load_statistics() -> Mapping[str, Any]:
    """The content of `statistics.json`; key `what` describes the rows of each measurement."""
    return json.loads(Path(__file__).with_name("statistics.json").read_text(encoding="utf-8"))


def missing_shares(column: str) -> tuple[float, float]:
    """A column's missing share in the real file, and in the sample that gave its quantiles.

    Columns of a block are missing in the same rows. There are three blocks: the 18 `feat_a_*`;
    feat_e_3 alone; and 77 others, such as gender and all `history_*`.
    """
    missing = load_statistics()["missing"]
    if column in missing["never_missing"]:
        return 0.0, 0.0
    block = "feat_a" if column.startswith("feat_a_") else "shared"
    block = column if column == "feat_e_3" else block
    rows = missing["file_rows"]
    return rows[block] / rows["all"], float(missing["sample_shares"][block])


def category_values(column: str) -> list[str]:
    """The strings of a categorical column; a code is an index into this list."""
    return list(load_statistics()["categories"][column]["shares"])


def click_rate() -> float:
    """The click rate of the real train rows."""
    rows = load_statistics()["rows"]
    return float(rows["clicks"] / rows["train"])


@cache
def category_log_odds(column: str) -> Floats32:
    """The log-odds of a click for each of `category_values`, minus the log-odds of all rows.

    The last number, 0, is for missing values.
    """
    rates = load_statistics()["categories"][column]["click_rate"].values()
    rate = np.array([*rates, click_rate()])
    log_odds = np.log(rate / (1.0 - rate))
    return (log_odds - log_odds[-1]).astype(np.float32)


@cache
def normal_table() -> tuple[Floats, Floats]:
    """A grid from -6 to 6, and the standard normal distribution function at its points."""
    grid = np.linspace(-6.0, 6.0, 2401)
    return grid, np.array([0.5 * (1.0 + math.erf(x / math.sqrt(2.0))) for x in grid])


def normal_cdf(score: NDArray[np.floating]) -> Floats:
    """The standard normal distribution function at each `score`, accurate to four decimals."""
    return np.interp(score, *normal_table())


def logistic(logit: NDArray[np.floating]) -> Floats:
    """1 / (1 + exp(-logit)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logit, dtype=np.float64)))


@cache
def copula_factor(columns: tuple[str, ...]) -> Floats32:
    """A matrix [columns, columns] that gives normal numbers the rank correlations of `columns`.

    Its product with independent normal numbers has the measured rank correlations. A normal pair
    with correlation 2 sin(pi r / 6) has rank correlation r. The matrix of these correlations may
    not be positive definite, so negative eigenvalues become 0, and the diagonal is rescaled to 1.
    """
    index = [list(load_statistics()["numeric"]).index(column) for column in columns]
    rank_correlation = np.array(load_statistics()["rank_correlation"], dtype=np.float64)
    latent = 2.0 * np.sin(np.pi / 6.0 * rank_correlation[np.ix_(index, index)])
    np.fill_diagonal(latent, 1.0)
    eigenvalue, eigenvector = np.linalg.eigh(latent)
    factor = eigenvector * np.sqrt(eigenvalue.clip(min=0.0))
    factor /= np.sqrt((factor**2).sum(axis=1, keepdims=True))
    # The last bits of an eigenvector depend on the processor.
    return factor.round(6).astype(np.float32)


def ordered_dot(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """left @ right, [A, B] @ [B, R], with a fixed order of summation over B.

    In BLAS, the order depends on the processor and on the index in R, so equal columns of `right`
    can give unequal results.
    """
    total = np.zeros((len(left), right.shape[1]), np.result_type(left, right))
    for left_A, right_R in zip(left.T, right, strict=True):
        total += left_A[:, None] * right_R
    return total


@cache
def quantile_function(column: str) -> Callable[[Floats], Floats]:
    """The quantile function of a numeric column's values that are not missing.

    The published quantiles count missing values as zeros. The function skips these zeros.
    """
    measured = load_statistics()["numeric"][column]
    level = np.array(load_statistics()["quantile_levels"], dtype=np.float64)
    value = np.array(measured["quantiles"], dtype=np.float64)
    missing = missing_shares(column)[1]
    zero_share = max(float(measured["zero_share"]), missing)
    # Quantiles are 0 between the levels zero_from and zero_to; the first stand for missing values.
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

    def inverse_cdf(uniform: Floats) -> Floats:
        at = uniform * (1.0 - missing)
        at = np.where(at >= zero_from, at + missing, at)
        result = np.interp(at, level, value)
        if grid is not None:
            result = grid[np.searchsorted((grid[1:] + grid[:-1]) / 2, result)]
        elif is_integer:
            result = np.rint(result)
        return np.where((at >= zero_from) & (at < zero_to), 0.0, result)

    return inverse_cdf


def _grid(value: Floats, distinct: int, has_zeros: bool, is_integer: bool) -> Floats | None:
    """The nonzero values of a column with few `distinct` values: evenly spaced; else None.

    Each measured nonzero quantile in `value` replaces the nearest grid value.
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
        index = np.argmin(np.where(free, np.abs(grid - measured), np.inf))
        grid[index], free[index] = measured, False
    return np.unique(grid)
