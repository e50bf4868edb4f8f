"""Fitting the feature map: the frequent values of train rows, and their numeric ranges."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..common.arrays import Ragged, hashed
from ..common.files import Output
from ..common.progress import Progress
from ..config.columns import Columns
from ..config.names import FOLDS
from ..datasets.categories import ByCode, commonest, is_number, words_by_token
from ..datasets.opening import AllRows, Files, open_table
from ..datasets.table import Table, period_count, require_drawn
from .co_occurrence import MOST_CODES, CoOccurrences, are_cut, fold_of
from .encoding import FeatureEncoder, TokenLookup
from .events import AgeQuantiles
from .feature_map import (
    DENSE_LIMIT,
    FIRST_CATEGORY,
    CategoryField,
    FeatureMap,
    LevelField,
    SequenceField,
    require_columns,
)
from .item_attributes import KindFit
from .item_vectors import ItemVectors, folds
from .numeric import SAMPLE_ROWS, NumericField, NumericFit
from .numeric_encodings import count_blocks

logger = logging.getLogger(__name__)

# The rows whose histories say which items co-occur, and those that say which are common.
_CO_OCCURRENCE_ROWS, _COMMON_ROWS = 1_000_000, 100_000


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
    """Vocabularies of values that occur at least `min_count` times, and numeric ranges.

    One pass in blocks over the train rows, or over these and the validation rows; two over as many
    as tell which items are common and co-occur; one over a sample, for the statistics of histories.
    Raises UserError for a test table.
    """
    with open_table(AllRows(train_h5, valid_h5) if valid_h5 else train_h5) as table:
        require_columns(
            table, columns.categorical, columns.numeric, columns.sequences, columns.event_time
        )
        require_drawn(table)
        fitted = _counted(table, columns, min_count)
        fitted = replace(fitted, item_vectors=_item_vectors(table, train_h5, fitted.sequences))
        first_block = count_blocks(fitted.numeric)
        return replace(fitted, statistics=_statistics(table, fitted, first_block))


def _counted(table: Table, columns: Columns, min_count: int) -> FeatureMap:
    """The feature map without the statistics of histories."""
    categories = {name: _WordCounts(table.vocabulary(name)) for name in table.categorical_columns}
    tokens = {name: TokenCounts(table.vocabulary(name)) for name in columns.sequences}
    numeric = NumericFit(table.numeric_columns, columns.ids)
    kinds = KindFit(columns, {name: category.words for name, category in categories.items()})
    ages, counting = AgeQuantiles(columns.event_time), Progress("counted", table.rows)
    for block in table.blocks(columns.ragged):
        places = {
            name: category.add(codes)
            for (name, category), codes in zip(categories.items(), block.categorical.T)
        }
        for name, sequence in tokens.items():
            sequence.add(block.sequences[name].values)
        numeric.add(block.numeric)
        kinds.add(places)
        ages.add(block)
        counting.advance(len(block))
    fields = {
        name: CategoryField(name, categories[name].at_least(min_count)) for name in categories
    }
    pairs = [
        _share(sequence, tokens[sequence], target, categories[target].by_word, min_count)
        if sequence in columns.shared
        else (SequenceField(sequence, tokens[sequence].at_least(min_count)), fields[target])
        for sequence, target in zip(columns.sequences, columns.targets)
    ]
    sequences, targets = [sequence for sequence, _ in pairs], [target for _, target in pairs]
    return FeatureMap(
        profile=[fields[name] for name in columns.profile],
        targets=targets,
        sequences=sequences,
        numeric=numeric.fields(columns.numeric),
        min_count=min_count,
        event_time=columns.event_time,
        fitted_on=table.identity,
        context=[fields[name] for name in columns.context],
        ids=[LevelField(*item) for item in numeric.id_values(min_count).items()],
        separator=columns.separator,
        event_ages=ages.quantiles(),
        kinds=kinds.fields(sequences, targets, fields),
    )


def _item_vectors(
    table: Table, train_h5: Files, sequences: Sequence[SequenceField]
) -> list[ItemVectors]:
    """The vectors of items of sequences that have their target's codes.

    The train files say what a fold is, so that it is the same for a refit.
    """
    fields = [field for field in sequences if field.shared_with]
    with open_table(train_h5) as train:
        fold = fold_of(train)
        if fold == "history":
            fields = [field for field in fields if _are_whole(train, field.column)]
    if not fields:
        return []
    count = period_count(table) if fold == "period" else FOLDS
    lookups = {field.column: TokenLookup(field) for field in fields}
    counts = {
        field.column: CoOccurrences(_common(table, field), field.size, count) for field in fields
    }
    counting = Progress("counted what co-occurs", min(table.rows, _CO_OCCURRENCE_ROWS))
    for block in table.blocks([*lookups], _CO_OCCURRENCE_ROWS):
        rows = np.arange(len(block))
        for name, lookup in lookups.items():
            events = block.sequences[name]
            history = Ragged(lookup(events.values), events.offsets)
            counts[name].add(folds(fold, block, rows, name, count), history)
        counting.advance(len(block))
    vectors = (each.vectors(name, fold) for name, each in counts.items())
    return [each for each in vectors if each is not None]


def _are_whole(train: Table, sequence: str) -> bool:
    """True unless histories are cut: then a user's rows begin with other events, and so cannot be
    told from those of others; vectors of all rows would know labels.
    """
    keys = [np.empty((0, 2), np.uint64)]
    for block in train.blocks([sequence], _COMMON_ROWS):
        history = block.sequences[sequence]
        # Rows of one user and moment have the same history, with the same sum of hashes.
        sums = np.zeros(len(history.values) + 1, np.uint64)
        np.cumsum(hashed(history.values.astype(np.uint64)), out=sums[1:])
        of_rows = np.diff(sums[history.offsets])
        keys.append(np.stack([history.lengths.astype(np.uint64), of_rows], axis=1))
    lengths = np.unique(np.concatenate(keys), axis=0)[:, 0].astype(np.int64)
    if not are_cut(lengths):
        return True
    logger.warning(
        "%r: so many histories have %d events, and none has more, that they seem to be cut to "
        "their newest; then no history tells which rows are one user's, and similarities could "
        "know labels, so there are none: name the column of users, columns.group, or of times, "
        "columns.time",
        sequence,
        int(lengths.max()),
    )
    return False


def _common(table: Table, field: SequenceField) -> np.ndarray:
    """The indices of the items that get vectors: the commonest of a sample."""
    lookup, counts = TokenLookup(field), np.ones(field.size, np.int64)
    for block in table.blocks([field.column], _COMMON_ROWS):
        codes = lookup(block.sequences[field.column].values)
        counts += np.bincount(codes, minlength=field.size)
    counts[:FIRST_CATEGORY] = 0
    return np.sort(commonest(counts, MOST_CODES))


def _statistics(table: Table, fitted: FeatureMap, first_block: int) -> list[NumericField]:
    """The statistics of the histories, of a sample of the rows.

    Their blocks of missing values are numbered from `first_block` on.
    """
    encoder = FeatureEncoder(fitted, table)
    statistics = NumericFit(encoder.statistics_columns)
    for block in table.blocks(encoder.history_columns, SAMPLE_ROWS if statistics.columns else 0):
        statistics.add(encoder.statistics_of(block, np.arange(len(block))))
    return statistics.fields(statistics.columns, first_block)


def _share(
    sequence: str, tokens: "TokenCounts", target: str, words: dict[str, int], min_count: int
) -> tuple[SequenceField, CategoryField]:
    """Both fields, with a vocabulary of what occurs often enough in the two columns together.

    `words` maps the target's words to their counts, which are added to `tokens`. In a sequence of
    integers only integers can be events.
    """
    events = {w: count for w, count in words.items() if tokens.texts or is_number(w)}
    named = [*events, *tokens.texts]
    name_of = words_by_token(named)
    if words and not any(map(tokens.count, [*name_of][: len(events)])):
        logger.warning(
            "share_embedding: no value of column %r, such as %s, is an event of %r: are both "
            "written in the same way? Token 012 is 12",
            target,
            ", ".join(map(repr, [*words][:3])),
            sequence,
        )
    tokens.add_counts(zip(name_of, events.values()))
    known = tokens.at_least(min_count)
    others = sorted(w for w, n in words.items() if n >= min_count and w not in events)
    return (
        SequenceField(sequence, known, target, len(others)),
        CategoryField(target, [*(name_of.get(token, str(token)) for token in known), *others]),
    )


class _WordCounts:
    """Counts the categories of a column, whose `words` are known."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self._place = ByCode.places(words)
        self._counts = np.zeros(len(words) + 1, np.int64)

    def add(self, codes: np.ndarray) -> np.ndarray:
        """Count the words of these codes, and return their places, int64 [rows]; 0 is missing."""
        places = self._place(codes)
        self._counts += np.bincount(places, minlength=len(self._counts))
        return places

    @property
    def by_word(self) -> dict[str, int]:
        return dict(zip(self.words, self._counts[1:].tolist()))

    def at_least(self, min_count: int) -> list[str]:
        enough = np.flatnonzero(self._counts[1:] >= min_count)
        return [self.words[place] for place in enough.tolist()]


class TokenCounts:
    """Counts tokens: small ones in an array, others in a dictionary.

    `texts` are the tokens that are not integers.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.texts = texts
        self.dense = np.zeros(DENSE_LIMIT, np.int64)
        self.sparse: dict[int, int] = {}

    def add(self, tokens: np.ndarray) -> None:
        is_dense = tokens < DENSE_LIMIT
        dense = tokens if is_dense.all() else tokens[is_dense]
        counts = np.bincount(dense.astype(np.int64, copy=False))
        self.dense[: len(counts)] += counts
        if not is_dense.all():
            unique, counts = np.unique(tokens[~is_dense], return_counts=True)
            self.add_counts(zip(unique.tolist(), counts.tolist()))

    def add_counts(self, counts: Iterable[tuple[int, int]]) -> None:
        for token, count in counts:
            if token < DENSE_LIMIT:
                self.dense[token] += count
            else:
                self.sparse[token] = self.sparse.get(token, 0) + count

    def count(self, token: int) -> int:
        return int(self.dense[token]) if token < DENSE_LIMIT else self.sparse.get(token, 0)

    def at_least(self, min_count: int) -> list[int]:
        dense = np.flatnonzero(self.dense >= max(1, min_count)).tolist()
        return dense + sorted(t for t, count in self.sparse.items() if count >= min_count)
