"""Fitting the feature map: the frequent values of train rows, and their numeric ranges."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..common.files import Output
from ..common.progress import Progress
from ..config.columns import Columns
from ..storage.categories import ByCode, is_number, words_by_token
from ..storage.opening import AllRows, Files, open_table
from ..storage.table import require_drawn
from .feature_map import (
    DENSE_LIMIT,
    CategoryField,
    FeatureMap,
    LevelField,
    SequenceField,
    require_columns,
)
from .history_statistics import HistoryColumns
from .numeric import SAMPLE_ROWS, NumericFit

logger = logging.getLogger(__name__)


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

    One pass in blocks over the train rows, or over these and the validation rows. Raises UserError
    for a test table.
    """
    with open_table(AllRows(train_h5, valid_h5) if valid_h5 else train_h5) as table:
        require_columns(
            table, columns.categorical, columns.numeric, columns.sequences, columns.event_time
        )
        require_drawn(table)
        categories = {
            name: _WordCounts(table.vocabulary(name)) for name in table.categorical_columns
        }
        tokens = {name: TokenCounts(table.vocabulary(name)) for name in columns.sequences}
        numeric = NumericFit(table.numeric_columns, columns.ids)
        histories = HistoryColumns(columns.sequences)
        statistics = NumericFit(histories.columns)
        counting = Progress("counted", table.rows)
        for block in table.blocks(columns.sequences):
            for i, category in enumerate(categories.values()):
                category.add(block.categorical[:, i])
            for name, sequence in tokens.items():
                sequence.add(block.sequences[name].values)
            numeric.add(block.numeric)
            if statistics.sample_rows < SAMPLE_ROWS:
                statistics.add(histories(block, np.arange(len(block))))
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
    return FeatureMap(
        profile=[fields[name] for name in columns.profile],
        targets=[target for _, target in pairs],
        sequences=[sequence for sequence, _ in pairs],
        numeric=numeric.fields(columns.numeric),
        min_count=min_count,
        event_time=columns.event_time,
        fitted_on=table.identity,
        context=[fields[name] for name in columns.context],
        ids=[LevelField(*item) for item in numeric.id_values(min_count).items()],
        levels=[LevelField(*item) for item in numeric.levels(columns.numeric, min_count).items()],
        statistics=statistics.fields(histories.columns),
        separator=columns.separator,
    )


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

    def add(self, codes: np.ndarray) -> None:
        self._counts += np.bincount(self._place(codes), minlength=len(self._counts))

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
