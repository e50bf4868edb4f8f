"""A refit's start: the feature map of all rows, read like the first training's, and its weights."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ....features.feature_map import CategoryField, FeatureMap, KindField, SequenceField
from ..network import FESeq
from ..network.input_layer import inputs_of
from ..network_file import TrainedModel

_Field = CategoryField | SequenceField


@torch.no_grad()
def copy_weights(first: TrainedModel, network: FESeq, feature_map: FeatureMap) -> None:
    """Copy a trained network's weights into one of an extended `feature_map`.

    What is new in a table of embeddings keeps its start values.
    """
    rows, weights = _table_rows(first, feature_map), first.network.state_dict()
    for name, value in network.state_dict().items():
        value[rows.get(name, ...)] = weights[name]


def _table_rows(first: TrainedModel, new: FeatureMap) -> Mapping[str, Tensor]:
    """The new row of each old row, by the name of the table of embeddings."""
    old = first.about.feature_map
    targets = [*zip(old.targets, new.targets)]
    # A shared sequence has the indices of its target.
    sequences: list[tuple[_Field, _Field]] = [
        target if one.shared_with else (one, other)
        for one, other, target in zip(old.sequences, new.sequences, targets)
    ]
    context: list[tuple[_Field, _Field]] = [
        *zip(old.context_fields, new.context_fields),
        *(sequences if inputs_of(first.config).newest_fields(old) else []),
    ]
    rows = {"inputs.kinds.context.table.weight": _stacked(*context)}
    for i, pair in enumerate(zip(old.profile, new.profile)):
        rows[f"profile.{i}.weight"] = _stacked(pair)
    for i, target in enumerate(targets):
        rows[f"history.target.{i}.weight"] = _stacked(target)
        rows[f"item.tables.{i}.weight"] = _stacked(target)
        rows[f"history.sequence.{i}.weight"] = _stacked(sequences[i])
        rows[f"crossing.target.{i}"] = _stacked(target)
        rows[f"crossing.event.{i}.weight"] = _stacked(sequences[i])
    return rows


def _stacked(*fields: tuple[_Field, _Field]) -> Tensor:
    """The new row of each old one in the table that stacks these fields."""
    first, rows = 0, [torch.empty(0, dtype=torch.long)]
    for old, new in fields:
        rows.append(torch.from_numpy(_indices(old, new)) + first)
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
    moved = _indices(old.categories[name], new.categories[name])[kind.of_code]
    codes[_indices(old.targets[at], new.targets[at])] = moved
    return replace(kind, of_code=codes.tolist())


def _indices(old: _Field, new: _Field) -> np.ndarray:
    """The index in `new` of each index of `old`, int64 [old.size]; a shared sequence has none."""
    first = old.size - len(old.vocabulary)
    index = {word: i for i, word in enumerate(new.vocabulary, first)}
    return np.array([*range(first), *(index[word] for word in old.vocabulary)], np.int64)
