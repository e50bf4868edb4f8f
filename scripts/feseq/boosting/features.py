"""Rows as features for boosting: a fixed number, whatever the length of the histories.

    numerics            raw, NaN where missing
    categories          their indices, of columns with few
    clicks              of each category, of a history's tokens, and of these with the row's target:
                        log odds as `clicks.py` has them, means over the newest events
    statistics          of each history: `dataset/history_statistics.py`
    shares              of a history's commonest codes

Histories are of any length and not cut.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..common.ahead import map_ahead
from ..common.progress import progress
from ..common.ragged import Ragged
from ..config.boosting import BoostingConfig
from ..dataset.block import Block
from ..dataset.encoding import DEFAULT_INPUTS, FeatureEncoder
from ..dataset.feature_map import (
    FIRST_CATEGORY,
    CategoryField,
    FeatureMap,
    LevelField,
    SequenceField,
)
from ..dataset.history_statistics import NAMES, history_statistics, quantities
from ..dataset.table import Table
from .clicks import FOLDS, ClickCounts, Places, mean_over_newest, row_hash
from .unknown import UnknownCount, with_unknown

# Columns with more categories are represented by their clicks alone.
MOST_CATEGORIES = 64
# Rows of one read: 4 million events at mean length 500.
BLOCK_ROWS = 8_192
# Newest events whose clicks are averaged; the last stands for all of them.
_WINDOWS = (1, 20, 50, 150, 2**62)
# Added to a history's length where shares are taken: one event is no habit.
_DAMPING = 10


@dataclass(frozen=True)
class _Clicks:
    """A category, or a sequence's tokens with or without the target, whose clicks are counted."""

    name: str
    places: Places
    windows: tuple[int, ...]
    category: int | None = None
    sequence: int | None = None


@dataclass(frozen=True)
class Features:
    """How rows become features.

    `tables` by the name of what is counted, float32 [F, places]: one for each fold of the train
    rows, or a single one for all other rows. `common` by sequence column: its commonest codes.
    `unknown` is the share of known categories to take as unknown, by category, None for no rows.
    """

    feature_map: FeatureMap
    config: BoostingConfig
    tables: Mapping[str, np.ndarray]
    common: Mapping[str, list[int]]
    unknown: np.ndarray | None = None

    def columns(self) -> dict[str, str]:
        """The features by name, each with XGBoost's type: `q`, a quantity, or `c`, a category."""
        names = [(field.column, "q") for field in self.feature_map.numeric]
        names += [(_category_name(field), "c") for field in _few(self.feature_map).values()]
        for counted in _counted(self.feature_map, self.config):
            ends = [""] if counted.sequence is None else _window_names()
            names += [(f"clicks of {counted.name}{end}", "q") for end in ends]
        for sequence in _sequences(self.feature_map, self.config):
            name = sequence.column
            names += [(f"{what} of {name}", "q") for what in quantities(bool(sequence.shared_with))]
            names += [(f"share of code {code} in {name}", "q") for code in self.common[name]]
        return dict(names)

    def most_categories(self) -> dict[int, int]:
        """The largest index of each feature of type `c`, by its place."""
        first = len(self.feature_map.numeric)
        return {first + i: f.size - 1 for i, f in enumerate(_few(self.feature_map).values())}

    def matrix(
        self, encoder: FeatureEncoder, block: Block, *, blank_histories: bool = False
    ) -> np.ndarray:
        """The features of a block's rows, float32 [rows, columns]; histories may be emptied."""
        rows = _Rows(encoder, block, self.feature_map, self.config, blank_histories)
        if self.unknown is not None:
            rows.categories = with_unknown(rows.categories, block.row, self.unknown)
        fold = row_hash(block.row, next(iter(self.tables.values())).shape[0])
        parts = [block.numeric[:, encoder.numeric_columns]]
        parts += [rows.categories[:, list(_few(self.feature_map))]]
        for counted in _counted(self.feature_map, self.config):
            table, windows = self.tables[counted.name], np.array(counted.windows)
            tokens, target = rows.tokens(counted)
            parts += [mean_over_newest(table, counted.places, fold, tokens, target, windows)]
        sequences = _sequences(self.feature_map, self.config)
        for i, (sequence, history) in enumerate(zip(sequences, rows.histories)):
            target = rows.target(i)
            # An unknown item is none of the unknown events.
            statistics = history_statistics(history, np.where(target < FIRST_CATEGORY, -1, target))
            parts += [statistics[:, list(map(NAMES.index, quantities(bool(sequence.shared_with))))]]
            common = self.common[sequence.column]
            parts += [_shares(history, common, sequence.size)]
        return np.concatenate(parts, axis=1, dtype=np.float32)


class _Rows:
    """The categories and histories of a block's rows, as indices of the feature map."""

    def __init__(
        self,
        encoder: FeatureEncoder,
        block: Block,
        feature_map: FeatureMap,
        config: BoostingConfig,
        blank_histories: bool = False,
    ) -> None:
        self.categories = encoder.categories(block)
        self.first_target = len(feature_map.profile)
        self.histories = []
        for sequence, lookup in zip(_sequences(feature_map, config), encoder.sequences):
            events = block.sequences[sequence.column]
            if blank_histories:
                events = Ragged(events.values[:0], np.zeros_like(events.offsets))
            self.histories.append(Ragged(lookup(events.values), events.offsets))

    def target(self, sequence: int) -> np.ndarray:
        """Index of the target of a sequence, int64 [rows]."""
        return self.categories[:, self.first_target + sequence]

    def tokens(self, counted: _Clicks) -> tuple[Ragged, np.ndarray]:
        """What is counted of each row, and with which target, int64 [rows]."""
        alone = np.zeros(len(self.categories), np.int64)
        if counted.category is not None:
            each = np.arange(len(alone) + 1)
            return Ragged(np.ascontiguousarray(self.categories[:, counted.category]), each), alone
        assert counted.sequence is not None, "a category or a sequence is counted"
        with_target = counted.places.targets > 1
        target = self.target(counted.sequence) if with_target else alone
        return self.histories[counted.sequence], target


def unknown_shares(table: Table, feature_map: FeatureMap) -> dict[str, float]:
    """The share of the rows whose category the feature map does not know, by column."""
    encoder = FeatureEncoder(feature_map, table)
    count = UnknownCount([field.column for field in _fields(feature_map)])
    without_histories = BoostingConfig(histories=False)
    for block in read_blocks(table, feature_map, without_histories):
        count.add(encoder.categories(block))
    return count.shares()


def fit_features(
    train: Table,
    feature_map: FeatureMap,
    config: BoostingConfig,
    unknown: Mapping[str, float] | None = None,
) -> tuple[Features, Features]:
    """The features of the train rows, whose clicks are encoded out of fold, and of all others.

    A share of the train rows, `unknown` by column, is given an unknown category. One pass over the
    train file. Raises UserError if it lacks a column of the feature map.
    """
    encoder = FeatureEncoder(feature_map, train)
    counted = _counted(feature_map, config)
    counts = {each.name: ClickCounts(each.places) for each in counted}
    known = UnknownCount([field.column for field in _fields(feature_map)])
    blocks = read_blocks(train, feature_map, config)
    with progress("counted", train.rows) as counting:
        for block, rows in map_ahead(
            lambda block: (block, _Rows(encoder, block, feature_map, config)), blocks
        ):
            assert block.label is not None, "a train file has labels"
            known.add(rows.categories)
            label, fold = block.label.astype(np.int64), row_hash(block.row, FOLDS)
            for each in counted:
                tokens, target = rows.tokens(each)
                counts[each.name].add(fold, tokens, target, label)
            counting.advance(len(block))
    common = {
        sequence.column: _commonest(counts[sequence.column].seen.sum(0), config.top_codes)
        for sequence in _sequences(feature_map, config)
    }
    own = {name: count.out_of_fold() for name, count in counts.items()}
    of_all = {name: count.of_all() for name, count in counts.items()}
    features = Features(feature_map, config, of_all, common)
    drawn = known.to_draw(unknown or {})
    return replace(features, tables=own, unknown=drawn if drawn.any() else None), features


def read_blocks(
    table: Table,
    feature_map: FeatureMap,
    config: BoostingConfig,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[Block]:
    """Rows start to stop in blocks, with the sequences that features need."""
    names = [sequence.column for sequence in _sequences(feature_map, config)]
    stop = table.rows if stop is None else stop
    for first in range(start, stop, BLOCK_ROWS):
        yield table.read(first, min(first + BLOCK_ROWS, stop), names)


def _fields(feature_map: FeatureMap) -> list[CategoryField | LevelField]:
    return [*feature_map.profile, *feature_map.targets, *DEFAULT_INPUTS.context_fields(feature_map)]


def _category_name(field: CategoryField | LevelField) -> str:
    """Unlike the column's, where that is a quantity as well."""
    return f"category of {field.column}" if isinstance(field, LevelField) else field.column


def _few(feature_map: FeatureMap) -> dict[int, CategoryField | LevelField]:
    """The fields of few categories, by their place."""
    fields = enumerate(_fields(feature_map))
    return {i: field for i, field in fields if field.size <= MOST_CATEGORIES}


def _sequences(feature_map: FeatureMap, config: BoostingConfig) -> list[SequenceField]:
    return feature_map.sequences if config.histories else []


def _counted(feature_map: FeatureMap, config: BoostingConfig) -> list[_Clicks]:
    counted = [
        _Clicks(field.column, Places(1, field.size), (1,), category=i)
        for i, field in enumerate(_fields(feature_map))
    ]
    for i, sequence in enumerate(_sequences(feature_map, config)):
        target, name = feature_map.targets[i], sequence.column
        pair = Places(target.size, sequence.size)
        counted.append(_Clicks(name, Places(1, sequence.size), _WINDOWS, sequence=i))
        counted.append(_Clicks(f"{name} with {target.column}", pair, _WINDOWS, sequence=i))
    return counted


def _window_names() -> list[str]:
    return [f", newest {window}" for window in _WINDOWS[:-1]] + [""]


def _commonest(count: np.ndarray, most: int) -> list[int]:
    """Indices by falling count, the lower first among equals; none that does not occur."""
    order = np.argsort(-count, kind="stable")[:most]
    return order[count[order] > 0].tolist()


def _shares(history: Ragged, common: list[int], size: int) -> np.ndarray:
    """Shares of the commonest codes, of `size`, in each history, float64 [rows, codes]."""
    shape = len(history), len(common)
    column = np.full(size, -1)
    column[common] = np.arange(len(common))
    of_event = column[history.values]
    place = np.repeat(np.arange(len(history)), history.lengths) * len(common) + of_event
    count = np.bincount(place[of_event >= 0], minlength=shape[0] * shape[1])
    return count.reshape(shape) / (history.lengths[:, None] + _DAMPING)
