"""Encoding rows of an H5 table as model inputs, by the vocabularies and ranges of a feature map."""

import logging
from dataclasses import dataclass

import numpy as np

from .feature_map import (
    DENSE_LIMIT,
    FIRST_CATEGORY,
    MISSING,
    OUT_OF_VOCABULARY,
    CategoryField,
    FeatureMap,
    SequenceField,
    require_columns,
)
from .numeric import NumericEncoder
from .store import Block, H5Table

logger = logging.getLogger(__name__)

# A larger share of values that the model does not know is worth a warning.
_UNSEEN_SHARE = 0.5


@dataclass(frozen=True)
class Inputs:
    """What a model wants to know of a row, beside profile, target and histories."""

    scaling: str = "minmax"
    ranks: bool = False
    missing: bool = False
    context: bool = True

    def context_fields(self, feature_map: FeatureMap) -> list[CategoryField]:
        """The categories for the output network alone."""
        return feature_map.context if self.context else []


BRIEFING = Inputs()


@dataclass(frozen=True)
class EncodedRows:
    """Model inputs of some rows: float32 [rows, .] of numbers, int64 indices [rows, .]."""

    numeric: np.ndarray
    profile: np.ndarray
    target: np.ndarray
    context: np.ndarray
    rank: np.ndarray | None = None
    missing: np.ndarray | None = None


class FeatureEncoder:
    """Encodes blocks of one H5 table; train, validation and test take the same path.

    Columns are looked up once, here. Raises UserError if the table lacks one.
    """

    def __init__(self, feature_map: FeatureMap, table: H5Table, inputs: Inputs = BRIEFING) -> None:
        context = inputs.context_fields(feature_map)
        require_columns(
            table,
            [field.column for field in (*feature_map.profile, *feature_map.targets, *context)],
            [field.column for field in feature_map.numeric],
            [field.column for field in feature_map.sequences],
            feature_map.event_time,
        )
        self.profile = [_CategoryLookup(field, table) for field in feature_map.profile]
        self.target = [_CategoryLookup(field, table) for field in feature_map.targets]
        self.context = [_CategoryLookup(field, table) for field in context]
        self.sequences = [TokenLookup(field) for field in feature_map.sequences]
        place = table.numeric_columns.index
        self.numeric_columns = [place(field.column) for field in feature_map.numeric]
        self.numeric = NumericEncoder(feature_map.numeric, inputs.scaling)
        self.inputs = inputs

    def encode(self, block: Block, rows: np.ndarray) -> EncodedRows:
        """Numeric and categorical inputs of these rows of `block`."""
        categorical = block.categorical[rows]
        raw = block.numeric[rows][:, self.numeric_columns]
        return EncodedRows(
            self.numeric.scale(raw),
            _stack(self.profile, categorical),
            _stack(self.target, categorical),
            _stack(self.context, categorical),
            self.numeric.rank(raw) if self.inputs.ranks else None,
            self.numeric.missing(raw) if self.inputs.missing else None,
        )

    def categories(self, block: Block) -> np.ndarray:
        """Indices of the profile, then target, then context columns, int64 [rows, fields]."""
        return _stack([*self.profile, *self.target, *self.context], block.categorical)

    def warn_of_unseen(self, categorical: np.ndarray) -> None:
        """Log the columns of `categorical` [rows, K] whose values are mostly unknown to the model.

        A prediction is still possible, but the two files are most likely coded differently.
        """
        for lookup in (*self.profile, *self.target, *self.context):
            codes = categorical[:, lookup.column]
            is_unseen = lookup.index_of_code[codes] == OUT_OF_VOCABULARY
            if is_unseen.mean() > _UNSEEN_SHARE:
                logger.warning(
                    "column %r: %.0f %% of the rows have values never seen in training, such as "
                    "%r, but not such as %s: are both files coded in the same way?",
                    lookup.field.column,
                    100 * is_unseen.mean(),
                    lookup.words[codes[is_unseen.argmax()]],
                    ", ".join(map(repr, lookup.field.vocabulary[:3])),
                )


class _CategoryLookup:
    def __init__(self, field: CategoryField, table: H5Table) -> None:
        index = {word: i for i, word in enumerate(field.vocabulary, FIRST_CATEGORY)}
        self.field = field
        self.words = words = table.vocabulary(field.column)
        self.column = table.categorical_columns.index(field.column)
        self.index_of_code = np.array(
            [MISSING, *(index.get(word, OUT_OF_VOCABULARY) for word in words[1:])], np.int64
        )


def _stack(lookups: list[_CategoryLookup], categorical: np.ndarray) -> np.ndarray:
    indices = np.empty((len(categorical), len(lookups)), np.int64)
    for i, lookup in enumerate(lookups):
        indices[:, i] = lookup.index_of_code[categorical[:, lookup.column]]
    return indices


class TokenLookup:
    """Token -> index: one array if tokens are small, else a search in the sorted vocabulary."""

    def __init__(self, field: SequenceField) -> None:
        self.vocabulary = np.array(field.vocabulary, np.int64)
        self.first_index = field.first_index
        largest = int(self.vocabulary.max(initial=0))
        self.dense = None
        if largest < DENSE_LIMIT:
            # The entry behind the largest token stands for all larger ones.
            self.dense = np.full(largest + 2, OUT_OF_VOCABULARY, np.int64)
            self.dense[self.vocabulary] = np.arange(len(self.vocabulary)) + self.first_index

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        tokens = tokens.astype(np.int64)
        if self.dense is not None:
            return self.dense[np.minimum(tokens, len(self.dense) - 1)]
        place = np.searchsorted(self.vocabulary, tokens)
        found = self.vocabulary[np.minimum(place, len(self.vocabulary) - 1)] == tokens
        return np.where(found, place + self.first_index, OUT_OF_VOCABULARY)
