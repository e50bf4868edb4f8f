"""The rows of a table as a network's inputs, but for their histories."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .block import Block
from .encoding import DEFAULT_INPUTS, FeatureEncoder, Inputs, stack
from .feature_map import PADDING, FeatureMap
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
        pairs = zip(feature_map.sequences, feature_map.targets)
        targets = {s.column: target.column if s.shared_with else None for s, target in pairs}
        self.histories = HistoryColumns(table, targets)
        chosen = [field.column for field in fields[len(feature_map.numeric) :]]
        self.statistics = [self.histories.columns.index(column) for column in chosen]

    def encode(self, block: Block, rows: np.ndarray) -> EncodedRows:
        """Numeric and categorical inputs of these rows of `block`."""
        values = block.categorical[rows], block.numeric[rows]
        raw = values[1][:, self.numeric_columns]
        if self.statistics:
            raw = np.concatenate([raw, self.histories(block, rows)[:, self.statistics]], axis=1)
        return EncodedRows(
            self.numbers(raw),
            stack(self.profile, *values),
            stack(self.target, *values),
            np.concatenate([stack(self.context, *values), self._newest(block, rows)], axis=1),
        )

    def _newest(self, block: Block, rows: np.ndarray) -> np.ndarray:
        """The newest code of each history, padding without one, int64 [rows, sequences or 0]."""
        found = np.full((len(rows), len(self.newest)), PADDING, np.int64)
        for i, (name, lookup) in enumerate(zip(self.newest, self.sequences)):
            history = block.sequences[name]
            some = history.lengths[rows] > 0
            found[some, i] = lookup(history.values[history.offsets[1:][rows[some]] - 1])
        return found
