"""The rows of a table as a model takes them, by the vocabularies and ranges of a feature map."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..common.arrays import Ragged
from ..datasets.categories import ByCode
from ..datasets.table import Block, Table
from .events import EventColumns, elapsed
from .feature_map import (
    DENSE_LIMIT,
    FIRST_CATEGORY,
    MISSING,
    OUT_OF_VOCABULARY,
    PADDING,
    CategoryField,
    FeatureMap,
    LevelField,
    SequenceField,
    require_columns,
)
from .history_statistics import HistoryColumns, statistic_of
from .numeric import NumericField
from .numeric_encodings import NumericEncoder
from .similarities import SimilarityColumns

logger = logging.getLogger(__name__)

# A larger share of unknown values is worth a warning.
_UNSEEN_SHARE = 0.5


@dataclass(frozen=True)
class Inputs:
    """The inputs that a model takes beside profile, target and histories.

    `numbers` are the numeric encodings, some of ENCODINGS. `whole_histories` is true if the model
    also takes sums over all events, not only positions for the newest.
    """

    numbers: Sequence[str] = ("minmax",)
    statistics: Sequence[str] = ()
    whole_histories: bool = False

    def numeric_fields(self, feature_map: FeatureMap) -> list[NumericField]:
        """The numeric columns, then the statistics of the histories."""
        statistics = feature_map.statistics
        chosen = [field for field in statistics if statistic_of(field.column) in self.statistics]
        return [*feature_map.numeric, *chosen]

    def newest_fields(self, feature_map: FeatureMap) -> list[SequenceField]:
        """The sequences whose newest code is a category behind the other context fields."""
        return feature_map.sequences if "newest" in self.statistics else []


DEFAULT_INPUTS = Inputs()


@dataclass(frozen=True)
class EncodedRows:
    """Inputs of rows: `numbers` float32 [rows, .] by numeric encoding; indices int64 [rows, .]."""

    numbers: Mapping[str, np.ndarray]
    profile: np.ndarray
    target: np.ndarray
    context: np.ndarray


class FeatureEncoder:
    """Encodes blocks of one table; train, validation and test take the same path.

    One exception: rows of the draw that the feature map was fitted to may have item vectors without
    their fold (`similarities.py`). Columns are looked up once, here. Raises UserError if the table
    lacks one.
    """

    def __init__(
        self, feature_map: FeatureMap, table: Table, inputs: Inputs = DEFAULT_INPUTS
    ) -> None:
        self.fields = feature_map.category_fields
        self.event_time = feature_map.event_time
        require_columns(
            table,
            [field.column for field in self.fields if isinstance(field, CategoryField)],
            [field.column for field in feature_map.numeric],
            feature_map.history_columns,
            self.event_time,
        )
        self.inputs = inputs
        self.sequences = [TokenLookup(field) for field in feature_map.sequences]
        self.profile, self.target, self.context = (
            [_lookup(field, table) for field in fields]
            for fields in (feature_map.profile, feature_map.targets, feature_map.context_fields)
        )
        self.numeric_columns = [table.numeric_columns.index(f.column) for f in feature_map.numeric]
        fields = inputs.numeric_fields(feature_map)
        self.numbers = NumericEncoder(fields, inputs.numbers)
        self.newest = [field.column for field in inputs.newest_fields(feature_map)]
        self.history_statistics = HistoryColumns(feature_map.history_columns)
        self.events = EventColumns(feature_map)
        side = table.side if table.identity == feature_map.fitted_on else None
        self.similarities = SimilarityColumns(feature_map, side)
        chosen = [field.column for field in fields[len(feature_map.numeric) :]]
        self.statistics = [self.statistics_columns.index(column) for column in chosen]
        self.needs_indices = not {*chosen} <= {*self.history_statistics.columns}
        times = [self.event_time] if self.event_time else []
        # The columns to read for histories.
        self.history_columns = [*feature_map.history_columns, *times]

    @property
    def statistics_columns(self) -> list[str]:
        """The columns that `statistics_of` gives."""
        columns = (self.history_statistics, self.events, self.similarities)
        return [name for each in columns for name in each.columns]

    def statistics_of(self, block: Block, rows: np.ndarray) -> np.ndarray:
        """All statistics of these rows' histories, float32 [rows, columns]."""
        statistics = self.history_statistics(block, rows)
        if not (self.events.columns or self.similarities.columns):
            return statistics
        histories, ages = self.tokens(block, rows), self.ages(block, rows)
        known = self.known(self._categories(block.categorical[rows], block.numeric[rows]))
        events = self.events(histories, ages, known)
        similarities = self.similarities(block, rows, histories, known)
        return np.concatenate([statistics, events, similarities], axis=1)

    def known(self, categories: np.ndarray) -> dict[str, np.ndarray]:
        """The categories by column, int64 [rows]; -1, which no event has, where one is unknown."""
        columns = (field.column for field in self.fields)
        # Compiled loops would be compiled again for columns that are not contiguous.
        known = np.ascontiguousarray(np.where(categories < FIRST_CATEGORY, -1, categories).T)
        return dict(zip(columns, known))

    def tokens(self, block: Block, rows: np.ndarray | None = None) -> list[Ragged]:
        """All events of these rows' histories, or of all, as indices of the feature map."""
        tokens = []
        for lookup in self.sequences:
            history = block.sequences[lookup.column]
            history = history if rows is None else history.take(rows)
            tokens.append(Ragged(lookup(history.values), history.offsets))
        return tokens

    def ages(
        self, block: Block, rows: np.ndarray | None = None, newest: int | None = None
    ) -> Ragged | None:
        """The times from the events of these rows, or of all, to the rows; None without times."""
        if self.event_time is None or block.time is None:
            return None
        rows = np.arange(len(block)) if rows is None else rows
        return elapsed(block, rows, self.event_time, newest)

    def categories(self, block: Block) -> np.ndarray:
        """Indices of the profile, then target, then context columns, int64 [rows, fields]."""
        return self._categories(block.categorical, block.numeric)

    def _categories(self, categorical: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        return _stack([*self.profile, *self.target, *self.context], categorical, numeric)

    def unknown_shares(self, table: Table, rows: int | None = None) -> np.ndarray:
        """The share of a table's rows, all or the first, with an unknown category, [fields]."""
        unknown = np.zeros(len(self.fields))
        rows = table.rows if rows is None else min(rows, table.rows)
        for block in table.blocks([], rows):
            unknown += (self.categories(block) == OUT_OF_VOCABULARY).sum(0)
        return unknown / max(1, rows)

    def warn_of_unseen(self, table: Table) -> None:
        """Log the categories and histories of a table whose values are mostly unknown to the model.

        A prediction is still possible, but the two files are most likely coded differently. Only
        the first block's histories are read.
        """
        for field, unseen in zip(self.fields, self.unknown_shares(table)):
            if isinstance(field, CategoryField) and unseen > _UNSEEN_SHARE:
                words, known = table.vocabulary(field.column), field.vocabulary
                logger.warning(
                    "column %r: %.0f %% of the rows have values never seen in training, such as "
                    "%r, but not such as %s: are both files coded in the same way?",
                    field.column,
                    100 * unseen,
                    min({*words}.difference(known)),
                    ", ".join(map(repr, known[:3])),
                )
        for block in islice(table.blocks([lookup.column for lookup in self.sequences]), 1):
            for lookup in self.sequences:
                index = lookup(block.sequences[lookup.column].values)
                if (unseen := (index == OUT_OF_VOCABULARY).sum()) > _UNSEEN_SHARE * len(index):
                    logger.warning(
                        "column %r: %.0f %% of the events were never seen in training: are both "
                        "files coded in the same way?",
                        lookup.column,
                        100 * unseen / len(index),
                    )

    def encode(self, block: Block, rows: np.ndarray) -> EncodedRows:
        """Numeric and categorical inputs of these rows of `block`."""
        values = block.categorical[rows], block.numeric[rows]
        raw = values[1][:, self.numeric_columns]
        if self.statistics:
            of = self.statistics_of if self.needs_indices else self.history_statistics
            raw = np.concatenate([raw, of(block, rows)[:, self.statistics]], axis=1)
        return EncodedRows(
            self.numbers(raw),
            _stack(self.profile, *values),
            _stack(self.target, *values) if self.target else np.full((len(rows), 1), MISSING),
            np.concatenate([_stack(self.context, *values), self._newest(block, rows)], axis=1),
        )

    def lengths(self, block: Block, max_len: int | None = None) -> np.ndarray:
        """Events of each row's history, int64 [rows], at most the newest `max_len`."""
        history = next(iter(block.sequences.values()), None)
        if history is None:
            return np.zeros(len(block), np.int64)
        return history.lengths if max_len is None else np.minimum(history.lengths, max_len)

    def histories(
        self, block: Block, rows: np.ndarray, max_len: int | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """All events of these rows, or the newest: codes, offsets and elapsed times.

        Codes int64 [sequences, events], without sequences [1, 0]; offsets int64 [rows + 1]; times
        from each event to its row, 0 if it is later, int64 [events], or None without times.
        """
        cut = {f.column: block.sequences[f.column].take(rows, max_len) for f in self.sequences}
        if not self.sequences:
            return np.zeros((1, 0), np.int64), np.zeros(len(rows) + 1, np.int64), None
        codes = [lookup(cut[lookup.column].values) for lookup in self.sequences]
        offsets = cut[self.sequences[0].column].offsets
        ages = self.ages(block, rows, max_len)
        return np.stack(codes), offsets, None if ages is None else ages.values

    def _newest(self, block: Block, rows: np.ndarray) -> np.ndarray:
        """The newest code of each history, padding without one, int64 [rows, sequences or 0]."""
        newest = np.full((len(rows), len(self.newest)), PADDING, np.int64)
        for i, (name, lookup) in enumerate(zip(self.newest, self.sequences)):
            history = block.sequences[name]
            has_events = history.lengths[rows] > 0
            last = history.offsets[1:][rows[has_events]] - 1
            newest[has_events, i] = lookup(history.values[last])
        return newest


# The index of a field's category, int64 [rows], by the arrays `categorical` and `numeric`.
Lookup = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _category_lookup(field: CategoryField, table: Table) -> Callable[[np.ndarray], np.ndarray]:
    """From the table's categorical values [rows, columns] to the field's indices [rows]."""
    column = table.categorical_columns.index(field.column)
    indices = np.arange(FIRST_CATEGORY, field.size)
    find = ByCode(field.vocabulary, indices, missing=MISSING, other=OUT_OF_VOCABULARY)
    return lambda categorical: find(categorical[:, column])


def _lookup(field: CategoryField | LevelField, table: Table) -> Lookup:
    if isinstance(field, CategoryField):
        find = _category_lookup(field, table)
        return lambda categorical, _: find(categorical)
    level_column = table.numeric_columns.index(field.column)
    # No value reaches the entry after the largest one.
    values = np.array([*field.vocabulary, np.nan], np.float32)

    def level(_: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        raw = numeric[:, level_column]
        place = np.searchsorted(values[:-1], raw)
        index = np.where(values[place] == raw, place + FIRST_CATEGORY, OUT_OF_VOCABULARY)
        return np.where(np.isnan(raw), MISSING, index)

    return level


def _stack(lookups: Sequence[Lookup], *arrays: np.ndarray) -> np.ndarray:
    """The index of each lookup, int64 [rows, lookups], of the arrays of a block."""
    indices = np.empty((len(arrays[0]), len(lookups)), np.int64)
    for i, lookup in enumerate(lookups):
        indices[:, i] = lookup(*arrays)
    return indices


class TokenLookup:
    """Token -> index: one array if tokens are small, else a search in the sorted vocabulary."""

    def __init__(self, field: SequenceField) -> None:
        self.column, self.vocabulary = field.column, np.array(field.vocabulary, np.uint64)
        self.first_index = field.first_index
        largest = int(self.vocabulary.max(initial=0))
        self.dense = None
        if largest < DENSE_LIMIT:
            # The entry after the largest token stands for all larger ones.
            self.dense = np.full(largest + 2, OUT_OF_VOCABULARY, np.int64)
            self.dense[self.vocabulary] = np.arange(len(self.vocabulary)) + self.first_index

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        # Unsigned, or a token of 2^63 and more, which no text has, would be negative.
        tokens = tokens.astype(np.uint64)
        if self.dense is not None:
            return self.dense[np.minimum(tokens, np.uint64(len(self.dense) - 1)).view(np.int64)]
        place = np.searchsorted(self.vocabulary, tokens)
        is_known = self.vocabulary[np.minimum(place, len(self.vocabulary) - 1)] == tokens
        return np.where(is_known, place + self.first_index, OUT_OF_VOCABULARY)
