"""The feature set `similarities`: of a row's target to its history, by vectors of items.

A train row has vectors that are fitted to other rows (`features/item_vectors.py`): by period, to
older ones; else to those of other folds, which are of groups where rows are split by a group, or
of histories that begin alike, as those of one user do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...common.ragged import Ragged
from ...features.encoding import FeatureEncoder
from ...features.feature_map import FIRST_CATEGORY, SequenceField
from ...features.item_vectors import (
    MOST_CODES,
    SIMILARITIES,
    ItemVectors,
    Together,
    commonest,
    similarities,
)
from ...storage.block import Block
from ...storage.table import Table
from .clicks import hashed_below

# The rows whose histories say which items stand together, and those that say which are common.
_TOGETHER_ROWS, _COMMON_ROWS = 1_000_000, 100_000
# A history and the index of each row's target, int64 [rows].
Matched = tuple[Ragged, np.ndarray]


@dataclass(frozen=True)
class Similarities:
    """How rows become these features; `sequences` have their target's codes.

    `vectors` by sequence have one fold for each of the train rows, or a single one for all other
    rows. Folds are the blocks' array `fold_of`, or of histories if that is None.
    """

    sequences: Sequence[SequenceField]
    fold_of: str | None = None
    vectors: Mapping[str, ItemVectors] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The features' names."""
        return [
            f"similarity of {sequence.shared_with} and {sequence.column}, {to}"
            for sequence in self.sequences
            for to in SIMILARITIES
        ]

    def check(self) -> None:
        """Raise ValueError or KeyError for vectors that do not fit the sequences."""
        for sequence in self.sequences:
            self.vectors[sequence.column].check(sequence.size)

    def __call__(self, block: Block, matched: Mapping[str, Matched]) -> Iterator[np.ndarray]:
        """The features of a block's rows, float32 [rows, SIMILARITIES] for each sequence."""
        for sequence in self.sequences:
            history, target = matched[sequence.column]
            items = self.vectors[sequence.column]
            fold = self.fold(block, history, len(items.vectors))
            yield similarities(items, fold, history, target)

    def fold(self, block: Block, history: Ragged, folds: int) -> np.ndarray:
        """The row of the vectors that each row has, int64 [rows]."""
        if folds == 1:
            return np.zeros(len(block), np.int64)
        if self.fold_of is not None:
            return getattr(block, self.fold_of).astype(np.int64)
        first, has_events = np.zeros(len(history), np.int64), history.lengths > 0
        first[has_events] = history.values[history.offsets[:-1][has_events]]
        return hashed_below(first, folds)


class SimilarityFit:
    """Counts which items stand together, over blocks of train rows."""

    def __init__(
        self, train: Table, encoder: FeatureEncoder, like: Similarities, folds: int
    ) -> None:
        self.like, self.folds, self.rows = like, folds, 0
        common = _common(train, encoder, like.sequences)
        self.together = {
            sequence.column: Together(common[sequence.column], sequence.size, folds)
            for sequence in like.sequences
        }

    def add(self, block: Block, matched: Mapping[str, Matched]) -> None:
        """Count the histories of a block, if there are not enough yet."""
        if self.rows >= _TOGETHER_ROWS:
            return
        self.rows += len(block)
        for name, together in self.together.items():
            history = matched[name][0]
            together.add(self.like.fold(block, history, self.folds), history)

    def of_train_rows(self) -> dict[str, ItemVectors]:
        """The vectors for each fold of the train rows."""
        by_period = self.like.fold_of == "period"
        return {
            name: together.of_older() if by_period else together.of_other_folds()
            for name, together in self.together.items()
        }

    def of_other_rows(self) -> dict[str, ItemVectors]:
        """The vectors for all other rows."""
        return {name: together.of_all() for name, together in self.together.items()}


def _common(
    train: Table, encoder: FeatureEncoder, sequences: Sequence[SequenceField]
) -> dict[str, np.ndarray]:
    """The codes of each sequence that are counted: all, or the commonest of a sample."""
    counts = {field.column: np.ones(field.size, np.int64) for field in sequences}
    many = [field.column for field in sequences if field.size > MOST_CODES]
    lookups = [lookup for lookup in encoder.sequences if lookup.column in many]
    for block in train.blocks(many, _COMMON_ROWS if many else 0):
        for lookup in lookups:
            codes, size = lookup(block.sequences[lookup.column].values), len(counts[lookup.column])
            counts[lookup.column] += np.bincount(codes, minlength=size)
    for count in counts.values():
        count[:FIRST_CATEGORY] = 0
    return {name: commonest(count) for name, count in counts.items()}
