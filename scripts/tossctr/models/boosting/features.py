"""The features of boosting. Their number does not depend on the lengths of histories.

Every model has:

    numerics            raw, NaN where missing
    categories          indices, for columns with few categories
    lengths             of whole histories

A model can also have these sets:

    histories           statistics of histories (`features/history_statistics.py`), and the
                        shares of the column's most frequent codes
    similarities        of a target to the events of its history (`features/similarities.py`)
    clicks              log odds of clicks (`click_rates.py`) by category; and mean log odds of the
                        newest events, and of their pairs with the target
    ids                 log odds of clicks by ID, and by category for columns with many categories
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
    CODE_STATISTICS,
    STATISTICS,
    TARGET_STATISTICS,
    EventColumns,
    history_statistics,
)
from ...features.similarities import similarity_names
from .boosting import FEATURE_SETS
from .click_rates import ClickCounts, ClickRateSpec, click_rate_specs, mean_over_newest

# The shares of this many of a sequence's most frequent codes are features.
TOP_CODES = 60
# Click rates are averaged over this many newest events; the last window has all events.
_WINDOWS = (1, 20, 50, 150, 2**62)
_WINDOW_NAMES = [*(f", newest {window}" for window in _WINDOWS[:-1]), ""]
# A hash below this decides which categories become unknown.
_DRAWS = 1 << 20
# Added to the denominator of shares: one event is not a habit.
_DAMPING = 10
# They replace NaN and infinity: a matrix with gaps takes four bytes per feature. Missing values are
# informative, so they get a bin of their own, the lowest.
_MISSING, _LARGEST = -3e38, 1e38


@dataclass(frozen=True)
class FeatureBuilder:
    """Computes the features of rows: those that every model has, and those in `sets`.

    few_columns: names of the columns with few categories
    tables: by name of a click rate, log odds float32 [folds, counters]; a counter is of a category,
        an event or a pair, and a row takes the log odds of its fold
    top_codes: by history column, its most frequent codes
    oov_dropout: for each column, the share of categories to replace by "unknown"; None: none
    folds: number of folds of the rows; if `by_period`, each period is a fold
    """

    feature_map: FeatureMap
    sets: Sequence[str]
    few_columns: Sequence[str]
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    top_codes: Mapping[str, list[int]] = field(default_factory=dict)
    oov_dropout: np.ndarray | None = None
    folds: int = 1
    by_period: bool = False

    @cached_property
    def few_column_indices(self) -> list[int]:
        """The indices, in `category_fields`, of the columns with few categories."""
        fields = enumerate(self.feature_map.category_fields)
        return [i for i, field in fields if field.column in self.few_columns]

    @cached_property
    def click_rates(self) -> list[ClickRateSpec]:
        """The click rates whose set of features is in `sets`."""
        specs = click_rate_specs(self.feature_map, self.few_columns)
        return [each for each in specs if each.feature_set in self.sets]

    def columns(self) -> list[tuple[str, str]]:
        """The name and XGBoost's type of each feature: `q` for a quantity, `c` for a category.

        XGBoost gets only the types, since it refuses duplicates and some names.
        """
        names = [(field.column, "q") for field in self.feature_map.numeric]
        for few in (self.feature_map.category_fields[i] for i in self.few_column_indices):
            # An ID is also a quantity of this name.
            is_level = few in self.feature_map.ids
            names += [(f"category of {few.column}" if is_level else few.column, "c")]
        for sequence in self.feature_map.sequences:
            name = sequence.column
            names += [(f"length of {name}", "q")]
            if "histories" in self.sets:
                names += [(f"{what} of {name}", "q") for what in _statistics(sequence)]
                names += [(f"share of code {code} in {name}", "q") for code in self.top_codes[name]]
        if "histories" in self.sets:
            names += [(name, "q") for name in EventColumns(self.feature_map).columns]
        if "similarities" in self.sets:
            names += [(name, "q") for name in similarity_names(self.feature_map.sequences)]
        for each in self.click_rates:
            ends = [""] if each.sequence is None else _WINDOW_NAMES
            names += [(f"clicks of {each.name}{end}", "q") for end in ends]
        return names

    def matrix(self, encoder: FeatureEncoder, block: Block) -> np.ndarray:
        """The features of a block's rows, float32 [rows, features], all finite."""
        categories, histories = encoder.categories(block), encoder.history_indices(block)
        if self.oov_dropout is not None:
            categories = replace_with_oov(categories, block.row, self.oov_dropout)
        few = categories[:, self.few_column_indices]
        columns = [block.numeric[:, encoder.numeric_columns], few]
        for i, (sequence, history) in enumerate(zip(self.feature_map.sequences, histories)):
            columns += [history.lengths[:, None]]
            if "histories" in self.sets:
                target = categories[:, len(self.feature_map.profile) + i]
                # An unknown target must not equal unknown events.
                target = np.where(target < FIRST_CATEGORY, -1, target)
                chosen = [STATISTICS.index(name) for name in _statistics(sequence)]
                columns += [history_statistics(history, target)[:, chosen]]
                columns += [_shares(history, self.top_codes[sequence.column], sequence.size)]
        known = encoder.known_categories(categories)
        if "histories" in self.sets and encoder.events.columns:
            columns += [encoder.events(histories, encoder.event_ages(block), known)]
        if "similarities" in self.sets:
            columns += [encoder.similarities(block, histories, known)]
        fold = self.fold(block)
        for each in self.click_rates:
            counters = each.counters_of(categories, histories)
            windows = np.array((1,) if each.sequence is None else _WINDOWS)
            table = self.tables[each.name]
            columns += [mean_over_newest(table, fold, counters.values, counters.offsets, windows)]
        rows = np.concatenate(columns, axis=1, dtype=np.float32)
        return np.nan_to_num(rows, copy=False, nan=_MISSING, posinf=_LARGEST, neginf=-_LARGEST)

    def fold(self, block: Block) -> np.ndarray:
        """The number of each row's fold or, if `by_period`, of its period, int64 [rows]."""
        if not self.by_period:
            return hash_below(block.row, self.folds)
        assert block.period is not None, "a train file has periods"
        return block.period.astype(np.int64)


def oov_rates(table: Table, feature_map: FeatureMap) -> dict[str, float]:
    """By categorical column, the share of rows whose category the feature map does not have."""
    shares = FeatureEncoder(feature_map, table).oov_rates(table)
    return dict(zip((field.column for field in feature_map.category_fields), shares.tolist()))


def fit_features(
    train: Table,
    feature_map: FeatureMap,
    sets: Sequence[str] = FEATURE_SETS,
    oov_rates: Mapping[str, float] | None = None,
    *,
    by_period: bool | None = None,
    few_columns: Sequence[str] | None = None,
) -> tuple[FeatureBuilder, FeatureBuilder]:
    """Fit features to train rows; returns the features of train rows, and of all other rows.

    Click rates of a train row are counted without the row itself.

    oov_rates: by column, the share of train rows that get the category "unknown"; None: none.
        Without unknown categories, trees would trust known categories too much.
    by_period: True: click rates of a train row come from older periods, and only `few_columns` get
        unknown categories. False: click rates come from other folds. None: True for several periods
    few_columns: columns with few categories; None: those with at most MAX_CATEGORIES

    A refit passes what the first training used. Raises UserError if the train file lacks a column.
    """
    fields, periods = feature_map.category_fields, period_count(train)
    by_period = periods > 1 if by_period is None else by_period
    if few_columns is None:
        few_columns = [field.column for field in fields if field.size <= MAX_CATEGORIES]
    features = FeatureBuilder(feature_map, sets, few_columns)
    folds = periods if by_period else FOLDS
    train_features = replace(features, folds=folds, by_period=by_period)
    counts = {each.name: ClickCounts(each.counter_count, folds) for each in features.click_rates}
    oov_rows, known_rows, events = _count(train_features, train, counts)
    wanted = np.array([(oov_rates or {}).get(field.column, 0) for field in fields])
    dropout = np.clip((wanted * train.rows - oov_rows) / np.maximum(1, known_rows), 0, 1)
    if by_period:
        dropout[[i for i in range(len(dropout)) if i not in features.few_column_indices]] = 0
    top_codes = {
        sequence.column: most_frequent(count, TOP_CODES).tolist()
        for sequence, count in zip(feature_map.sequences, events)
    }
    tables = {
        name: count.ordered_log_odds() if by_period else count.out_of_fold_log_odds()
        for name, count in counts.items()
    }
    full_tables = {name: count.full_log_odds() for name, count in counts.items()}
    return (
        replace(train_features, tables=tables, top_codes=top_codes, oov_dropout=dropout),
        replace(features, tables=full_tables, top_codes=top_codes),
    )


def _count(
    features: FeatureBuilder, train: Table, counts: Mapping[str, ClickCounts]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Add the clicks of all rows to `counts`.

    Returns the number of rows with an unknown and with a known category, by column; and how often
    each event occurs, by history.
    """
    feature_map, encoder = features.feature_map, FeatureEncoder(features.feature_map, train)
    oov_rows, known_rows = np.zeros((2, len(feature_map.category_fields)))
    events = [np.zeros(sequence.size, np.int64) for sequence in feature_map.sequences]
    progress = Progress("counted", train.rows)
    for block, categories, histories in prefetch_map(
        lambda block: (block, encoder.categories(block), encoder.history_indices(block)),
        train.blocks(feature_map.history_columns),
    ):
        assert block.label is not None, "a train file has labels"
        oov_rows += (categories == OUT_OF_VOCABULARY).sum(0)
        known_rows += (categories >= FIRST_CATEGORY).sum(0)
        for count, history in zip(events, histories):
            count += np.bincount(history.values, minlength=len(count))
        label, fold = block.label.astype(np.int64), features.fold(block)
        for each in features.click_rates:
            counts[each.name].add(fold, each.counters_of(categories, histories), label)
        progress.advance(len(block))
    return oov_rows, known_rows, events


def replace_with_oov(categories: np.ndarray, row: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Replace a share `rates` [columns] of the known `categories` [rows, columns] by "unknown".

    The draws depend only on `row`, int64 [rows], the numbers of the rows in the raw file.
    """
    columns = len(rates)
    draw = hash_below(row[:, None] * columns + np.arange(columns), _DRAWS)
    is_drawn = (draw < rates * _DRAWS) & (categories >= FIRST_CATEGORY)
    return np.where(is_drawn, OUT_OF_VOCABULARY, categories)


def _statistics(sequence: SequenceField) -> list[str]:
    """The statistics of a sequence except its length; some need a target with the same codes."""
    names = [name for name in CODE_STATISTICS if name != "length"]
    return [*names, *TARGET_STATISTICS] if sequence.shared_with else names


def _shares(history: Ragged, codes: Sequence[int], size: int) -> np.ndarray:
    """Damped shares of `codes`, which are below `size`, in each history, [rows, codes]."""
    column = np.full(size, -1)
    column[codes] = np.arange(len(codes))
    event_column = column[history.values]
    cell = np.repeat(np.arange(len(history)), history.lengths) * len(codes) + event_column
    count = np.bincount(cell[event_column >= 0], minlength=len(history) * len(codes))
    return count.reshape(len(history), len(codes)) / (history.lengths[:, None] + _DAMPING)
