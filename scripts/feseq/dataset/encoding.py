"""Categories and tokens as indices of a feature map's vocabularies."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .block import Block
from .categories import ByCode
from .feature_map import (
    DENSE_LIMIT,
    FIRST_CATEGORY,
    MISSING,
    OUT_OF_VOCABULARY,
    CategoryField,
    FeatureMap,
    LevelField,
    SequenceField,
    require_columns,
)
from .history_statistics import statistic_of
from .numeric import NumericField
from .table import Table

logger = logging.getLogger(__name__)

# A larger share of values that the model does not know is worth a warning.
_UNSEEN_SHARE = 0.5


@dataclass(frozen=True)
class Inputs:
    """The inputs that a model takes beside profile, target and histories.

    `numbers` are kinds of `dataset/numeric_kinds.py`. `whole_histories`: whether it also takes sums
    over all events, not only positions for the newest.
    """

    numbers: Sequence[str] = ("minmax",)
    levels: int = 0
    statistics: Sequence[str] = ()
    whole_histories: bool = False

    def numeric_fields(self, feature_map: FeatureMap) -> list[NumericField]:
        """The numeric columns, then the statistics of the histories."""
        statistics = feature_map.statistics
        chosen = [field for field in statistics if statistic_of(field.column) in self.statistics]
        return [*feature_map.numeric, *chosen]

    def newest_fields(self, feature_map: FeatureMap) -> list[SequenceField]:
        """The sequences whose newest code is a category behind those of `context_fields`."""
        return feature_map.sequences if "newest" in self.statistics else []

    def context_fields(self, feature_map: FeatureMap) -> list[CategoryField | LevelField]:
        """The categories for the output network alone."""
        ids = feature_map.ids
        named = {field.column for field in ids}
        few = (f for f in feature_map.levels if len(f.vocabulary) <= self.levels)
        levels = (field for field in few if field.column not in named)
        return [*feature_map.context, *ids, *levels]


DEFAULT_INPUTS = Inputs()


class FeatureEncoder:
    """Encodes the categories and tokens of one table's blocks by a feature map.

    Columns are looked up once, here. Raises UserError if the table lacks one.
    """

    def __init__(
        self, feature_map: FeatureMap, table: Table, inputs: Inputs = DEFAULT_INPUTS
    ) -> None:
        context = inputs.context_fields(feature_map)
        words = [field for field in context if isinstance(field, CategoryField)]
        require_columns(
            table,
            [field.column for field in (*feature_map.profile, *feature_map.targets, *words)],
            [field.column for field in feature_map.numeric],
            feature_map.history_columns,
            feature_map.event_time,
        )
        self.sequences = [TokenLookup(field) for field in feature_map.sequences]
        self.profile = [_CategoryLookup(field, table) for field in feature_map.profile]
        self.target = [_CategoryLookup(field, table) for field in feature_map.targets]
        self.context = [_lookup(field, table) for field in context]
        place = table.numeric_columns.index
        self.numeric_columns = [place(field.column) for field in feature_map.numeric]

    def categories(self, block: Block) -> np.ndarray:
        """Indices of the profile, then target, then context columns, int64 [rows, fields]."""
        lookups = [*self.profile, *self.target, *self.context]
        return stack(lookups, block.categorical, block.numeric)

    def unknown_shares(self, table: Table, rows: int | None = None) -> np.ndarray:
        """The share of a table's rows, all or the first, with an unknown category, [fields]."""
        unknown = np.zeros(len(self.profile) + len(self.target) + len(self.context))
        rows = table.rows if rows is None else min(rows, table.rows)
        for block in table.blocks([], rows):
            unknown += (self.categories(block) == OUT_OF_VOCABULARY).sum(0)
        return unknown / max(1, rows)

    def warn_of_unseen(self, table: Table) -> None:
        """Log the categorical columns of a table whose values are mostly unknown to the model.

        A prediction is still possible, but the two files are most likely coded differently.
        """
        categorical = table.column("categorical")
        for lookup in (*self.profile, *self.target, *self.context):
            if isinstance(lookup, _LevelLookup):
                continue
            unseen = (lookup.index(categorical[:, lookup.column]) == OUT_OF_VOCABULARY).mean()
            if unseen > _UNSEEN_SHARE:
                words, known = table.vocabulary(lookup.field.column), lookup.field.vocabulary
                logger.warning(
                    "column %r: %.0f %% of the rows have values never seen in training, such as "
                    "%r, but not such as %s: are both files coded in the same way?",
                    lookup.field.column,
                    100 * unseen,
                    min({*words}.difference(known)),
                    ", ".join(map(repr, known[:3])),
                )


class _CategoryLookup:
    def __init__(self, field: CategoryField, table: Table) -> None:
        self.field = field
        self.column = table.categorical_columns.index(field.column)
        indices = np.arange(FIRST_CATEGORY, field.size)
        words = field.vocabulary
        self.index = ByCode(words, indices, missing=MISSING, other=OUT_OF_VOCABULARY)

    def __call__(self, categorical: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        return self.index(categorical[:, self.column])


class _LevelLookup:
    def __init__(self, field: LevelField, table: Table) -> None:
        self.column = table.numeric_columns.index(field.column)
        # No value reaches the entry after the largest one.
        self.values = np.array([*field.vocabulary, np.nan], np.float32)

    def __call__(self, categorical: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        raw = numeric[:, self.column]
        place = np.searchsorted(self.values[:-1], raw)
        index = np.where(self.values[place] == raw, place + FIRST_CATEGORY, OUT_OF_VOCABULARY)
        return np.where(np.isnan(raw), MISSING, index)


Lookup = _CategoryLookup | _LevelLookup


def _lookup(field: CategoryField | LevelField, table: Table) -> Lookup:
    if isinstance(field, LevelField):
        return _LevelLookup(field, table)
    return _CategoryLookup(field, table)


def stack(lookups: Sequence[Lookup], categorical: np.ndarray, numeric: np.ndarray) -> np.ndarray:
    """The index of each lookup, int64 [rows, lookups], of the arrays of a block."""
    indices = np.empty((len(categorical), len(lookups)), np.int64)
    for i, lookup in enumerate(lookups):
        indices[:, i] = lookup(categorical, numeric)
    return indices


class TokenLookup:
    """Token -> index: one array if tokens are small, else a search in the sorted vocabulary."""

    def __init__(self, field: SequenceField) -> None:
        self.column, self.vocabulary = field.column, np.array(field.vocabulary, np.int64)
        self.first_index = field.first_index
        largest = int(self.vocabulary.max(initial=0))
        self.dense = None
        if largest < DENSE_LIMIT:
            # The entry after the largest token stands for all larger ones.
            self.dense = np.full(largest + 2, OUT_OF_VOCABULARY, np.int64)
            self.dense[self.vocabulary] = np.arange(len(self.vocabulary)) + self.first_index

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        tokens = tokens.astype(np.int64)
        if self.dense is not None:
            return self.dense[np.minimum(tokens, len(self.dense) - 1)]
        place = np.searchsorted(self.vocabulary, tokens)
        found = self.vocabulary[np.minimum(place, len(self.vocabulary) - 1)] == tokens
        return np.where(found, place + self.first_index, OUT_OF_VOCABULARY)
