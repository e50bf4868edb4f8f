"""Rows as features for boosting: a fixed number, whatever the length of the histories.

Every model has:

    numerics            raw, NaN where missing
    categories          indices, for columns with few categories
    lengths             of the histories, which are not cut

A model has any of these sets:

    histories           their statistics (`features/history_statistics.py`), and the
                        shares of their commonest codes
    similarities        of a history's target to its events, by which items co-occur in histories
                        (`features/similarities.py`)
    clicks              of each category, of a history's tokens, and of tokens with the row's
                        target: log odds of `click_rates.py`, as means over the newest events
    ids                 clicks of each category of columns with many, such as users, and of IDs
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ...common.arrays import Ragged, hash_below
from ...common.prefetch import prefetch_map
from ...common.progress import Progress
from ...config.names import FOLDS
from ...datasets.categories import most_frequent
from ...datasets.table import Block, Table, period_count
from ...features.encoding import FeatureEncoder
from ...features.feature_map import (
    FIRST_CATEGORY,
    MAX_CATEGORIES,
    OUT_OF_VOCABULARY,
    FeatureMap,
    SequenceField,
)
from ...features.history_statistics import (
    NAMES,
    OF_TARGET,
    QUANTITIES,
    EventColumns,
    history_statistics,
)
from ...features.similarities import similarity_names
from .boosting import FEATURE_SETS
from .click_rates import ClickCounts, Counted, all_counted, mean_over_newest

# Features are the shares, in a history, of this many of the sequence's commonest codes.
TOP_CODES = 60
# Over how many newest events clicks are averaged; the last window has all events.
_WINDOWS = (1, 20, 50, 150, 2**62)
_WINDOW_NAMES = [*(f", newest {window}" for window in _WINDOWS[:-1]), ""]
# Unknown categories are drawn by a hash below this.
_DRAWS = 1 << 20
# Added to a history's length when shares are computed: one event is not a habit.
_DAMPING = 10
# They replace NaN and infinity: a matrix with gaps takes four bytes per feature. Missing values are
# informative, and get their own bin below all others.
_MISSING, _LARGEST = -3e38, 1e38


@dataclass(frozen=True)
class Features:
    """How rows become features, of these sets.

    `few` names the columns of few categories. `tables` has log odds float32 [folds, slots], by the
    name of what is counted; a row is encoded by its fold or, if `by_period`, by its period.
    `common` has the commonest codes of each sequence column. `unknown` has the share of known
    categories to take as unknown, by field; None: no category.
    """

    feature_map: FeatureMap
    sets: Sequence[str]
    few: Sequence[str]
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    common: Mapping[str, list[int]] = field(default_factory=dict)
    unknown: np.ndarray | None = None
    folds: int = 1
    by_period: bool = False

    @cached_property
    def few_fields(self) -> list[int]:
        """The indices of the fields of few categories."""
        fields = enumerate(self.feature_map.category_fields)
        return [i for i, field in fields if field.column in self.few]

    @cached_property
    def counted(self) -> list[Counted]:
        """Everything that clicks are counted for."""
        counted = all_counted(self.feature_map, self.few)
        return [each for each in counted if each.feature_set in self.sets]

    def columns(self) -> list[tuple[str, str]]:
        """Name and type of each feature: `q`, a quantity, or `c`, a category.

        XGBoost gets only the types, since it refuses some names and duplicates.
        """
        names = [(field.column, "q") for field in self.feature_map.numeric]
        for few in (self.feature_map.category_fields[i] for i in self.few_fields):
            # The column of an ID is also a quantity.
            is_level = few in self.feature_map.ids
            names += [(f"category of {few.column}" if is_level else few.column, "c")]
        for sequence in self.feature_map.sequences:
            name = sequence.column
            names += [(f"length of {name}", "q")]
            if "histories" in self.sets:
                names += [(f"{what} of {name}", "q") for what in _statistics(sequence)]
                names += [(f"share of code {code} in {name}", "q") for code in self.common[name]]
        if "histories" in self.sets:
            names += [(name, "q") for name in EventColumns(self.feature_map).columns]
        if "similarities" in self.sets:
            names += [(name, "q") for name in similarity_names(self.feature_map.sequences)]
        for counted in self.counted:
            ends = [""] if counted.sequence is None else _WINDOW_NAMES
            names += [(f"clicks of {counted.name}{end}", "q") for end in ends]
        return names

    def matrix(self, encoder: FeatureEncoder, block: Block) -> np.ndarray:
        """The features of a block's rows, finite float32 [rows, columns]."""
        categories, histories = encoder.categories(block), encoder.tokens(block)
        if self.unknown is not None:
            categories = with_unknown(categories, block.row, self.unknown)
        columns = [block.numeric[:, encoder.numeric_columns], categories[:, self.few_fields]]
        for i, (sequence, history) in enumerate(zip(self.feature_map.sequences, histories)):
            columns += [history.lengths[:, None]]
            if "histories" in self.sets:
                target = categories[:, len(self.feature_map.profile) + i]
                # An unknown target must not equal unknown events.
                target = np.where(target < FIRST_CATEGORY, -1, target)
                kept = [NAMES.index(name) for name in _statistics(sequence)]
                columns += [history_statistics(history, target)[:, kept]]
                columns += [_shares(history, self.common[sequence.column], sequence.size)]
        known = encoder.known(categories)
        if "histories" in self.sets and encoder.events.columns:
            columns += [encoder.events(histories, encoder.ages(block), known)]
        if "similarities" in self.sets:
            columns += [encoder.similarities(block, histories, known)]
        fold = self.fold(block)
        for counted in self.counted:
            slots = counted.slots_of(categories, histories)
            windows = np.array((1,) if counted.sequence is None else _WINDOWS)
            table = self.tables[counted.name]
            columns += [mean_over_newest(table, fold, slots.values, slots.offsets, windows)]
        rows = np.concatenate(columns, axis=1, dtype=np.float32)
        return np.nan_to_num(rows, copy=False, nan=_MISSING, posinf=_LARGEST, neginf=-_LARGEST)

    def fold(self, block: Block) -> np.ndarray:
        """The index, in the tables, of the fold that encodes each row, int64 [rows]."""
        if not self.by_period:
            return hash_below(block.row, self.folds)
        assert block.period is not None, "a train file has periods"
        return block.period.astype(np.int64)


def oov_rates(table: Table, feature_map: FeatureMap) -> dict[str, float]:
    """The share of rows whose category is not in the feature map, by column."""
    shares = FeatureEncoder(feature_map, table).oov_rates(table)
    return dict(zip((field.column for field in feature_map.category_fields), shares.tolist()))


def fit_features(
    train: Table,
    feature_map: FeatureMap,
    sets: Sequence[str] = FEATURE_SETS,
    unknown: Mapping[str, float] | None = None,
    *,
    by_period: bool | None = None,
    few_columns: Sequence[str] | None = None,
) -> tuple[Features, Features]:
    """Features for the train rows, without each row's own click, and for all other rows.

    In each column, the share `unknown` of the train rows gets an unknown category: later rows may
    have new categories, and trees would otherwise trust known ones too much. If clicks are counted
    in older rows, a category is unknown at first, so only columns of few categories need this.
    `by_period` says whether clicks are counted in older rows, `few_columns` which columns have few
    categories; None decides by the number of periods, or of categories. A refit may have more of
    either, and takes the first training's decision. This takes one pass over the train file. Raises
    UserError if the file lacks a column of the feature map.
    """
    fields, periods = feature_map.category_fields, period_count(train)
    by_period = periods > 1 if by_period is None else by_period
    if few_columns is None:
        few_columns = [field.column for field in fields if field.size <= MAX_CATEGORIES]
    others = Features(feature_map, sets, few_columns)
    own = replace(others, folds=periods if by_period else FOLDS, by_period=by_period)
    counts = {each.name: ClickCounts(each.slots, own.folds) for each in own.counted}
    new_rows, known_rows, events = _count(own, train, counts)
    wanted = np.array([(unknown or {}).get(field.column, 0) for field in fields])
    drawn = np.clip((wanted * train.rows - new_rows) / np.maximum(1, known_rows), 0, 1)
    if by_period:
        drawn[[i for i in range(len(drawn)) if i not in own.few_fields]] = 0
    common = {
        sequence.column: most_frequent(count, TOP_CODES).tolist()
        for sequence, count in zip(feature_map.sequences, events)
    }
    tables = {
        name: count.ordered() if by_period else count.out_of_fold()
        for name, count in counts.items()
    }
    all_tables = {name: count.full() for name, count in counts.items()}
    return (
        replace(own, tables=tables, common=common, unknown=drawn),
        replace(others, tables=all_tables, common=common),
    )


def _count(
    features: Features, train: Table, counts: Mapping[str, ClickCounts]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Add the clicks of all rows to `counts`.

    Returns the number of rows with an unknown category and with a known one, [fields] each, and the
    events of each code of each sequence.
    """
    feature_map, encoder = features.feature_map, FeatureEncoder(features.feature_map, train)
    new_rows, known_rows = np.zeros((2, len(feature_map.category_fields)))
    events = [np.zeros(sequence.size, np.int64) for sequence in feature_map.sequences]
    progress = Progress("counted", train.rows)
    for block, categories, histories in prefetch_map(
        lambda block: (block, encoder.categories(block), encoder.tokens(block)),
        train.blocks(feature_map.history_columns),
    ):
        assert block.label is not None, "a train file has labels"
        new_rows += (categories == OUT_OF_VOCABULARY).sum(0)
        known_rows += (categories >= FIRST_CATEGORY).sum(0)
        for count, history in zip(events, histories):
            count += np.bincount(history.values, minlength=len(count))
        label, fold = block.label.astype(np.int64), features.fold(block)
        for each in features.counted:
            counts[each.name].add(fold, each.slots_of(categories, histories), label)
        progress.advance(len(block))
    return new_rows, known_rows, events


def with_unknown(categories: np.ndarray, row: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The categories int64 [rows, columns], a `share` [columns] of the known ones made unknown.

    The draws depend only on the rows' numbers in the raw file, int64 [rows].
    """
    columns = len(share)
    draw = hash_below(row[:, None] * columns + np.arange(columns), _DRAWS)
    is_drawn = (draw < share * _DRAWS) & (categories >= FIRST_CATEGORY)
    return np.where(is_drawn, OUT_OF_VOCABULARY, categories)


def _statistics(sequence: SequenceField) -> list[str]:
    """A history's statistics except its length; some need a target that shares its codes."""
    names = [name for name in QUANTITIES if name != "length"]
    return [*names, *OF_TARGET] if sequence.shared_with else names


def _shares(history: Ragged, codes: Sequence[int], size: int) -> np.ndarray:
    """The share of each of these codes, below `size`, in each history's events, [rows, codes]."""
    column = np.full(size, -1)
    column[codes] = np.arange(len(codes))
    event_column = column[history.values]
    slot = np.repeat(np.arange(len(history)), history.lengths) * len(codes) + event_column
    count = np.bincount(slot[event_column >= 0], minlength=len(history) * len(codes))
    return count.reshape(len(history), len(codes)) / (history.lengths[:, None] + _DAMPING)
