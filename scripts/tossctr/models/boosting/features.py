"""Rows as features for boosting: a fixed number, whatever the length of the histories.

Every model has:

    numerics            raw, NaN where missing
    categories          indices, for columns with few categories
    lengths             of the histories, which are not cut

A model has any of these sets:

    histories           their statistics (`features/history_statistics.py`, `features/events.py`),
                        and the shares of their commonest codes
    similarities        of a history's target to its events, by which items co-occur in histories
                        (`features/similarities.py`)
    clicks              of each category, of a history's tokens, and of these with the row's target:
                        log odds of `clicks.py`, as means over the newest events
    ids                 clicks of each category of columns with many, such as users, and of IDs
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ...common.arrays import Ragged, hashed_below
from ...common.prefetch import prefetch_map
from ...common.progress import Progress
from ...config.names import FOLDS
from ...datasets.block import Block
from ...datasets.categories import commonest
from ...datasets.table import Table, period_count
from ...features.encoding import FeatureEncoder
from ...features.events import EventColumns
from ...features.feature_map import (
    FIRST_CATEGORY,
    MOST_CATEGORIES,
    OUT_OF_VOCABULARY,
    CategoryField,
    FeatureMap,
    LevelField,
    SequenceField,
)
from ...features.history_statistics import NAMES, OF_TARGET, QUANTITIES, history_statistics
from ...features.similarities import similarity_names
from .click_rates import ClickCounts, mean_over_newest
from .target_encoding import Counted, all_counted
from .tree_settings import FEATURE_SETS

# The settings that features depend on.
SETTINGS = {"features"}
# The shares of this many of a history's commonest codes are features.
TOP_CODES = 60
# The newest events whose clicks are averaged; the last window has all events.
_WINDOWS = (1, 20, 50, 150, 2**62)
_WINDOW_NAMES = [*(f", newest {window}" for window in _WINDOWS[:-1]), ""]
# Unknown categories are drawn by a hash below this.
_DRAWS = 1 << 20
# Added to a history's length in shares: one event is not a habit.
_DAMPING = 10


@dataclass(frozen=True)
class Features:
    """How rows become features, of these sets.

    `tables` has the log odds by the name of what is counted, float32 [F, places]: one row for each
    fold of the train rows (`by_period`: for each period), or a single one for all other rows.
    `common` has the commonest codes of each sequence column. `unknown` has the share of known
    categories to take as unknown, by field; None stands for none. `few_columns` names the fields
    that count as having few categories. None: decided by their number. A refit, which may have more
    of them, takes the first training's.
    """

    feature_map: FeatureMap
    sets: Sequence[str] = FEATURE_SETS
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    common: Mapping[str, list[int]] = field(default_factory=dict)
    unknown: np.ndarray | None = None
    by_period: bool = False
    few_columns: Sequence[str] | None = None

    @cached_property
    def fields(self) -> list[CategoryField | LevelField]:
        """All categories."""
        return self.feature_map.category_fields

    @property
    def sequences(self) -> list[SequenceField]:
        """The histories."""
        return self.feature_map.sequences

    @cached_property
    def few(self) -> list[int]:
        """The places of the fields with few categories."""
        if self.few_columns is None:
            return [i for i, field in enumerate(self.fields) if field.size <= MOST_CATEGORIES]
        return [i for i, field in enumerate(self.fields) if field.column in self.few_columns]

    @property
    def few_names(self) -> list[str]:
        """Their columns."""
        return [self.fields[i].column for i in self.few]

    @cached_property
    def counted(self) -> list[Counted]:
        """All that clicks are counted of."""
        everything = all_counted(self.feature_map, self.fields, self.few)
        return [each for each in everything if each.feature_set in self.sets]

    def with_sets(self, sets: Sequence[str]) -> "Features":
        """The features of these sets alone."""
        fewer = replace(self, sets=[name for name in FEATURE_SETS if name in sets])
        return replace(fewer, tables={c.name: self.tables[c.name] for c in fewer.counted})

    def columns(self) -> list[tuple[str, str]]:
        """Name and type of each feature: `q`, a quantity, or `c`, a category.

        XGBoost gets the types alone: it does not accept all names, nor a name twice.
        """
        names = [(field.column, "q") for field in self.feature_map.numeric]
        for few in (self.fields[i] for i in self.few):
            # A level's column is also a quantity.
            is_level = isinstance(few, LevelField)
            names += [(f"category of {few.column}" if is_level else few.column, "c")]
        for sequence in self.sequences:
            name = sequence.column
            names += [(f"length of {name}", "q")]
            if "histories" in self.sets:
                names += [(f"{what} of {name}", "q") for what in _statistics(sequence)]
                names += [(f"share of code {code} in {name}", "q") for code in self.common[name]]
        if "histories" in self.sets:
            names += [(name, "q") for name in EventColumns(self.feature_map).columns]
        if "similarities" in self.sets:
            names += [(name, "q") for name in similarity_names(self.sequences)]
        for counted in self.counted:
            ends = [""] if counted.sequence is None else _WINDOW_NAMES
            names += [(f"clicks of {counted.name}{end}", "q") for end in ends]
        return names

    def most_categories(self) -> dict[int, int]:
        """The largest index of each feature of type `c`, by its place."""
        first = len(self.feature_map.numeric)
        return {first + i: self.fields[place].size - 1 for i, place in enumerate(self.few)}

    def matrix(self, encoder: FeatureEncoder, block: Block) -> np.ndarray:
        """The features of a block's rows, float32 [rows, columns]."""
        categories = encoder.categories(block)
        if self.unknown is not None:
            categories = with_unknown(categories, block.row, self.unknown)
        histories = encoder.tokens(block)
        columns = [block.numeric[:, encoder.numeric_columns], categories[:, self.few]]
        for i, (sequence, history) in enumerate(zip(self.sequences, histories)):
            columns += [history.lengths[:, None]]
            if "histories" in self.sets:
                target = categories[:, len(self.feature_map.profile) + i]
                columns += self._of_history(sequence, history, target)
        known = encoder.known(categories)
        if "histories" in self.sets and encoder.events.columns:
            columns += [encoder.events(histories, encoder.ages(block), known)]
        if "similarities" in self.sets:
            columns += [encoder.similarities(block, np.arange(len(block)), histories, known)]
        fold = self._fold(block, len(next(iter(self.tables.values()), ())))
        for counted, tokens, target in self._tokens(categories, histories):
            windows = np.array((1,) if counted.sequence is None else _WINDOWS)
            table = self.tables[counted.name]
            columns += [mean_over_newest(table, counted.places, fold, tokens, target, windows)]
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def _of_history(
        self, sequence: SequenceField, history: Ragged, target: np.ndarray
    ) -> list[np.ndarray]:
        """A history's features in the set `histories`, [rows, columns] each."""
        # An unknown item does not equal unknown events.
        statistics = history_statistics(history, np.where(target < FIRST_CATEGORY, -1, target))
        places = [NAMES.index(name) for name in _statistics(sequence)]
        shares = _shares(history, self.common[sequence.column], sequence.size)
        return [statistics[:, places], shares]

    def _fold(self, block: Block, folds: int) -> np.ndarray:
        """The row of the tables that encodes each row, int64 [rows]."""
        if not self.by_period:
            return hashed_below(block.row, max(1, folds))
        assert block.period is not None, "a train file has periods"
        return block.period.astype(np.int64)

    def _tokens(
        self, categories: np.ndarray, histories: list[Ragged]
    ) -> Iterator[tuple[Counted, Ragged, np.ndarray]]:
        """Each row's tokens to count, and its target, int64 [rows]."""
        none, each = np.zeros(len(categories), np.int64), np.arange(len(categories) + 1)
        for counted in self.counted:
            if counted.sequence is None:
                tokens = Ragged(np.ascontiguousarray(categories[:, counted.field]), each)
            else:
                tokens = histories[counted.sequence]
            yield (
                counted,
                tokens,
                categories[:, counted.field] if counted.places.targets > 1 else none,
            )


def unknown_shares(table: Table, feature_map: FeatureMap) -> dict[str, float]:
    """The share of the rows whose category the feature map does not know, by column."""
    shares = FeatureEncoder(feature_map, table).unknown_shares(table)
    return dict(zip((field.column for field in Features(feature_map).fields), shares.tolist()))


def fit_features(
    train: Table,
    feature_map: FeatureMap,
    sets: Sequence[str] = FEATURE_SETS,
    unknown: Mapping[str, float] | None = None,
    *,
    by_period: bool | None = None,
    few_columns: Sequence[str] | None = None,
) -> tuple[Features, Features]:
    """The features of the train rows, without each row's own click, and those of all other rows.

    A share of the train rows, `unknown` by column, gets an unknown category: else trees would trust
    known ones too much, and a later row may have a new one. If clicks are of older rows, a category
    is unknown at first, so that only columns of few categories need this. `by_period` says whether
    clicks are of older rows; None means if there are several periods. This takes one pass over the
    train file. Raises UserError if it lacks a column of the feature map.
    """
    periods = period_count(train)
    by_period = periods > 1 if by_period is None else by_period
    folds = periods if by_period else FOLDS
    sets = [name for name in FEATURE_SETS if name in sets]
    features = Features(feature_map, sets, by_period=by_period, few_columns=few_columns)
    encoder = FeatureEncoder(feature_map, train)
    counts = {counted.name: ClickCounts(counted.places, folds) for counted in features.counted}
    new_rows, known_rows = np.zeros((2, len(features.fields)))
    events = [np.zeros(sequence.size, np.int64) for sequence in features.sequences]

    def encoded(block: Block) -> tuple[Block, np.ndarray, list[Ragged]]:
        return block, encoder.categories(block), encoder.tokens(block)

    counting = Progress("counted", train.rows)
    for block, categories, histories in prefetch_map(
        encoded, train.blocks(feature_map.history_columns)
    ):
        assert block.label is not None, "a train file has labels"
        new_rows += (categories == OUT_OF_VOCABULARY).sum(0)
        known_rows += (categories >= FIRST_CATEGORY).sum(0)
        for count, history in zip(events, histories):
            count += np.bincount(history.values, minlength=len(count))
        label, fold = block.label.astype(np.int64), features._fold(block, folds)
        for counted, tokens, target in features._tokens(categories, histories):
            counts[counted.name].add(fold, tokens, target, label)
        counting.advance(len(block))
    common = {
        sequence.column: commonest(count, TOP_CODES).tolist()
        for sequence, count in zip(features.sequences, events)
    }
    train_tables = {
        name: count.of_older() if by_period else count.out_of_fold()
        for name, count in counts.items()
    }
    all_tables = {name: count.of_all() for name, count in counts.items()}
    wanted = np.array([(unknown or {}).get(field.column, 0) for field in features.fields])
    drawn = np.clip((wanted * train.rows - new_rows) / np.maximum(1, known_rows), 0, 1)
    if by_period:
        drawn[[i for i in range(len(drawn)) if i not in features.few]] = 0
    return (
        replace(
            features,
            tables=train_tables,
            common=common,
            unknown=drawn if drawn.any() else None,
        ),
        replace(
            features,
            tables=all_tables,
            common=common,
            by_period=False,
        ),
    )


def with_unknown(categories: np.ndarray, row: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The categories int64 [rows, columns], with a share [columns] of the known ones as unknown.

    The draws depend only on the rows' numbers in the raw file, int64 [rows].
    """
    columns = len(share)
    draw = hashed_below(row[:, None] * columns + np.arange(columns), _DRAWS)
    is_drawn = (draw < share * _DRAWS) & (categories >= FIRST_CATEGORY)
    return np.where(is_drawn, OUT_OF_VOCABULARY, categories)


def _statistics(sequence: SequenceField) -> list[str]:
    """A history's statistics without its length; some need a target with the history's codes."""
    names = [name for name in QUANTITIES if name != "length"]
    return [*names, *OF_TARGET] if sequence.shared_with else names


def _shares(history: Ragged, codes: Sequence[int], size: int) -> np.ndarray:
    """Shares of each history's events that are of these codes below `size`, [rows, codes]."""
    column = np.full(size, -1)
    column[codes] = np.arange(len(codes))
    event_column = column[history.values]
    place = np.repeat(np.arange(len(history)), history.lengths) * len(codes) + event_column
    count = np.bincount(place[event_column >= 0], minlength=len(history) * len(codes))
    return count.reshape(len(history), len(codes)) / (history.lengths[:, None] + _DAMPING)
