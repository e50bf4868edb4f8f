"""Warm start: an earlier model's feature map is extended, and its weights are copied."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ....common.errors import UserError
from ....features.extension import Field, extended, places
from ....features.feature_map import FeatureMap, check_same_kind
from ....storage.table import Table
from ..model_file import TrainedModel
from ..network import FESeq
from ..network.build import inputs_of
from ..settings import ModelConfig

# Settings that do not shape the network's weights.
_MAY_DIFFER = {"dropout", "embedding_std", "unknown_share"}


@dataclass(frozen=True)
class WarmStart:
    """An earlier model, and the feature map of the training that goes on from it."""

    path: Path
    model: TrainedModel
    feature_map: FeatureMap

    @classmethod
    def read(cls, path: Path, config: ModelConfig, fitted: FeatureMap) -> "WarmStart":
        """The model of a file, for a network of `config` and rows that `fitted` was fitted on.

        Raises UserError if its settings or columns are different.
        """
        model = TrainedModel.load(path)
        before, now = asdict(model.config), asdict(config)
        if differ := [key for key in now if key not in _MAY_DIFFER and now[key] != before[key]]:
            differences = "; ".join(f"{key} {before[key]} there, {now[key]} here" for key in differ)
            raise UserError(
                f"train.start_from: {path} has other settings of the network: {differences}; set "
                f"these as there, or start_from to null"
            )
        return cls(path, model, extended(model.about.feature_map, fitted))

    @torch.no_grad()
    def carry_into(self, network: FESeq, table: Table) -> None:
        """Copy all weights; what is new in a table of embeddings keeps its start values.

        Raises UserError if the model is of simulated rows and `table` is not, or the reverse.
        """
        check_same_kind(table, self.model.about.simulated)
        rows, earlier = self._rows(), self.model.network.state_dict()
        for name, value in network.state_dict().items():
            value[rows.get(name, ...)] = earlier[name]

    def _rows(self) -> Mapping[str, Tensor]:
        """The new row of each old row, by the name of the table of embeddings."""
        old, new = self.model.about.feature_map, self.feature_map
        inputs = inputs_of(self.model.config)
        targets = [*zip(old.targets, new.targets)]
        # A shared sequence has the indices of its target.
        sequences: list[tuple[Field, Field]] = [
            target if one.shared_with else (one, other)
            for one, other, target in zip(old.sequences, new.sequences, targets)
        ]
        context: list[tuple[Field, Field]] = [
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


def _index(*fields: tuple[Field, Field]) -> Tensor:
    """The new row of each old one in the table that stacks these fields."""
    first, rows = 0, [torch.empty(0, dtype=torch.long)]
    for old, new in fields:
        rows.append(torch.from_numpy(places(old, new)) + first)
        first += new.size
    return torch.cat(rows)
