"""Sizes of embedding tables, and the layers for numeric and context columns.

`model.numerics` lists the layers for numeric columns:

    linear      the scaled value times a learned vector of the column
    direct      the scaled value
    buckets     a learned vector for each quantile bucket of the column, and one for missing values
    missing     a flag for each missing block: a set of columns that are missing together

Context columns are categories that only the output network takes:

    context     a learned vector for each category

B rows of a batch, C columns, d embedding size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ....batches.batch import Batch
from ....features.encoding import Inputs
from ....features.feature_map import OUT_OF_VOCABULARY, PADDING, FeatureMap
from ....features.history_statistics import recency_name
from ....features.numeric import BUCKETS, ENCODINGS, MISSING_VALUE
from ....features.similarities import similarity_names
from ..network_settings import ModelConfig
from .positions import PaddedRows

# Dimensions of a bucket's vector. 4, 8 and 16 give equal AUC.
BUCKET_DIM = 8


@dataclass(frozen=True)
class InputSizes:
    """The sizes of a network's inputs.

    profile, target, sequence, context: for each categorical column, the size of its vocabulary
    missing: number of missing blocks, which are sets of columns that are missing together
    shared: for each sequence column, true if it uses the embedding table of its target column
    target_dependents: for each target column, the numeric columns that are computed from its
        category, such as similarities, and their missing blocks, all as indices
    """

    profile: tuple[int, ...]
    target: tuple[int, ...]
    sequence: tuple[int, ...]
    numeric: int
    context: tuple[int, ...] = ()
    missing: int = 0
    shared: tuple[bool, ...] = ()
    target_dependents: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()


def input_sizes(config: ModelConfig, feature_map: FeatureMap) -> InputSizes:
    """The sizes of a network with the settings `config`, for rows that `feature_map` encodes."""
    inputs, network_map = inputs_of(config), feature_map.for_networks()
    context = [*feature_map.context_and_ids, *inputs.newest_event_fields(feature_map)]
    numeric, target_dependents = inputs.numeric_fields(feature_map), []
    blocks = sorted({f.missing_block for f in numeric if f.missing_block is not None})
    for sequence in network_map.sequences:
        names = similarity_names([sequence])
        if sequence.shared_with:
            names.append(recency_name(sequence.shared_with, sequence.column))
        columns = [(i, field) for i, field in enumerate(numeric) if field.column in names]
        flags = {blocks.index(f.missing_block) for _, f in columns if f.missing_block is not None}
        target_dependents.append((tuple(i for i, _ in columns), tuple(sorted(flags))))
    return InputSizes(
        profile=tuple(field.size for field in feature_map.profile),
        target=tuple(field.size for field in network_map.targets),
        sequence=tuple(field.size for field in network_map.sequences),
        numeric=len(numeric),
        context=tuple(field.size for field in context),
        missing=len(blocks),
        shared=tuple(field.shared_with is not None for field in network_map.sequences),
        target_dependents=tuple(target_dependents),
    )


def inputs_of(config: ModelConfig) -> Inputs:
    """The inputs that a network with the settings `config` takes."""
    return Inputs(
        numbers=tuple(dict.fromkeys(encodings_by_layer(config).values())),
        statistics=config.history_statistics,
        whole_histories=config.pooled_history,
    )


def encodings_by_layer(config: ModelConfig) -> dict[str, str]:
    """For each layer in `model.numerics`, the encoding of numeric columns that it takes."""
    return {name: name if name in ENCODINGS else config.scaling for name in config.numerics}


def column_count(encoding: str, sizes: InputSizes) -> int:
    """The number of numeric columns or, for the encoding `missing`, of missing blocks."""
    return sizes.missing if encoding == "missing" else sizes.numeric


class NumericEmbedding(nn.Module):
    """Embeds numeric columns: each value times a learned vector of its column."""

    def __init__(self, columns: int, embedding_dim: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.empty(columns, embedding_dim))

    def forward(self, x_BC: Tensor) -> Tensor:
        """Embeddings [rows, columns, embedding size] of scaled values [rows, columns]."""
        return x_BC[..., None] * self.vector


class StackedEmbedding(nn.Module):
    """Embeds columns of `sizes` buckets or categories, with one table and one lookup for all."""

    def __init__(self, sizes: tuple[int, ...], embedding_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(sizes), embedding_dim)
        self.first: Tensor
        self.register_buffer("first", torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)

    def forward(self, index_BC: Tensor) -> Tensor:
        """Embeddings [rows, columns, embedding size] of indices [rows, columns]."""
        return self.table(index_BC.long() + self.first)


class InputLayer(nn.Module):
    """The layers for numeric columns and for context columns."""

    def __init__(self, config: ModelConfig, sizes: InputSizes) -> None:
        super().__init__()
        self.encodings, d = encodings_by_layer(config), config.embedding_dim
        layers: dict[str, nn.Module] = {}
        self.out_width = len(sizes.context) * d
        for name, encoding in self.encodings.items():
            columns, width = column_count(encoding, sizes), 1
            layers[name] = nn.Identity()
            if name == "linear":
                layers[name], width = NumericEmbedding(columns, d), d
            elif name == "buckets":
                buckets = (BUCKETS + 1,) * columns
                layers[name], width = StackedEmbedding(buckets, BUCKET_DIM), BUCKET_DIM
            self.out_width += columns * width
        if sizes.context:
            layers["context"] = StackedEmbedding(sizes.context, d)
        # The names of the weights in model files begin with `inputs.layers`.
        self.layers = nn.ModuleDict(layers)

    def forward(self, numbers: Mapping[str, Tensor], context_BC: Tensor) -> Tensor:
        """All layers' outputs, concatenated [rows, out_width]; `numbers` has values by encoding."""
        values = [*(numbers[encoding] for encoding in self.encodings.values()), context_BC]
        vectors = [layer(x_BC).flatten(1) for layer, x_BC in zip(self.layers.values(), values)]
        return torch.cat(vectors, dim=1)

    def numeric_vectors(self) -> list[nn.Parameter]:
        """The learned vectors of numeric columns; [] without the layer `linear`."""
        return [p for layer in self.layers.values() for p in layer.parameters(recurse=False)]


class OovDropout(nn.Module):
    """In training, replaces random categories by "unknown" (out of vocabulary).

    `rate` is the probability in all columns, until `set_rates` sets one per column. If the category
    of a target is replaced, numeric columns that are computed from it become missing.
    """

    def __init__(self, rate: float, sizes: InputSizes) -> None:
        super().__init__()
        self.target_dependents = sizes.target_dependents
        self.rates: Tensor
        self.register_buffer("rates", torch.tensor(float(rate)), persistent=False)
        self.is_needed = rate > 0

    def set_rates(self, rates: Sequence[float]) -> None:
        """Set the rate of each column: profile columns first, then target, then context columns."""
        self.rates = torch.tensor(rates, dtype=torch.float32, device=self.rates.device)
        self.is_needed = any(rates)

    def forward(self, batch: Batch | PaddedRows) -> Batch | PaddedRows:
        if not self.training or not self.is_needed:
            return batch
        categories = [batch.profile_BP, batch.target_BG, batch.context_BC]
        index = torch.cat(categories, dim=1)
        is_drawn = torch.rand(index.shape, device=index.device) < self.rates
        drawn = index.masked_fill(is_drawn & (index > PADDING), OUT_OF_VOCABULARY)
        profile, target, context = drawn.split([tensor.shape[1] for tensor in categories], dim=1)
        numbers = dict(batch.numbers)
        first = batch.profile_BP.shape[1]
        for is_drawn_B, (columns, flags) in zip(is_drawn.T[first:], self.target_dependents):
            for name, x_BC in numbers.items():
                is_hidden_C = torch.zeros(x_BC.shape[1], dtype=torch.bool, device=x_BC.device)
                is_hidden_C[[*(flags if name == "missing" else columns)]] = True
                is_hidden_BC = is_drawn_B[:, None] & is_hidden_C
                numbers[name] = x_BC.masked_fill(is_hidden_BC, MISSING_VALUE[name])
        return replace(
            batch, numbers=numbers, profile_BP=profile, target_BG=target, context_BC=context
        )
