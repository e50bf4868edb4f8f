"""Fitting the feature map: frequent values of train rows, numeric ranges, item attributes."""

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
from ..datasets.opening import AllRows, Files, open_table
from ..datasets.table import Table, require_drawn
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
from .history_statistics import age_quantiles
from .numeric import SAMPLE_ROWS, NumericField, NumericFit, count_blocks

logger = logging.getLogger(__name__)

# float32 holds all whole numbers up to this.
_MAX_EXACT = 1 << 24
# At most these shares of rows may contradict their item's first row: of the repeated rows and,
# since nearly constant columns would pass, of the rows without the commonest attribute.
_MAX_CONTRADICTIONS, _MAX_OF_RARE = 0.01, 0.05
# Repeated rows of items that are needed to accept an attribute, and rows after which to give up.
_MIN_REPEATS, _ENOUGH_ROWS = 100, 10_000


def write_feature_map(
    train: list[Path],
    columns: Columns,
    min_count: int,
    feature_map: Output,
    *,
    valid: Sequence[Path] = (),
) -> None:
    """Fit a feature map and write it as JSON."""
    fit_feature_map(train, columns, min_count, list(valid)).write(feature_map)


def fit_feature_map(
    train_h5: Files, columns: Columns, min_count: int, valid_h5: Files = ()
) -> FeatureMap:
    """Fit vocabularies of values that occur at least `min_count` times, and numeric ranges.

    Reads the train rows, and for a refit the validation rows, once in blocks. Samples are read
    again: two for the items' counts and co-occurrences, one for the statistics of histories and a
    smaller one for the events' ages. Raises UserError for a test table.
    """
    with open_table(AllRows(train_h5, valid_h5) if valid_h5 else train_h5) as table:
        require_columns(table, columns)
        require_drawn(table)
        fitted = _counted(table, columns, min_count)
        fitted = replace(fitted, item_vectors=fit_item_vectors(table, train_h5, fitted.sequences))
        return replace(fitted, statistics=_statistics(table, fitted))


def _counted(table: Table, columns: Columns, min_count: int) -> FeatureMap:
    """The feature map without item vectors and statistics of histories."""
    words = {name: table.vocabulary(name) for name in columns.categorical}
    find = {name: CategoryLookup.indices(each) for name, each in words.items()}
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
        _share(
            name,
            target,
            counts[name].of_values(),
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
        fitted_on=table.identity,
        context=[fields[name] for name in columns.context],
        ids=[CategoryField(name, counts[name].at_least(min_count)) for name in columns.ids],
        separator=columns.separator,
        event_ages=age_quantiles(table, columns.event_time),
        item_attributes=[
            fit.field(sequence, dict(zip(target_of, targets))[sequence], fields[attribute])
            for (sequence, attribute), fit in attributes.items()
            if fit.is_function()
        ],
    )


def _check_exact(values: np.ndarray, column: str) -> None:
    """Raise UserError if a value is larger than the integers that float32 can tell apart."""
    if np.abs(values).max(initial=0) > _MAX_EXACT:
        example = values[np.abs(values).argmax()]
        raise UserError(
            f"column {column!r} (`numeric` and `context`) holds values like {example:.0f}: "
            f"as float32, integers are exact only up to {_MAX_EXACT:,}; take it out of "
            f"`numeric` in columns.groups, then its values are kept as text"
        )


def _statistics(table: Table, fitted: FeatureMap) -> list[NumericField]:
    """The statistics of the histories, fitted on a sample of the rows."""
    encoder = FeatureEncoder(fitted, table)
    statistics = NumericFit(encoder.statistics_columns)
    for block in table.blocks(encoder.history_columns, SAMPLE_ROWS if statistics.columns else 0):
        statistics.add(encoder.statistics_of(block))
    return statistics.fields(count_blocks(fitted.numeric))


def _share(
    sequence: str,
    target: str,
    events: Counter[int],
    words: Mapping[str, int],
    texts: Sequence[str],
    min_count: int,
) -> tuple[SequenceField, CategoryField]:
    """Both fields, with a vocabulary of values that are frequent in the two columns together.

    `events` counts the sequence's tokens, and `words` the target's words, which are added to
    `events`. `texts` are the tokens that are not integers; without any, only integers can be
    events.
    """
    named = {w: count for w, count in words.items() if texts or is_number(w)}
    name_of = words_by_token([*named, *texts])
    of_words = dict(zip(name_of, named.values()))
    if words and not any(events[token] for token in of_words):
        logger.warning(
            "share_embedding: no value of column %r, such as %s, is an event of %r: are both "
            "written in the same way? The text 012 is not 12",
            target,
            ", ".join(map(repr, [*words][:3])),
            sequence,
        )
    events.update(of_words)
    known = sorted(token for token, n in events.items() if n >= min_count)
    others = sorted(w for w, n in words.items() if n >= min_count and w not in named)
    return (
        SequenceField(sequence, known, target, len(others)),
        CategoryField(target, [*(name_of.get(token, str(token)) for token in known), *others]),
    )


class ValueCounts:
    """How often values occur: small integers in an array, others in a dictionary."""

    def __init__(self) -> None:
        self._dense = np.zeros(0, np.int64)
        self._others: Counter[Any] = Counter()

    def add(self, values: np.ndarray) -> None:
        """Count these values."""
        if values.dtype.kind != "f" and values.max(initial=0) < DENSE_LIMIT:
            # Faster, since nothing is sorted.
            index = values.astype(np.int64, copy=False)
            counts = np.bincount(index, minlength=len(self._dense))
            counts[: len(self._dense)] += self._dense
            self._dense = counts
        else:
            distinct, counts = np.unique(values, return_counts=True)
            self._others.update(dict(zip(distinct.tolist(), counts.tolist())))

    def of_values(self) -> Counter[Any]:
        """The counts by value."""
        distinct = np.flatnonzero(self._dense)
        counts = Counter(dict(zip(distinct.tolist(), self._dense[distinct].tolist())))
        counts.update(self._others)
        return counts

    def at_least(self, min_count: int) -> list[Any]:
        """The values that occur at least `min_count` times, ascending."""
        return sorted(value for value, n in self.of_values().items() if n >= min_count)


class ItemAttributeFit:
    """Tests whether a category is an item attribute: a function of the target item, like a genre.

    Keeps the category of each item's first row, and counts the rows that contradict it. `items`
    and `attributes` are the words of the target and of the category.
    """

    def __init__(self, items: Sequence[str], attributes: Sequence[str]) -> None:
        self.items, self.attributes = items, attributes
        self.of_item = np.zeros(len(items) + 1, np.int64)
        self.counts = np.zeros(len(attributes) + 1, np.int64)
        self.rows, self.contradictions = 0, 0

    def add(self, item: np.ndarray, attribute: np.ndarray) -> None:
        """Add rows, as the numbers of their words, int64 [rows]; 0 is missing."""
        if self.contradictions > _MAX_CONTRADICTIONS * max(self.rows, _ENOUGH_ROWS):
            return
        known = (item > 0) & (attribute > 0)
        item, attribute = item[known], attribute[known]
        items, row = np.unique(item, return_index=True)
        is_new = self.of_item[items] == 0
        self.of_item[items[is_new]] = attribute[row[is_new]]
        self.rows += len(item)
        self.contradictions += int((self.of_item[item] != attribute).sum())
        self.counts += np.bincount(attribute, minlength=len(self.counts))

    def is_function(self) -> bool:
        """True if each item nearly always has the same attribute, and items share attributes."""
        items, attributes = int((self.of_item > 0).sum()), int((self.counts > 0).sum())
        repeats, rare = self.rows - items, self.rows - int(self.counts.max())
        return (
            repeats >= _MIN_REPEATS
            and 1 < attributes <= items / 2
            and self.contradictions <= _MAX_CONTRADICTIONS * repeats
            and self.contradictions <= _MAX_OF_RARE * rare
        )

    def field(
        self, sequence: str, target: CategoryField, attribute: CategoryField
    ) -> ItemAttribute:
        """The attribute of a sequence's items; unknown words have none."""
        index = {word: i for i, word in enumerate(attribute.vocabulary, FIRST_CATEGORY)}
        indices = [PADDING, *(index.get(word, PADDING) for word in self.attributes)]
        index_of = {word: indices[number] for word, number in zip(self.items, self.of_item[1:])}
        known = (index_of.get(word, PADDING) for word in target.vocabulary)
        return ItemAttribute(attribute.column, sequence, [*[PADDING] * FIRST_CATEGORY, *known])
