"""Rows grouped by the values of a column and by the length of the history, and each group's AUC."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..dataset.store import H5Table
from .intervals import as_entry

# Histories of these lengths and more, up to the next, are a slice.
LENGTHS = (0, 1, 10, 20, 50, 100, 200, 500, 1000)


class Groups(NamedTuple):
    """The group of each row [rows], and the names of all groups."""

    group: np.ndarray
    names: Sequence[str]

    def take(self, rows: np.ndarray) -> "Groups":
        """Those of the rows where `rows` is true."""
        return Groups(self.group[rows], self.names)


def by_value(table: H5Table) -> dict[str, Groups]:
    """Groups of rows by the value of each categorical column."""
    groups = {}
    for column, codes in zip(table.categorical_columns, table.column("categorical").T):
        words = table.vocabulary(column)
        # Numbers first and by their value, missing last.
        order = sorted(range(len(words)), key=lambda code: (code == 0, *_by_number(words[code])))
        rank = np.empty(len(words), np.int64)
        rank[order] = np.arange(len(words))
        names = ["(missing)", *(word or "(empty)" for word in words[1:])]
        groups[column] = Groups(rank[codes], [names[code] for code in order])
    return groups


def _by_number(word: str) -> tuple[float, str]:
    try:
        number = float(word)
    except ValueError:
        number = math.inf
    return (math.inf if math.isnan(number) else number), word


def by_length(table: H5Table) -> Groups:
    """Groups of rows by the number of events in the first history."""
    lengths = table.lengths(table.sequence_columns[0])
    names = [f"{a}" if a == b - 1 else f"{a}-{b - 1}" for a, b in pairwise(LENGTHS)]
    group = np.searchsorted(LENGTHS, lengths, side="right") - 1
    return Groups(group, [*names, f"{LENGTHS[-1]}+"])


def slices_of(
    groups: Groups,
    label: np.ndarray,
    present: np.ndarray,
    found: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> list[dict[str, Any]]:
    """Rows, clicks and AUC of each group in `present`; `found` has value, low and high end."""
    rows = np.bincount(groups.group)
    clicks = np.bincount(groups.group, label)
    return [
        {
            "slice": groups.names[code],
            "rows": int(rows[code]),
            "clicks": int(clicks[code]),
            "auc": None if np.isnan(value) else as_entry(value, low, high),
        }
        for code, value, low, high in zip(present.tolist(), *found)
    ]
