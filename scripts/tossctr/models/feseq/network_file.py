"""A trained network, its file, its predictions, and the start of its refit."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
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
from .network.device import Machine, Result, deterministic_if_possible, start_runtime
from .network.input_layer import field_sizes, inputs_of
from .network.positions import MAX_ROWS
from .network.refiner import TransformerLayer, attend
from .network_settings import ModelConfig

logger = logging.getLogger(__name__)

# Positions (rows x max_len) of one forward pass: they fill a GPU (1 GiB at width 200), and fit in a
# CPU's caches.
POSITIONS_PER_BATCH = {"cuda": 1 << 17, "cpu": 1 << 13}


def build_model(config: ModelConfig, feature_map: FeatureMap) -> FESeq:
    """An untrained FESeq whose tables fit `feature_map`."""
    return FESeq(config, field_sizes(config, feature_map))


def placed(network: FESeq, machine: Machine) -> FESeq:
    """The same network, on the machine's device, with compiled layers if the machine compiles."""
    network.to(machine.device)
    if machine.compile:
        # Otherwise earlier networks, such as a search's, count towards Dynamo's limit.
        torch.compiler.reset()
        refiner = network.refiner
        # A layer of targets alone has little to gain, and a batch's lengths would be part of it.
        for layer in refiner.layers[: len(refiner.layers) - refiner.only_targets]:
            assert isinstance(layer, TransformerLayer)
            # Otherwise a batch's lengths would be compiled into it.
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
    """Batches of `h5` with the inputs that a network of `config` takes; see BatchSource."""
    return BatchSource(
        h5,
        feature_map,
        max_len=config.max_len,
        batch_rows=batch_rows,
        inputs=inputs_of(config),
        negative_sampling_rate=negative_sampling_rate,
    )


def inference_source(
    h5: TableSource,
    feature_map: FeatureMap,
    config: ModelConfig,
    machine: Machine,
) -> BatchSource:
    """A batch source with batches of the right size for inference; see BatchSource."""
    batch_rows = max(1, POSITIONS_PER_BATCH[machine.device.type] // (config.max_len + 1))
    batch_rows = min(batch_rows, MAX_ROWS)
    return batch_source(h5, feature_map, config, batch_rows)


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
    """Logits float32 [stop - start], in file order. `ablate_histories` empties every history."""
    stop = source.rows if stop is None else stop
    was_training = model.training
    model.eval()
    indices: list[np.ndarray] = []
    logits: list[Tensor] = []

    def forward(batch: Batch) -> Tensor:
        with machine.autocast():
            return model(batch)

    predicting = Progress("predicted", stop - start)
    batches = source.in_order(start, stop, ablate_histories=ablate_histories)
    for batch in machine.prefetch(batches):
        for fitting, logit_B in batches_that_fit(forward, batch, machine):
            indices.append(fitting.row_B.numpy() - start)
            logits.append(logit_B)
        predicting.advance(len(batch))
    model.train(was_training)
    ordered = np.empty(stop - start, np.float32)
    if logits:
        # One copy to the host for all: each would wait for the GPU.
        ordered[np.concatenate(indices)] = torch.cat(logits).float().cpu().numpy()
    return ordered


def batches_that_fit(
    work: Callable[[Batch], Result], batch: Batch, machine: Machine
) -> Iterator[tuple[Batch, Result]]:
    """Results of `work` on a batch on the device, or on its halves if GPU memory is short.

    Yields each batch, on the host, with its result. Raises NotEnoughMemoryError if a single row
    does not fit.
    """
    try:
        result = deterministic_if_possible(lambda: work(batch.to(machine.device)))
    except torch.cuda.OutOfMemoryError:
        if len(batch) == 1:
            raise NotEnoughMemoryError(
                "the GPU's memory does not hold the prediction of a single row; use a smaller "
                "max_len or model, or see with nvidia-smi what else is using the GPU"
            ) from None
    else:
        yield batch, result
        return
    # Outside the handler, whose traceback holds on to the tensors of the failed attempt.
    logger.warning("out of GPU memory: predicting %d rows in two halves", len(batch))
    torch.cuda.empty_cache()
    middle = len(batch) // 2
    for start, stop in ((0, middle), (middle, len(batch))):
        yield from batches_that_fit(work, batch.rows(start, stop), machine)


@dataclass(frozen=True)
class TrainedModel(Model):
    """A network, and the machine that it predicts on."""

    kind = "feseq"

    network: FESeq
    machine: Machine = field(
        default_factory=lambda: Machine(torch.device("cpu")), compare=False, kw_only=True
    )

    @cached_property
    def config(self) -> ModelConfig:
        """What shapes the network."""
        return ModelConfig(**self.about.settings["model"])

    def content(self) -> dict[str, Any]:
        """Its weights."""
        return {"weights": self.network.state_dict()}

    @classmethod
    def from_content(cls, about: ModelInfo, content: Mapping[str, Any], threads: int) -> Self:
        """The network with these weights."""
        config = ModelConfig(**about.settings["model"])
        weights = {name: torch.from_numpy(array) for name, array in content["weights"].items()}
        # Here, since predictions in several threads must not switch modes.
        network = build_model(config, about.feature_map).eval()
        network.load_state_dict(weights)
        return cls(about, network, threads=threads)

    def predict(self, rows: TableSource, *, ablate_histories: bool = False) -> np.ndarray:
        """Logits float32 [rows] by `predict_logits`; they assume the train rows' click rate."""
        network, source = placed(self.network, self.machine), self.source(rows)
        return predict_logits(network, source, self.machine, ablate_histories=ablate_histories)

    def source(self, rows: TableSource) -> BatchSource:
        """Batches of `rows`; raises UserError unless rows and model are both simulated or real."""
        source = inference_source(rows, self.about.feature_map, self.config, self.machine)
        check_simulated(source.table.path, source.table.source["simulated"], self.about.simulated)
        return source


def load(path: Path, full_name: str, runtime: Runtime, threads: int) -> TrainedModel:
    """The model in a file, on this machine."""
    return replace(TrainedModel.load(path, full_name), machine=start_runtime(runtime, threads))


# A field with a table of embeddings.
_Field = CategoryField | SequenceField


@torch.no_grad()
def copy_weights(first: TrainedModel, network: FESeq, feature_map: FeatureMap) -> None:
    """Copy a trained network's weights into `network`, whose `feature_map` is an extended one.

    New rows of embedding tables keep their start values.
    """
    rows, weights = _table_rows(first, feature_map), first.network.state_dict()
    for name, value in network.state_dict().items():
        value[rows.get(name, ...)] = weights[name]


def _table_rows(first: TrainedModel, new: FeatureMap) -> Mapping[str, Tensor]:
    """The new index of each old row, by name of the embedding table."""
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
    rows = {"inputs.layers.context.table.weight": _stacked(*context)}
    for i, pair in enumerate(zip(old.profile, new.profile)):
        rows[f"profile.{i}.weight"] = _stacked(pair)
    for i, target in enumerate(targets):
        rows[f"history.target.{i}.weight"] = _stacked(target)
        rows[f"item.tables.{i}.weight"] = _stacked(target)
        rows[f"history.sequence.{i}.weight"] = _stacked(sequences[i])
    return rows


def _stacked(*fields: tuple[_Field, _Field]) -> Tensor:
    """The new index of each old row in the table that stacks these fields."""
    first, rows = 0, [torch.empty(0, dtype=torch.long)]
    for old, new in fields:
        rows.append(torch.from_numpy(_indices(old, new)) + first)
        first += new.size
    return torch.cat(rows)


def extended(old: FeatureMap, new: FeatureMap) -> FeatureMap:
    """The feature map `new` of all rows, with the parts of `old` that trained weights depend on.

    These are ranges, knots and blocks of numeric columns, ages, and item attributes.
    """
    known = {(each.column, each.sequence): each for each in new.item_attributes}
    return replace(
        new,
        numeric=old.numeric,
        statistics=old.statistics,
        event_ages=old.event_ages,
        item_attributes=[
            known.get((each.column, each.sequence)) or _moved(each, old, new)
            for each in old.item_attributes
        ],
    )


def _moved(each: ItemAttribute, old: FeatureMap, new: FeatureMap) -> ItemAttribute:
    """An item attribute of `old` by the indices of `new`, too many of whose rows contradict it."""
    at = old.history_columns.index(each.sequence)
    name = [field.column for field in old.categories].index(each.column)
    codes = np.zeros(new.targets[at].size, np.int64)
    moved = _indices(old.categories[name], new.categories[name])[each.of_code]
    codes[_indices(old.targets[at], new.targets[at])] = moved
    return replace(each, of_code=codes.tolist())


def _indices(old: _Field, new: _Field) -> np.ndarray:
    """Where each entry of `old` is in `new`, int64 [old.size]; shared sequences have none."""
    first = old.size - len(old.vocabulary)
    index = {word: i for i, word in enumerate(new.vocabulary, first)}
    return np.array([*range(first), *(index[word] for word in old.vocabulary)], np.int64)
