"""A network whose tables fit a feature map, and batches that fit the network."""

from collections.abc import Callable

import torch

from ....batches.batch_source import BatchSource
from ....batches.negatives import NegativeShare
from ....datasets.opening import TableSource
from ....features.encoding import Inputs
from ....features.feature_map import FeatureMap
from ....features.numeric_encodings import count_blocks
from ..network_settings import ModelConfig
from .attention import attend
from .device import Machine
from .input_layer import encodings_by_layer
from .model import FESeq
from .refiner import TransformerLayer
from .sizes import FieldSizes


def build_model(config: ModelConfig, feature_map: FeatureMap) -> FESeq:
    """An untrained FESeq whose tables fit `feature_map`."""
    return FESeq(config, field_sizes(config, feature_map))


def placed(network: FESeq, machine: Machine) -> FESeq:
    """The network itself, on the machine's device, its layers compiled if the machine compiles."""
    network.to(machine.device)
    if machine.compile:
        # Else networks before this one, such as a search's, count for Dynamo's limit.
        torch.compiler.reset()
        for layer in network.modules():
            if isinstance(layer, TransformerLayer):
                # Otherwise a batch's lengths would be compiled into it.
                layer.attention.attend = torch.compiler.disable(attend)
                layer.compile(dynamic=True)
        network.mlp.compile(dynamic=True)
    return network


def field_sizes(config: ModelConfig, feature_map: FeatureMap) -> FieldSizes:
    """The table sizes that `feature_map` asks for."""
    inputs, network_map = inputs_of(config), feature_map.for_networks()
    context = [*feature_map.context_fields, *inputs.newest_fields(feature_map)]
    return FieldSizes(
        profile=tuple(field.size for field in feature_map.profile),
        target=tuple(field.size for field in network_map.targets),
        sequence=tuple(field.size for field in network_map.sequences),
        numeric=len(inputs.numeric_fields(feature_map)),
        context=tuple(field.size for field in context),
        missing=count_blocks(inputs.numeric_fields(feature_map)),
        shared=tuple(field.shared_with is not None for field in network_map.sequences),
    )


def batch_source(
    h5: TableSource,
    feature_map: FeatureMap,
    config: ModelConfig,
    batch_rows: int | Callable[[int], int],
    negative_share: NegativeShare = 1.0,
) -> BatchSource:
    """Batches of `h5` with the inputs that a network of `config` takes; see BatchSource."""
    return BatchSource(
        h5,
        feature_map,
        max_len=config.max_len,
        batch_rows=batch_rows,
        inputs=inputs_of(config),
        negative_share=negative_share,
    )


def inputs_of(config: ModelConfig) -> Inputs:
    """The inputs that a network of `config` takes."""
    return Inputs(
        numbers=tuple(dict.fromkeys(encodings_by_layer(config).values())),
        statistics=config.history_statistics,
        whole_histories=config.shortcuts or config.crossing > 0,
    )
