"""The rows of a table as a network's inputs, but for their histories."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .block import Block
from .encoding import DEFAULT_INPUTS, FeatureEncoder, Inputs, stack
from .feature_map import MISSING, PADDING, FeatureMap
from .history_statistics import HistoryColumns
from .numeric_kinds import NumericEncoder
from .table import Table


@dataclass(frozen=True)
class EncodedRows:
    """Inputs of some rows: `numbers` float32 [rows, .] by kind, int64 indices [rows, .]."""

    numbers: Mapping[str, np.ndarray]
    profile: np.ndarray
    target: np.ndarray
    context: np.ndarray


class InputEncoder(FeatureEncoder):
    """Encodes blocks of one table; train, validation and test take the same path."""

    def __init__(
        self, feature_map: FeatureMap, table: Table, inputs: Inputs = DEFAULT_INPUTS
    ) -> None:
        super().__init__(feature_map, table, inputs)
        self.inputs = inputs
        fields = inputs.numeric_fields(feature_map)
        self.numbers = NumericEncoder(fields, inputs.numbers)
        self.newest = [field.column for field in inputs.newest_fields(feature_map)]
        self.history_statistics = HistoryColumns(feature_map.history_columns)
        chosen = [field.column for field in fields[len(feature_map.numeric) :]]
        self.statistics = [self.history_statistics.columns.index(column) for column in chosen]
        self.event_time = feature_map.event_time
        times = [self.event_time] if self.event_time else []
        # What is read of histories.
        self.history_columns = [*feature_map.history_columns, *times]

    def encode(self, block: Block, rows: np.ndarray) -> EncodedRows:
        """Numeric and categorical inputs of these rows of `block`."""
        values = block.categorical[rows], block.numeric[rows]
        raw = values[1][:, self.numeric_columns]
        if self.statistics:
            found = self.history_statistics(block, rows)[:, self.statistics]
            raw = np.concatenate([raw, found], axis=1)
        return EncodedRows(
            self.numbers(raw),
            stack(self.profile, *values),
            stack(self.target, *values) if self.target else np.full((len(rows), 1), MISSING),
            np.concatenate([stack(self.context, *values), self._newest(block, rows)], axis=1),
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
        """All events of these rows, or the newest: codes, where rows begin, and times elapsed.

        Codes int64 [sequences, events], of no sequence [1, 0]; offsets int64 [rows + 1]; from each
        event to its row, 0 if it is later, int64 [events], or None without times.
        """
        cut = {name: block.sequences[name].take(rows, max_len) for name in self.history_columns}
        if not self.sequences:
            return np.zeros((1, 0), np.int64), np.zeros(len(rows) + 1, np.int64), None
        codes = [lookup(cut[lookup.column].values) for lookup in self.sequences]
        offsets = cut[self.history_columns[0]].offsets
        elapsed = None
        if self.event_time is not None and block.time is not None:
            now = np.repeat(block.time[rows], np.diff(offsets))
            elapsed = np.maximum(now - cut[self.event_time].values.astype(np.int64), 0)
        return np.stack(codes), offsets, elapsed

    def _newest(self, block: Block, rows: np.ndarray) -> np.ndarray:
        """The newest code of each history, padding without one, int64 [rows, sequences or 0]."""
        found = np.full((len(rows), len(self.newest)), PADDING, np.int64)
        for i, (name, lookup) in enumerate(zip(self.newest, self.sequences)):
            history = block.sequences[name]
            some = history.lengths[rows] > 0
            found[some, i] = lookup(history.values[history.offsets[1:][rows[some]] - 1])
        return found
