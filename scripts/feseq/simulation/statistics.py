"""The measured marginal statistics of the real files, and the small mathematics they need."""

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@cache
def load_statistics() -> Mapping[str, Any]:
    """`statistics.json`; its key `what` says on which rows each number was measured."""
    path = Path(__file__).with_name("statistics.json")
    statistics: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return statistics


def missing_shares(column: str) -> tuple[float, float]:
    """A column's share of missing values in the file, and in the rows of the quantiles.

    Columns lack a value in the same rows, block by block: the 18 `feat_a_*`; feat_e_3; and 77 that
    have gender, age group and all `history_*` among them.
    """
    missing = load_statistics()["missing"]
    if column in missing["never_missing"]:
        return 0.0, 0.0
    block = "feat_a" if column.startswith("feat_a_") else "shared"
    block = column if column == "feat_e_3" else block
    rows = missing["file_rows"]
    return rows[block] / rows["all"], float(missing["sample_shares"][block])


def category_values(column: str) -> list[str]:
    """The strings of a category; a code is an index into this list."""
    return list(load_statistics()["categories"][column]["shares"])


@cache
def _normal_table() -> tuple[Floats, Floats]:
    grid = np.linspace(-6.0, 6.0, 2401)
    return grid, np.array([0.5 * (1.0 + math.erf(x / math.sqrt(2.0))) for x in grid])


def normal_distribution(score: NDArray[np.floating]) -> Floats:
    """The standard normal distribution function, to four decimals or better."""
    return np.interp(score, *_normal_table())


def normal_quantile(level: Floats) -> Floats:
    """The standard normal number below which a share `level` lies, within -6 and 6."""
    return np.interp(level, *_normal_table()[::-1])


def logistic(logit: NDArray[np.floating]) -> Floats:
    """1 / (1 + exp(-logit)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logit, dtype=np.float64)))
