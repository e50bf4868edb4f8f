"""The rows that an export is checked with, among them what is rare: as a table, as raw values."""

from typing import Any

import numpy as np

from ..common.ragged import Ragged
from ..dataset.block import Block
from ..dataset.categories import codes_of
from ..dataset.feature_map import FeatureMap
from ..dataset.table import MemoryTable, Table

_UNSEEN_WORD, _UNSEEN_TOKEN = "never seen in training", 10**12
# Shares of the rows without history; of values that are missing; of values that are unseen.
_EMPTY, _MISSING, _UNSEEN = 0.1, 0.05, 0.05


class CheckRows(MemoryTable):
    """The first rows of `table`, again from the start if there are fewer than `rows`.

    Some histories are empty, some values missing and some categories and tokens unseen by the
    model of `feature_map`.
    """

    def __init__(self, table: Table, feature_map: FeatureMap, rows: int) -> None:
        random = np.random.default_rng(0)
        first = table.read(0, min(rows, table.rows))
        block = first.take(np.resize(np.arange(len(first)), rows))
        words = {name: table.vocabulary(name) for name in table.categorical_columns}
        numeric, codes = block.numeric.copy(), block.categorical.copy()
        numeric[random.random(numeric.shape) < _MISSING] = np.nan
        chance = random.random(codes.shape)
        codes[chance < _MISSING] = 0
        codes[chance > 1 - _UNSEEN] = codes_of([_UNSEEN_WORD])[0]
        is_kept = random.random(rows) >= _EMPTY
        sequences = dict(block.sequences)
        for field in feature_map.sequences:
            tokens = sequences[field.column].values.astype(np.int64)
            tokens[random.random(len(tokens)) < _UNSEEN] = _UNSEEN_TOKEN
            sequences[field.column] = Ragged(tokens, sequences[field.column].offsets)
        block = Block(
            numeric,
            codes,
            {name: _emptied(ragged, is_kept) for name, ragged in sequences.items()},
            np.arange(rows),
            time=block.time,
        )
        words = {name: [*known, _UNSEEN_WORD] for name, known in words.items()}
        super().__init__(table, block, words)
        lengths = self.block.sequences[feature_map.sequences[0].column].lengths
        self.counts = {
            "rows": rows,
            "rows_without_history": int((lengths == 0).sum()),
            "missing_values": int(np.isnan(numeric).sum() + (codes == 0).sum()),
            "unseen_categories": int((chance > 1 - _UNSEEN).sum()),
        }

    def dictionaries(self, row_time: str | None) -> list[dict[str, Any]]:
        """Each row as raw values by column name, its time as `row_time`."""
        block = self.block
        columns: dict[str, list[Any]] = {}
        for name, values in zip(self.numeric_columns, block.numeric.T):
            columns[name] = [None if np.isnan(value) else float(value) for value in values]
        for name, codes in zip(self.categorical_columns, block.categorical.T):
            known = self.vocabulary(name)
            word_of = dict(zip(codes_of(known).tolist(), known))
            columns[name] = [word_of.get(code) for code in codes.tolist()]
        for name, ragged in block.sequences.items():
            columns[name] = [row.tolist() for row in np.split(ragged.values, ragged.offsets[1:-1])]
        if row_time and block.time is not None:
            columns[row_time] = block.time.tolist()
        return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _emptied(ragged: Ragged, is_kept: np.ndarray) -> Ragged:
    """The rows, empty where they are not kept."""
    values = ragged.values[np.repeat(is_kept, ragged.lengths)]
    return Ragged(values, np.concatenate(([0], np.cumsum(ragged.lengths * is_kept))))
