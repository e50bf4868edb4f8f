"""Kinds of items: categories of a row that are functions of its target item, such as a genre."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..config.columns import Columns
from .feature_map import (
    FIRST_CATEGORY,
    PADDING,
    CategoryField,
    KindField,
    SequenceField,
)

# At most this share of the rows contradict their item's first row. A column that is nearly constant
# would pass, so at most that share of the rows that have not the commonest kind do.
_MOST_CONTRADICTIONS, _MOST_OF_RARE = 0.01, 0.05
# The rows behind an item's first that are enough to tell, and those that are enough to give up.
_LEAST_REPEATS, _ENOUGH_ROWS = 100, 10_000


class KindFit:
    """Finds the kinds of each sequence's items, over blocks of train rows.

    `words` has those of each categorical column. Only a sequence that has its target's codes has
    kinds.
    """

    def __init__(self, columns: Columns, words: Mapping[str, Sequence[str]]) -> None:
        self.words = words
        self.target_of = {
            sequence: target
            for sequence, target in zip(columns.sequences, columns.targets)
            if sequence in columns.shared
        }
        self.pairs = {
            (sequence, kind): _FirstKinds(len(words[target]), len(words[kind]))
            for sequence, target in self.target_of.items()
            for kind in (*columns.profile, *columns.context)
            if kind != target
        }

    def add(self, places: Mapping[str, np.ndarray]) -> None:
        """Add rows by the places of their words, int64 [rows] by column; 0 is missing."""
        for (sequence, kind), first in self.pairs.items():
            first.add(places[self.target_of[sequence]], places[kind])

    def fields(
        self,
        sequences: Sequence[SequenceField],
        targets: Sequence[CategoryField],
        categories: Mapping[str, CategoryField],
    ) -> list[KindField]:
        """The kinds that there are, by the fields of the sequences, their targets and others."""
        kinds = []
        for field, target in zip(sequences, targets):
            for (sequence, name), first in self.pairs.items():
                if sequence == field.column and first.is_function():
                    items, known = self.words[target.column], first.kind[1:]
                    names = ["", *self.words[name]]
                    kind_of = {word: names[place] for word, place in zip(items, known) if place}
                    kinds.append(_kind_field(categories[name], field, target, kind_of))
        return kinds


def _kind_field(
    kind: CategoryField,
    sequence: SequenceField,
    target: CategoryField,
    kind_of: Mapping[str, str],
) -> KindField:
    """The field of a `kind`, by the words of items; unknown words have none."""
    index = {word: i for i, word in enumerate(kind.vocabulary, FIRST_CATEGORY)}
    known = (
        index.get(kind_of[word], PADDING) if word in kind_of else PADDING
        for word in target.vocabulary
    )
    return KindField(kind.column, sequence.column, [*[PADDING] * FIRST_CATEGORY, *known])


class _FirstKinds:
    """The kind in each item's first row, and how many rows contradict it."""

    def __init__(self, items: int, kinds: int) -> None:
        self.kind = np.zeros(items + 1, np.int64)
        self.counts = np.zeros(kinds + 1, np.int64)
        self.rows, self.contradictions = 0, 0

    def add(self, item: np.ndarray, kind: np.ndarray) -> None:
        """Add the places of rows, int64 [rows]."""
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
