"""New categories: train rows get unknown ones as often as the validation rows have them.

Train rows have known categories only, so trees would trust these too much where a later row has a
new one: another user, another ad. So some train rows' categories count as out of vocabulary.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ..dataset.feature_map import FIRST_CATEGORY, OUT_OF_VOCABULARY
from .clicks import hashed_below

# A draw is one of so many numbers.
_DRAWS = 1 << 20


class UnknownCount:
    """Counts the rows whose category is unknown, and those where it is known, by column."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns
        self.rows = 0
        self.unknown = np.zeros(len(columns))
        self.known = np.zeros(len(columns))

    def add(self, categories: np.ndarray) -> None:
        """Count rows of these categories, int64 [rows, columns]; a missing one is neither."""
        self.rows += len(categories)
        self.unknown += (categories == OUT_OF_VOCABULARY).sum(0)
        self.known += (categories >= FIRST_CATEGORY).sum(0)

    def to_draw(self, wanted: Mapping[str, float]) -> np.ndarray:
        """Shares of the known ones that give the `wanted` shares of unknown ones, [columns]."""
        rows = np.array([wanted.get(name, 0) for name in self.columns]) * self.rows
        return np.clip((rows - self.unknown) / np.maximum(1, self.known), 0, 1)


def with_unknown(categories: np.ndarray, row: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The categories int64 [rows, columns] with a share [columns] of the known ones as unknown.

    The draws depend on the rows' numbers int64 [rows] in the raw file alone.
    """
    columns = len(share)
    draw = hashed_below(row[:, None] * columns + np.arange(columns), _DRAWS)
    is_drawn = (draw < share * _DRAWS) & (categories >= FIRST_CATEGORY)
    return np.where(is_drawn, OUT_OF_VOCABULARY, categories)
