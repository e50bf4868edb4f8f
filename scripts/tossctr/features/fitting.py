"""Fits the feature map: vocabularies, numeric ranges, item attributes, history statistics."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..common.errors import UserError
from ..common.files import Output
from ..common.progress import Progress
from ..config.columns import Columns
from ..datasets.categories import CategoryLookup, is_number, words_by_token
from ..datasets.opening import Files, TrainAndValidation, open_table
from ..datasets.table import Table, reject_test_rows
from .co_occurrence import fit_item_vectors
from .encoding import FeatureEncoder
from .feature_map import (
    DENSE_LIMIT,
    FIRST_CATEGORY,
    PADDING,
    CategoryField,
    FeatureMap,
    ItemAttribute,
    SequenceField,
    require_columns,
)
from .history_statistics import event_age_quantiles
from .numeric import SAMPLE_ROWS, NumericField, NumericFit, count_missing_blocks

logger = logging.getLogger(__name__)

# float32 holds all whole numbers up to this.
_MAX_EXACT = 1 << 24
# Maximum rows that contradict the first row of their item: as a share of the items' further rows,
# and of the rows without the commonest attribute (for nearly constant columns).
_MAX_CONTRADICTIONS, _MAX_CONTRADICTIONS_RARE = 0.01, 0.05
# Minimum further rows of items to accept an attribute, and minimum rows to reject it early.
_MIN_FURTHER_ROWS, _MIN_ROWS_TO_REJECT = 100, 10_000


def write_feature_map(
    train: list[Path],
    columns: Columns,
    min_count: int,
    feature_map: Output,
    *,
    valid: Sequence[Path] = (),
) -> None:
    """Fit a feature map to the train files and, in a refit, the validation files; write it as JSON.

    Vocabularies have the values that occur at least `min_count` times.
    """
    fit_feature_map(train, columns, min_count, list(valid)).write(feature_map)


def fit_feature_map(
    train_h5: Files, columns: Columns, min_count: int, valid_h5: Files = ()
) -> FeatureMap:
    """Fit a feature map to train rows and, in a refit, validation rows (`valid_h5`).

    Vocabularies have the values that occur at least `min_count` times. Raises UserError for files
    of test rows.
    """
    with open_table(TrainAndValidation(train_h5, valid_h5) if valid_h5 else train_h5) as table:
        require_columns(table, columns)
        reject_test_rows(table)
        fitted = _fit_fields(table, columns, min_count)
        fitted = replace(fitted, item_vectors=fit_item_vectors(table, train_h5, fitted.sequences))
        return replace(fitted, statistics=_statistics(table, fitted))


def _fit_fields(table: Table, columns: Columns, min_count: int) -> FeatureMap:
    """The feature map, still without item vectors and history statistics."""
    words = {name: table.vocabulary(name) for name in columns.categorical}
    find = {
        name: CategoryLookup(each, np.arange(1, len(each) + 1), missing=0, other=0)
        for name, each in words.items()
    }
    word_counts = {name: np.zeros(len(each) + 1, np.int64) for name, each in words.items()}
    counts = {name: ValueCounts() for name in (*columns.sequences, *columns.ids)}
    numeric = NumericFit(columns.numeric)
    numeric_columns = [table.numeric_columns.index(name) for name in columns.numeric]
    target_of = dict(zip(columns.sequences, columns.targets))
    attributes = {
        (sequence, attribute): ItemAttributeFit(words[target_of[sequence]], words[attribute])
        for sequence in target_of
        if sequence in columns.shared
        for attribute in (*columns.profile, *columns.context)
        if attribute != target_of[sequence]
    }
    counting = Progress("counted", table.rows)
    for block in table.blocks(columns.sequences):
        codes = dict(zip(table.categorical_columns, block.categorical.T))
        values = {name: find[name](codes[name]) for name in words}
        numbers = block.numeric[:, numeric_columns]
        numeric.add(numbers)
        for (sequence, attribute), fit in attributes.items():
            fit.add(values[target_of[sequence]], values[attribute])
        for name, index in values.items():
            np.add.at(word_counts[name], index, 1)
        values = {name: block.sequences[name].values for name in columns.sequences}
        for name in columns.ids:
            column = numbers[:, columns.numeric.index(name)]
            values[name] = column[np.isfinite(column)]
            _check_exact(values[name], name)
        for name, count in counts.items():
            count.add(values[name])
        counting.advance(len(block))
    fields = {
        name: CategoryField(
            name, [each[i] for i in np.flatnonzero(word_counts[name][1:] >= min_count)]
        )
        for name, each in words.items()
    }
    pairs = [
        _fit_shared_fields(
            name,
            target,
            counts[name].as_counter(),
            dict(zip(words[target], word_counts[target][1:].tolist())),
            table.vocabulary(name),
            min_count,
        )
        if name in columns.shared
        else (SequenceField(name, counts[name].at_least(min_count)), fields[target])
        for name, target in target_of.items()
    ]
    sequences, targets = [sequence for sequence, _ in pairs], [target for _, target in pairs]
    return FeatureMap(
        profile=[fields[name] for name in columns.profile],
        targets=targets,
        sequences=sequences,
        numeric=numeric.fields(),
        min_count=min_count,
        event_time=columns.event_time,
        row_time=columns.row_time,
        fitted_on=table.identity,
        context=[fields[name] for name in columns.context],
        ids=[CategoryField(name, counts[name].at_least(min_count)) for name in columns.ids],
        separator=columns.separator,
        event_ages=event_age_quantiles(table, columns.event_time),
        item_attributes=[
            fit.item_attribute(sequence, dict(zip(target_of, targets))[sequence], fields[attribute])
            for (sequence, attribute), fit in attributes.items()
            if fit.is_item_attribute()
        ],
    )


def _check_exact(values: np.ndarray, column: str) -> None:
    """Raise UserError if a value is too large to be an exact integer in float32."""
    if np.abs(values).max(initial=0) > _MAX_EXACT:
        example = values[np.abs(values).argmax()]
        raise UserError(
            f"column {column!r}, which is `numeric` and `context`, has values such as "
            f"{example:.0f}, but integers above {_MAX_EXACT:,} are inexact in float32; remove the "
            f"column from `numeric` in its group to read its values as text"
        )


def _statistics(table: Table, fitted: FeatureMap) -> list[NumericField]:
    """The fields of the history statistics, fitted on a sample of the rows."""
    encoder = FeatureEncoder(fitted, table)
    statistics = NumericFit(encoder.statistic_columns)
    for block in table.blocks(encoder.history_columns, SAMPLE_ROWS if statistics.columns else 0):
        statistics.add(encoder.all_statistics(block))
    return statistics.fields(count_missing_blocks(fitted.numeric))


def _fit_shared_fields(
    sequence: str,
    target: str,
    events: Counter[int],
    words: Mapping[str, int],
    texts: Sequence[str],
    min_count: int,
) -> tuple[SequenceField, CategoryField]:
    """The fields of a sequence and its target, whose values are counted in both columns together.

    `events` counts the sequence's tokens, `words` the target's words; the words' counts are added
    to `events`. `texts` are the sequence's texts that are not integers; if there are none, only
    integers can be events.
    """
    token_words = {word: n for word, n in words.items() if texts or is_number(word)}
    word_of = words_by_token([*token_words, *texts])
    token_counts = dict(zip(word_of, token_words.values()))
    if words and not any(events[token] for token in token_counts):
        logger.warning(
            "share_embedding: no value of column %r (such as %s) is an event of %r; write both "
            "columns in the same way (the text 012 is not 12)",
            target,
            ", ".join(map(repr, [*words][:3])),
            sequence,
        )
    events.update(token_counts)
    tokens = sorted(token for token, n in events.items() if n >= min_count)
    other_words = sorted(w for w, n in words.items() if n >= min_count and w not in token_words)
    return (
        SequenceField(sequence, tokens, target, len(other_words)),
        CategoryField(target, [*(word_of.get(t, str(t)) for t in tokens), *other_words]),
    )


class ValueCounts:
    """Counts values: small integers in an array, other values in a dictionary."""

    def __init__(self) -> None:
        self._dense = np.zeros(0, np.int64)
        self._sparse: Counter[Any] = Counter()

    def add(self, values: np.ndarray) -> None:
        """Count each element of `values` once."""
        if values.dtype.kind != "f" and values.max(initial=0) < DENSE_LIMIT:
            # Faster than np.unique, which sorts.
            index = values.astype(np.int64, copy=False)
            counts = np.bincount(index, minlength=len(self._dense))
            counts[: len(self._dense)] += self._dense
            self._dense = counts
        else:
            distinct, counts = np.unique(values, return_counts=True)
            self._sparse.update(dict(zip(distinct.tolist(), counts.tolist())))

    def as_counter(self) -> Counter[Any]:
        """The number of occurrences of each value."""
        distinct = np.flatnonzero(self._dense)
        counts = Counter(dict(zip(distinct.tolist(), self._dense[distinct].tolist())))
        counts.update(self._sparse)
        return counts

    def at_least(self, min_count: int) -> list[Any]:
        """The values that occur at least `min_count` times, ascending."""
        return sorted(value for value, n in self.as_counter().items() if n >= min_count)


class ItemAttributeFit:
    """Tests whether a category is an item attribute: it depends only on the target item.

    The test stores the category of each item's first row, and counts later rows with another
    category. `items` and `attributes` are the words of the target's and the category's column.
    """

    def __init__(self, items: Sequence[str], attributes: Sequence[str]) -> None:
        self.items, self.attributes = items, attributes
        self.attribute_of = np.zeros(len(items) + 1, np.int64)
        self.counts = np.zeros(len(attributes) + 1, np.int64)
        self.rows, self.contradictions = 0, 0

    def add(self, item: np.ndarray, attribute: np.ndarray) -> None:
        """Add rows: the 1-based numbers of their words, int64 [rows]; 0: missing."""
        if self.contradictions > _MAX_CONTRADICTIONS * max(self.rows, _MIN_ROWS_TO_REJECT):
            return
        present = (item > 0) & (attribute > 0)
        item, attribute = item[present], attribute[present]
        items, row = np.unique(item, return_index=True)
        is_new = self.attribute_of[items] == 0
        self.attribute_of[items[is_new]] = attribute[row[is_new]]
        self.rows += len(item)
        self.contradictions += int((self.attribute_of[item] != attribute).sum())
        self.counts += np.bincount(attribute, minlength=len(self.counts))

    def is_item_attribute(self) -> bool:
        """True if an item has the same value in nearly all its rows, and items share values."""
        items, attributes = int((self.attribute_of > 0).sum()), int((self.counts > 0).sum())
        further_rows, rare_rows = self.rows - items, self.rows - int(self.counts.max())
        return (
            further_rows >= _MIN_FURTHER_ROWS
            and 1 < attributes <= items / 2
            and self.contradictions <= _MAX_CONTRADICTIONS * further_rows
            and self.contradictions <= _MAX_CONTRADICTIONS_RARE * rare_rows
        )

    def item_attribute(
        self, sequence: str, target: CategoryField, attribute: CategoryField
    ) -> ItemAttribute:
        """The ItemAttribute: for each item of `sequence`, its attribute, both as indices."""
        index = {word: i for i, word in enumerate(attribute.vocabulary, FIRST_CATEGORY)}
        indices = [PADDING, *(index.get(word, PADDING) for word in self.attributes)]
        index_of = {word: indices[i] for word, i in zip(self.items, self.attribute_of[1:])}
        codes = (index_of.get(word, PADDING) for word in target.vocabulary)
        return ItemAttribute(attribute.column, sequence, [*[PADDING] * FIRST_CATEGORY, *codes])
