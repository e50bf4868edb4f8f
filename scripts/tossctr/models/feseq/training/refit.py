"""A refit's start: the feature map of all rows, read like the first training's, and its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....features.feature_map import CategoryField, FeatureMap, KindField, SequenceField
from ..network import FESeq
from ..network.input_layer import inputs_of
from ..network_file import TrainedModel

_Field = CategoryField | SequenceField


@dataclass(frozen=True)
class FirstTraining:
    """The model of a first training, and the feature map of its refit."""

    model: TrainedModel
    feature_map: FeatureMap

    @classmethod
    def read(cls, path: Path, fitted: FeatureMap) -> "FirstTraining":
        """The model of a file, for a refit whose rows `fitted` was fitted on."""
        model = TrainedModel.load(path)
        return cls(model, extended(model.about.feature_map, fitted))

    @torch.no_grad()
    def carry_into(self, network: FESeq) -> None:
        """Copy all weights; what is new in a table of embeddings keeps its start values."""
        rows, first = self._rows(), self.model.network.state_dict()
        for name, value in network.state_dict().items():
            value[rows.get(name, ...)] = first[name]

    def _rows(self) -> Mapping[str, Tensor]:
        """The new row of each old row, by the name of the table of embeddings."""
        old, new = self.model.about.feature_map, self.feature_map
        inputs = inputs_of(self.model.config)
        targets = [*zip(old.targets, new.targets)]
        # A shared sequence has the indices of its target.
        sequences: list[tuple[_Field, _Field]] = [
            target if one.shared_with else (one, other)
            for one, other, target in zip(old.sequences, new.sequences, targets)
        ]
        context: list[tuple[_Field, _Field]] = [
            *zip(old.context_fields, new.context_fields),
            *(sequences if inputs.newest_fields(old) else []),
        ]
        profiles = enumerate(zip(old.profile, new.profile))
        rows = {f"profile.{i}.weight": _index(pair) for i, pair in profiles}
        for i, target in enumerate(targets):
            rows[f"history.target.{i}.weight"] = _index(target)
            rows[f"item.tables.{i}.weight"] = _index(target)
            rows[f"history.sequence.{i}.weight"] = _index(sequences[i])
            rows[f"crossing.target.{i}"] = _index(target)
            rows[f"crossing.event.{i}.weight"] = _index(sequences[i])
        return {**rows, "inputs.kinds.context.table.weight": _index(*context)}


def _index(*fields: tuple[_Field, _Field]) -> Tensor:
    """The new row of each old one in the table that stacks these fields."""
    first, rows = 0, [torch.empty(0, dtype=torch.long)]
    for old, new in fields:
        rows.append(torch.from_numpy(_places(old, new)) + first)
        first += new.size
    return torch.cat(rows)


def extended(old: FeatureMap, new: FeatureMap) -> FeatureMap:
    """The feature map `new` of all rows with what the weights of `old`, of some, were trained with.

    These are ranges, knots and blocks of numeric columns, ages, and which kinds there are.
    """
    known = {(kind.column, kind.sequence): kind for kind in new.kinds}
    return replace(
        new,
        numeric=old.numeric,
        statistics=old.statistics,
        event_ages=old.event_ages,
        kinds=[
            known.get((kind.column, kind.sequence)) or _moved(kind, old, new) for kind in old.kinds
        ],
    )


def _moved(kind: KindField, old: FeatureMap, new: FeatureMap) -> KindField:
    """A kind of `old` by the indices of `new`, in whose rows too many contradict it."""
    at = old.history_columns.index(kind.sequence)
    name = [field.column for field in old.categories].index(kind.column)
    codes = np.zeros(new.targets[at].size, np.int64)
    moved = _places(old.categories[name], new.categories[name])[kind.of_code]
    codes[_places(old.targets[at], new.targets[at])] = moved
    return replace(kind, of_code=codes.tolist())


def _places(old: _Field, new: _Field) -> np.ndarray:
    """The index in `new` of each index of `old`, int64 [old.size]; a shared sequence has none."""
    first = old.size - len(old.vocabulary)
    index = {word: i for i, word in enumerate(new.vocabulary, first)}
    return np.array([*range(first), *(index[word] for word in old.vocabulary)], np.int64)
