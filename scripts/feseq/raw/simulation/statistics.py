"""The measured marginal statistics of the real files, and the small mathematics they need."""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FILE = Path(__file__).with_name("statistics.json")


@lru_cache(maxsize=1)
def load_statistics() -> Mapping[str, Any]:
    """Return `statistics.json`; its key `what` says on which rows each number was measured."""
    statistics: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return statistics


def train_columns() -> list[str]:
    """Return the 119 column names of the train file, in file order."""
    return list(load_statistics()["column_order"])


def test_columns() -> list[str]:
    """Return the 118 column names of the test file: `ID` comes first, there is no `clicked`."""
    return ["ID", *(name for name in train_columns() if name != "clicked")]


def numeric_columns() -> list[str]:
    """Return the 75 numeric columns whose quantiles are known, in file order."""
    return list(load_statistics()["numeric"])


def history_columns() -> list[str]:
    """Return the 37 `history_*` columns, in file order."""
    return [name for name in train_columns() if name.startswith("history_")]


def missing_share(column: str) -> float:
    """Return the share of missing values of a column in the whole file."""
    rows = load_statistics()["missing"]["file_rows"]
    block = missing_block(column)
    return float(rows[block] / rows["all"]) if block else 0.0


def sample_missing_share(column: str) -> float:
    """Return the share of missing values in the rows that the quantiles were measured on."""
    block = missing_block(column)
    return float(load_statistics()["missing"]["sample_shares"][block]) if block else 0.0


def missing_block(column: str) -> str | None:
    """Return the name of the columns that lack a value in the same rows; None: it never does.

    That of 77 columns, `shared`, has gender, age group and all `history_*`.
    """
    if column in load_statistics()["missing"]["never_missing"]:
        return None
    if column.startswith("feat_a_"):
        return "feat_a"
    return column if column == "feat_e_3" else "shared"


def normal_distribution(score: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the standard normal distribution function, to four decimals or better."""
    grid, level = _normal_table()
    return np.interp(score, grid, level)


def normal_quantile(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard normal number below which a share `level` lies, within -6 and 6."""
    grid, levels = _normal_table()
    return np.interp(level, levels, grid)


@lru_cache(maxsize=1)
def _normal_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    grid = np.linspace(-6.0, 6.0, 2401)
    level = np.array([0.5 * (1.0 + math.erf(x / math.sqrt(2.0))) for x in grid])
    return grid, level


def logistic(logit: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-logit)) without overflow, same shape."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logit, dtype=np.float64)))
