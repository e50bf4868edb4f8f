"""Encodes rows as model inputs, with the vocabularies and ranges of a feature map."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..common.arrays import Ragged
from ..datasets.categories import CategoryLookup
from ..datasets.table import Block, Table
from .feature_map import (
    DENSE_LIMIT,
    FIRST_CATEGORY,
    MISSING,
    OUT_OF_VOCABULARY,
    PADDING,
    CategoryField,
    FeatureMap,
    SequenceField,
    needed_columns,
    require_columns,
)
from .history_statistics import EventColumns, HistoryColumns, elapsed_times, statistic_of
from .numeric import NumericEncoder, NumericField
from .similarities import SimilarityColumns

logger = logging.getLogger(__name__)

# A larger share of unknown values in a column logs a warning.
_MAX_OOV_RATE = 0.5


@dataclass(frozen=True)
class Inputs:
    """Which inputs a model takes, besides its categories and histories.

    numbers            encodings of numeric columns: names in `ENCODINGS`
    statistics         names of statistics of the row's history, such as "length"
    whole_histories    True to keep all events in batches, not only the newest `max_len`
    """

    numbers: Sequence[str] = ("minmax",)
    statistics: Sequence[str] = ()
    whole_histories: bool = False

    def numeric_fields(self, feature_map: FeatureMap) -> list[NumericField]:
        """The numeric columns of the feature map, and then the columns of the chosen statistics."""
        statistics = feature_map.statistics
        chosen = [field for field in statistics if statistic_of(field.column) in self.statistics]
        return [*feature_map.numeric, *chosen]

    def newest_event_fields(
        self, feature_map: FeatureMap
    ) -> Sequence[CategoryField | SequenceField]:
        """The sequences whose newest event is also an input, as a context category."""
        return feature_map.sequences if "newest" in self.statistics else []


DEFAULT_INPUTS = Inputs()


@dataclass(frozen=True)
class EncodedRows:
    """The inputs of some rows without their histories; all arrays are [rows, columns].

    numbers                     for each numeric encoding, the encoded columns, float32
    profile, target, context    indices of categories, int64
    """

    numbers: Mapping[str, np.ndarray]
    profile: np.ndarray
    target: np.ndarray
    context: np.ndarray


class FeatureEncoder:
    """Encodes blocks of `table` as a model's inputs, with a feature map.

    `inputs` says which inputs the model takes. Rows that the feature map was fitted on may use the
    item vectors of their fold (`similarities.py`); all other inputs ignore the fold.
    Raises UserError if the table lacks a column.
    """

    def __init__(
        self, feature_map: FeatureMap, table: Table, inputs: Inputs = DEFAULT_INPUTS
    ) -> None:
        self.event_time = feature_map.event_time
        require_columns(table, needed_columns([feature_map]))
        self.inputs, self.feature_map = inputs, feature_map
        self._categories = [
            (table.categorical_columns.index(field.column), _text_lookup(field))
            for field in feature_map.categories
        ]
        self._ids = [
            (table.numeric_columns.index(field.column), _number_lookup(field))
            for field in feature_map.ids
        ]
        self.sequences = [TokenLookup(field) for field in feature_map.sequences]
        self.numeric_columns = [table.numeric_columns.index(f.column) for f in feature_map.numeric]
        fields = inputs.numeric_fields(feature_map)
        self.numbers = NumericEncoder(fields, inputs.numbers)
        self.history_statistics = HistoryColumns(feature_map.history_columns)
        self.events = EventColumns(feature_map)
        split = table.split if table.identity == feature_map.fitted_on else None
        self.similarities = SimilarityColumns(feature_map, split)
        chosen = [field.column for field in fields[len(feature_map.numeric) :]]
        self.statistics = [self.statistic_columns.index(column) for column in chosen]
        times = [self.event_time] if self.event_time else []
        # The sequence columns that blocks must have.
        self.history_columns = [*feature_map.history_columns, *times]

    @property
    def statistic_columns(self) -> list[str]:
        """The names of the columns that `all_statistics` returns."""
        columns = (self.history_statistics, self.events, self.similarities)
        return [name for each in columns for name in each.columns]

    def all_statistics(self, block: Block) -> np.ndarray:
        """All statistics of the rows' histories, float32 [rows, statistics]."""
        statistics = self.history_statistics(block)
        if not (self.events.columns or self.similarities.columns):
            return statistics
        histories = self.history_indices(block)
        known = self.known_categories(self.categories(block))
        events = self.events(histories, self.event_ages(block), known)
        similarities = self.similarities(block, histories, known)
        return np.concatenate([statistics, events, similarities], axis=1)

    def known_categories(self, categories: np.ndarray) -> dict[str, np.ndarray]:
        """`categories` by column; unknown and missing ones become -1, which matches no event."""
        columns = (field.column for field in self.feature_map.category_fields)
        return dict(zip(columns, np.where(categories < FIRST_CATEGORY, -1, categories).T))

    def history_indices(self, block: Block) -> list[Ragged]:
        """The vocabulary indices of all events of the rows, for each sequence column."""
        histories = [(lookup, block.sequences[lookup.column]) for lookup in self.sequences]
        return [Ragged(lookup(history.values), history.offsets) for lookup, history in histories]

    def event_ages(self, block: Block) -> Ragged | None:
        """The time from each event to its row; None if the table has no times."""
        return elapsed_times(block, self.event_time) if self.event_time else None

    def categories(self, block: Block) -> np.ndarray:
        """The vocabulary indices of the rows' categories, int64 [rows, category_fields]."""
        indices = [np.empty((len(block), 0), np.int64)]
        indices += [find(block.categorical[:, column]) for column, find in self._categories]
        indices += [find(block.numeric[:, column]) for column, find in self._ids]
        return np.column_stack(indices)

    def oov_rates(self, table: Table, rows: int | None = None) -> np.ndarray:
        """For each category column, the share of out-of-vocabulary rows (of the first `rows`)."""
        unknown = np.zeros(len(self.feature_map.category_fields))
        rows = table.rows if rows is None else min(rows, table.rows)
        for block in table.blocks([], rows):
            unknown += (self.categories(block) == OUT_OF_VOCABULARY).sum(0)
        return unknown / max(1, rows)

    def warn_of_unknown_values(self, table: Table) -> None:
        """Log a warning for each text column or sequence whose values are mostly unknown.

        Such values are probably written differently in the train table. Columns are checked in all
        rows, sequences only in the first block.
        """
        text = "column %r: %.0f %% of the %s; check that they are written as in the train file"
        for field, share in zip(self.feature_map.categories, self.oov_rates(table)):
            if share > _MAX_OOV_RATE:
                new = min({*table.vocabulary(field.column)}.difference(field.vocabulary))
                examples = ", ".join(map(repr, field.vocabulary[:3]))
                what = f"rows have out-of-vocabulary values, such as {new!r} (known: {examples})"
                logger.warning(text, field.column, 100 * share, what)
        for block in islice(table.blocks(self.history_columns), 1):
            for name, history in zip(self.feature_map.history_columns, self.history_indices(block)):
                share = (history.values == OUT_OF_VOCABULARY).sum() / max(1, len(history.values))
                if share > _MAX_OOV_RATE:
                    what = "events have out-of-vocabulary values"
                    logger.warning(text, name, 100 * share, what)

    def encode(self, block: Block) -> EncodedRows:
        """The model's inputs for the rows of a block, except their histories."""
        raw = block.numeric[:, self.numeric_columns]
        if self.statistics:
            raw = np.concatenate([raw, self.all_statistics(block)[:, self.statistics]], axis=1)
        counts = [len(self.feature_map.profile), len(self.feature_map.targets)]
        profile, target, context = np.split(self.categories(block), np.cumsum(counts), axis=1)
        if not self.feature_map.targets:
            target = np.full((len(block), 1), MISSING)
        return EncodedRows(
            self.numbers(raw),
            np.ascontiguousarray(profile),
            np.ascontiguousarray(target),
            np.concatenate([context, self._newest(block)], axis=1),
        )

    def lengths(self, block: Block) -> np.ndarray:
        """The number of events in each row's history, int64 [rows]."""
        history = next(iter(block.sequences.values()), None)
        return np.zeros(len(block), np.int64) if history is None else history.lengths

    def histories(self, block: Block) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """All events of the rows: (indices, offsets, elapsed times).

        Events of row i are at offsets[i]:offsets[i + 1] in the other arrays.

            indices          int64 [sequences, events]; [1, 0] without sequences
            offsets          int64 [rows + 1]
            elapsed times    int64 [events], from the event to its row, 0 if the event is later;
                             None if the table has no times
        """
        if not self.sequences:
            return np.zeros((1, 0), np.int64), np.zeros(len(block) + 1, np.int64), None
        histories, ages = self.history_indices(block), self.event_ages(block)
        codes = np.stack([history.values for history in histories])
        return codes, histories[0].offsets, None if ages is None else ages.values

    def _newest(self, block: Block) -> np.ndarray:
        """The index of each newest event, int64 [rows, newest fields]; PADDING without events."""
        fields = self.inputs.newest_event_fields(self.feature_map)
        newest = np.full((len(block), len(fields)), PADDING, np.int64)
        for i, lookup in enumerate(self.sequences[: len(fields)]):
            history = block.sequences[lookup.column]
            has_events = history.lengths > 0
            newest[has_events, i] = lookup(history.values[history.offsets[1:][has_events] - 1])
        return newest


def _text_lookup(field: CategoryField) -> CategoryLookup:
    """A function from category codes to the field's indices."""
    indices = np.arange(FIRST_CATEGORY, field.size)
    return CategoryLookup(field.vocabulary, indices, missing=MISSING, other=OUT_OF_VOCABULARY)


def _number_lookup(field: CategoryField) -> Callable[[np.ndarray], np.ndarray]:
    """A function from raw numbers to the field's indices."""
    # NaN, and numbers above all others, find the last entry, which equals nothing.
    numbers = np.array([*field.vocabulary, np.nan], np.float32)

    def find(raw: np.ndarray) -> np.ndarray:
        index = np.searchsorted(numbers, raw)
        category = np.where(numbers[index] == raw, index + FIRST_CATEGORY, OUT_OF_VOCABULARY)
        return np.where(np.isnan(raw), MISSING, category)

    return find


class TokenLookup:
    """Maps the tokens of a sequence to vocabulary indices, or OUT_OF_VOCABULARY."""

    def __init__(self, field: SequenceField) -> None:
        self.column, self.first_index = field.column, field.first_index
        # No token equals the last entry.
        self.vocabulary = np.array([*field.vocabulary, 2**64 - 1], np.uint64)
        largest = max(field.vocabulary, default=0)
        self.dense = None
        if largest < DENSE_LIMIT:
            # The last entry stands for all larger tokens.
            self.dense = np.full(largest + 2, OUT_OF_VOCABULARY, np.int64)
            self.dense[field.vocabulary] = np.arange(len(field.vocabulary)) + self.first_index

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        # As signed integers, tokens of 2^63 and more would be negative.
        tokens = tokens.astype(np.uint64)
        if self.dense is not None:
            return self.dense[np.minimum(tokens, np.uint64(len(self.dense) - 1)).view(np.int64)]
        index = np.searchsorted(self.vocabulary, tokens)
        is_known = self.vocabulary[index] == tokens
        return np.where(is_known, index + self.first_index, OUT_OF_VOCABULARY)
