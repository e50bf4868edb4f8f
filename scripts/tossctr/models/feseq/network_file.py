"""A trained network: its file, its predictions, and the start of a refit from its weights."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ...batches.batch import Batch
from ...batches.batch_source import BatchSource
from ...batches.negatives import NegativeSamplingRate
from ...common.errors import NotEnoughMemoryError
from ...common.progress import Progress
from ...config.declared import Runtime
from ...datasets.opening import TableSource
from ...features.feature_map import (
    CategoryField,
    FeatureMap,
    ItemAttribute,
    SequenceField,
    check_simulated,
)
from ..trained import Model, ModelInfo
from .network import FESeq
from .network.device import Machine, deterministic_if_possible, set_up_machine
from .network.input_layer import input_sizes, inputs_of
from .network.positions import MAX_ROWS
from .network.refiner import TransformerLayer, attend
from .network_settings import ModelConfig

logger = logging.getLogger(__name__)

# Positions (rows x max_len) of a forward pass: they fill a GPU (1 GiB at width 200), or fit in the
# caches of a CPU.
POSITIONS_PER_BATCH = {"cuda": 1 << 17, "cpu": 1 << 13}


def build_model(config: ModelConfig, feature_map: FeatureMap) -> FESeq:
    """An untrained network for rows that `feature_map` encodes."""
    return FESeq(config, input_sizes(config, feature_map))


def to_machine(network: FESeq, machine: Machine) -> FESeq:
    """Move a network to the machine's device, compile its layers if possible, and return it."""
    network.to(machine.device)
    if machine.compile:
        # Otherwise earlier networks of the process, as in a search, count towards Dynamo's limit.
        torch.compiler.reset()
        refiner = network.refiner
        # A layer of targets alone gains little, and a batch's lengths would be compiled into it.
        for layer in refiner.layers[: len(refiner.layers) - refiner.only_targets]:
            assert isinstance(layer, TransformerLayer)
            # Otherwise a batch's lengths would be compiled into the layer.
            layer.attention.attend = torch.compiler.disable(attend)
            layer.compile(dynamic=True)
        network.mlp.compile(dynamic=True)
    return network


def batch_source(
    h5: TableSource,
    feature_map: FeatureMap,
    config: ModelConfig,
    batch_rows: int | Callable[[int], int],
    negative_sampling_rate: NegativeSamplingRate = 1.0,
) -> BatchSource:
    """A BatchSource with the inputs that a network with the settings `config` takes."""
    return BatchSource(
        h5,
        feature_map,
        max_len=config.max_len,
        batch_rows=batch_rows,
        inputs=inputs_of(config),
        negative_sampling_rate=negative_sampling_rate,
    )


def inference_source(
    h5: TableSource, feature_map: FeatureMap, config: ModelConfig, machine: Machine
) -> BatchSource:
    """Batches of a table (`h5`) for predictions, each of about POSITIONS_PER_BATCH positions."""
    batch_rows = max(1, POSITIONS_PER_BATCH[machine.device.type] // (config.max_len + 1))
    return batch_source(h5, feature_map, config, min(batch_rows, MAX_ROWS))


@torch.inference_mode()
def predict_logits(
    model: FESeq,
    source: BatchSource,
    machine: Machine,
    *,
    start: int = 0,
    stop: int | None = None,
    ablate_histories: bool = False,
) -> np.ndarray:
    """The logits of the rows from `start` up to `stop` (None: all), float32 [rows], in order.

    With `ablate_histories`, the network predicts as if all histories were empty.
    """
    stop = source.rows if stop is None else stop
    was_training = model.training
    model.eval()
    indices: list[np.ndarray] = []
    logits: list[Tensor] = []

    def forward(batch: Batch) -> Tensor:
        try:
            with machine.autocast():
                return model(batch.to(machine.device))
        except torch.cuda.OutOfMemoryError:
            if len(batch) == 1:
                raise NotEnoughMemoryError(
                    "GPU memory is too small to predict a single row; check with nvidia-smi what "
                    "else uses the GPU"
                ) from None
        logger.warning("out of GPU memory: predicting %d rows in two halves", len(batch))
        # Outside the handler, whose traceback keeps the tensors of the failed attempt.
        torch.cuda.empty_cache()
        middle = len(batch) // 2
        halves = batch.slice(0, middle), batch.slice(middle, len(batch))
        return torch.cat([forward(half) for half in halves])

    predicting = Progress("predicted", stop - start)
    batches = source.in_order(start, stop, ablate_histories=ablate_histories)
    for batch in machine.prefetch(batches):
        logits.append(deterministic_if_possible(partial(forward, batch)))
        indices.append(batch.row_B.numpy() - start)
        predicting.advance(len(batch))
    model.train(was_training)
    ordered = np.empty(stop - start, np.float32)
    if logits:
        # One copy to the host for all batches: each copy waits for the GPU.
        ordered[np.concatenate(indices)] = torch.cat(logits).float().cpu().numpy()
    return ordered


@dataclass(frozen=True)
class TrainedNetwork(Model):
    """A trained network, with the device and precision that it predicts with (`machine`)."""

    kind = "feseq"

    network: FESeq
    machine: Machine = field(
        default_factory=lambda: Machine(torch.device("cpu")), compare=False, kw_only=True
    )

    @cached_property
    def config(self) -> ModelConfig:
        """The settings of the network."""
        return ModelConfig(**self.about.settings["model"])

    def content(self) -> dict[str, Any]:
        return {"weights": self.network.state_dict()}

    @classmethod
    def from_content(cls, about: ModelInfo, content: Mapping[str, Any], threads: int) -> Self:
        config = ModelConfig(**about.settings["model"])
        weights = {name: torch.from_numpy(array) for name, array in content["weights"].items()}
        # Evaluation mode, set once: predictions in several threads must not switch modes.
        network = build_model(config, about.feature_map).eval()
        network.load_state_dict(weights)
        return cls(about, network, threads=threads)

    def predict(self, rows: TableSource, *, ablate_histories: bool = False) -> np.ndarray:
        network = to_machine(self.network, self.machine)
        source = inference_source(rows, self.about.feature_map, self.config, self.machine)
        check_simulated(source.table.path, source.table.source["simulated"], self.about.simulated)
        return predict_logits(network, source, self.machine, ablate_histories=ablate_histories)


def load(path: Path, full_name: str, runtime: Runtime, threads: int) -> TrainedNetwork:
    """Load the model `full_name` ('': any) from its file, ready to predict on this machine."""
    return replace(TrainedNetwork.load(path, full_name), machine=set_up_machine(runtime, threads))


# A field with an embedding table.
_Field = CategoryField | SequenceField


@torch.no_grad()
def copy_weights(trained: TrainedNetwork, network: FESeq, feature_map: FeatureMap) -> None:
    """Copy the weights of a trained network into `network`, which reads rows by `feature_map`.

    Categories that the trained network does not know keep the initial embeddings of `network`.
    """
    rows, weights = _table_rows(trained, feature_map), trained.network.state_dict()
    for name, value in network.state_dict().items():
        value[rows.get(name, ...)] = weights[name]


def _table_rows(trained: TrainedNetwork, new: FeatureMap) -> Mapping[str, Tensor]:
    """For each embedding table, by name: the new index of each old row."""
    old = trained.about.feature_map
    targets = [*zip(old.targets, new.targets)]
    # A shared sequence has the indices of its target.
    sequences: list[tuple[_Field, _Field]] = [
        target if old_field.shared_with else (old_field, new_field)
        for old_field, new_field, target in zip(old.sequences, new.sequences, targets)
    ]
    context: list[tuple[_Field, _Field]] = [
        *zip(old.context_and_ids, new.context_and_ids),
        *(sequences if inputs_of(trained.config).newest_event_fields(old) else []),
    ]
    rows = {"inputs.layers.context.table.weight": _stacked_rows(*context)}
    for i, pair in enumerate(zip(old.profile, new.profile)):
        rows[f"profile.{i}.weight"] = _stacked_rows(pair)
    for i, target in enumerate(targets):
        rows[f"history.target.{i}.weight"] = _stacked_rows(target)
        rows[f"item.tables.{i}.weight"] = _stacked_rows(target)
        rows[f"history.sequence.{i}.weight"] = _stacked_rows(sequences[i])
    return rows


def _stacked_rows(*fields: tuple[_Field, _Field]) -> Tensor:
    """The new index of each old row of a table that stacks fields, given as pairs (old, new)."""
    start, rows = 0, [torch.empty(0, dtype=torch.long)]
    for old, new in fields:
        rows.append(torch.from_numpy(_new_indices(old, new)) + start)
        start += new.size
    return torch.cat(rows)


def merge_feature_maps(old: FeatureMap, new: FeatureMap) -> FeatureMap:
    """The feature map for training a network further (a refit): `new`, with some parts of `old`.

    The trained weights expect these: the scaling of numeric columns, the ages up to which events
    are counted, and the item attributes, such as a film's genre.
    """
    attributes = {(each.column, each.sequence): each for each in new.item_attributes}
    return replace(
        new,
        numeric=old.numeric,
        statistics=old.statistics,
        event_ages=old.event_ages,
        item_attributes=[
            attributes.get((each.column, each.sequence)) or _reindexed(each, old, new)
            for each in old.item_attributes
        ],
    )


def _reindexed(each: ItemAttribute, old: FeatureMap, new: FeatureMap) -> ItemAttribute:
    """An item attribute that only `old` has, with the indices of `new`."""
    at = old.history_columns.index(each.sequence)
    name = [field.column for field in old.categories].index(each.column)
    codes = np.zeros(new.targets[at].size, np.int64)
    moved = _new_indices(old.categories[name], new.categories[name])[each.of_code]
    codes[_new_indices(old.targets[at], new.targets[at])] = moved
    return replace(each, of_code=codes.tolist())


def _new_indices(old: _Field, new: _Field) -> np.ndarray:
    """The index in `new` of each index of `old`, int64 [old.size].

    Not for a sequence that shares the table of its target.
    """
    start = old.size - len(old.vocabulary)
    index = {word: i for i, word in enumerate(new.vocabulary, start)}
    return np.array([*range(start), *(index[word] for word in old.vocabulary)], np.int64)
