"""Kinds of items: categories of a row that are functions of its target item, such as a genre."""

from collections.abc import Sequence

import numpy as np

from .feature_map import FIRST_CATEGORY, PADDING, CategoryField, KindField

# At most this share of the rows contradict their item's first row. A column that is nearly constant
# would pass, so at most that share of the rows that have not the commonest kind do.
_MOST_CONTRADICTIONS, _MOST_OF_RARE = 0.01, 0.05
# The rows behind an item's first that are enough to tell, and those that are enough to give up.
_LEAST_REPEATS, _ENOUGH_ROWS = 100, 10_000


class KindFit:
    """The kind in each item's first row, and how many rows contradict it.

    `items` and `kinds` are the words of the target and of the column that may be its kind.
    """

    def __init__(self, items: Sequence[str], kinds: Sequence[str]) -> None:
        self.items, self.kinds = items, kinds
        self.kind = np.zeros(len(items) + 1, np.int64)
        self.counts = np.zeros(len(kinds) + 1, np.int64)
        self.rows, self.contradictions = 0, 0

    def add(self, item: np.ndarray, kind: np.ndarray) -> None:
        """Add rows by the numbers of their words, int64 [rows]; 0 is missing."""
        if self.contradictions > _MOST_CONTRADICTIONS * max(self.rows, _ENOUGH_ROWS):
            return
        known = (item > 0) & (kind > 0)
        item, kind = item[known], kind[known]
        items, row = np.unique(item, return_index=True)
        is_new = self.kind[items] == 0
        self.kind[items[is_new]] = kind[row[is_new]]
        self.rows += len(item)
        self.contradictions += int((self.kind[item] != kind).sum())
        self.counts += np.bincount(kind, minlength=len(self.counts))

    def is_function(self) -> bool:
        """True if an item has nearly always one kind, and items share kinds."""
        items, kinds = int((self.kind > 0).sum()), int((self.counts > 0).sum())
        repeats, rare = self.rows - items, self.rows - int(self.counts.max())
        return (
            repeats >= _LEAST_REPEATS
            and 1 < kinds <= items / 2
            and self.contradictions <= _MOST_CONTRADICTIONS * repeats
            and self.contradictions <= _MOST_OF_RARE * rare
        )

    def field(self, sequence: str, target: CategoryField, kind: CategoryField) -> KindField:
        """The kind of a sequence's items; unknown words have none."""
        index = {word: i for i, word in enumerate(kind.vocabulary, FIRST_CATEGORY)}
        indices = [PADDING, *(index.get(word, PADDING) for word in self.kinds)]
        kind_of = {word: indices[number] for word, number in zip(self.items, self.kind[1:])}
        known = (kind_of.get(word, PADDING) for word in target.vocabulary)
        return KindField(kind.column, sequence, [*[PADDING] * FIRST_CATEGORY, *known])
