"""Statistics of whole histories as numeric columns, of the raw codes and before any cut.

Counts are taken as log(1 + count), since they have long tails. Those of the target are known where
a sequence's events are items of its target column.
"""

import re
from collections.abc import Mapping

import numpy as np

from ..common.ragged import Ragged
from .history_statistics import NAMES, history_statistics
from .store import Block, H5Table

# Categories that can also be tokens: decimals without leading zeros, at most 18 digits.
TOKEN = re.compile(r"0|[1-9][0-9]{0,17}")
_COUNTS = ("length", "distinct", "target_count")
_OF_TARGET = ("target_count", "target_recency")
# Codes above this are numbered again, so that counting them takes little memory.
_LARGEST_CODE = 1 << 21


class HistoryColumns:
    """The columns of one H5 table; `targets` by sequence, the column of its items or None."""

    def __init__(self, table: H5Table, targets: Mapping[str, str | None]) -> None:
        self.places = {
            sequence: [
                i
                for i, name in enumerate(NAMES)
                if name != "newest" and (target is not None or name not in _OF_TARGET)
            ]
            for sequence, target in targets.items()
        }
        self.columns = [
            f"{NAMES[i]} of {sequence}" for sequence, places in self.places.items() for i in places
        ]
        # By sequence, the place of its target among the categories, and the token of each code.
        self.tokens = {
            sequence: (table.categorical_columns.index(target), _tokens(table.vocabulary(target)))
            for sequence, target in targets.items()
            if target is not None
        }

    def __call__(self, block: Block, rows: np.ndarray) -> np.ndarray:
        """The columns of these rows of `block`, float32 [rows, columns]."""
        parts = [np.empty((len(rows), 0), np.float32)]
        for sequence, places in self.places.items():
            histories, target = block.sequences[sequence].take(rows), None
            if sequence in self.tokens:
                column, token_of_code = self.tokens[sequence]
                target = token_of_code[block.categorical[rows, column]]
            found = history_statistics(*_with_small_codes(histories, target))
            counts = [NAMES.index(name) for name in _COUNTS]
            found[:, counts] = np.log1p(found[:, counts])
            parts.append(found[:, places])
        return np.concatenate(parts, axis=1)


def statistic_of(column: str) -> str:
    """The name of the statistic that a column holds."""
    return column.partition(" of ")[0]


def _tokens(words: list[str]) -> np.ndarray:
    """The token that each word is, -1 for none; the first stands for missing."""
    tokens = (int(word) if TOKEN.fullmatch(word) else -1 for word in words[1:])
    return np.array([-1, *tokens], np.int64)


def _with_small_codes(
    histories: Ragged, target: np.ndarray | None
) -> tuple[Ragged, np.ndarray | None]:
    """The same events and targets; large codes by their place among the codes that occur."""
    if histories.values.max(initial=0) < _LARGEST_CODE:
        return histories, target
    values = histories.values.astype(np.int64)
    codes, place = np.unique(values, return_inverse=True)
    if target is not None:
        near = np.minimum(np.searchsorted(codes, target), len(codes) - 1)
        target = np.where(codes[near] == target, near, -1)
    return Ragged(place, histories.offsets), target
