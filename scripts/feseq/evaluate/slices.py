"""Rows grouped by the values of a column and by the length of the history, and each group's AUC."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..dataset.store import H5Table
from .auc import Auc, auc_entry, correct_together, difference_entry

# Histories of these lengths and more, up to the next, are a slice.
LENGTHS = (0, 1, 10, 20, 50, 100, 200, 500, 1000)

Slice = dict[str, Any]


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


def slices_of(groups: Groups, label: np.ndarray, logit: np.ndarray, whole: Auc) -> list[Slice]:
    """Rows, clicks and AUC of each group that has rows.

    `apart` says how far its AUC is above `whole`, that of all rows. None where it has one class.
    """
    order = np.argsort(groups.group, kind="stable")
    present, starts = np.unique(groups.group[order], return_index=True)
    found = []
    for code, rows in zip(present.tolist(), np.split(order, starts[1:])):
        auc = Auc.of(label[rows], logit[rows])
        known = not np.isnan(auc.value)
        found.append(
            {
                "slice": groups.names[code],
                "rows": len(rows),
                "clicks": int(label[rows].sum()),
                "auc": auc_entry(auc) if known else None,
                "apart": difference_entry(*whole.of_part(auc, rows)) if known else None,
            }
        )
    return found


def correct_slices(slices: Mapping[str, Sequence[Slice]]) -> None:
    """Correct the chances of all slices of all columns, which a reader looks at together."""
    correct_together([of["apart"] for column in slices.values() for of in column if of["apart"]])
