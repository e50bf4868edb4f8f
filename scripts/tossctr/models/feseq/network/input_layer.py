"""The input layer: inputs of the output network beside profile and history.

Numeric columns, by the layers in `model.numerics`:

    linear      x · v, a learned vector v a column (the briefing's)
    direct      x as it is
    buckets     a learned vector for each of the column's quantile buckets, one more for missing
    missing     a flag for each block of columns that are missing together

Categories that are not at the positions of the history:

    context     a learned vector for each category

B rows of a batch, d embedding size.
"""

import torch
from torch import Tensor, nn

from ....batches.batch import Batch
from ....features.numeric_encodings import BUCKETS, ENCODINGS
from ..network_settings import ModelConfig
from .sizes import FieldSizes


class Linear(nn.Module):
    """x · v."""

    def __init__(self, encoding: str, columns: int, embedding_dim: int) -> None:
        super().__init__()
        self.encoding = encoding
        self.vector = nn.Parameter(torch.empty(columns, embedding_dim))
        self.out_width = columns * embedding_dim

    def forward(self, batch: Batch) -> Tensor:
        return (batch.numbers[self.encoding][..., None] * self.vector).flatten(1)


class Direct(nn.Module):
    """x."""

    def __init__(self, encoding: str, columns: int) -> None:
        super().__init__()
        self.encoding = encoding
        self.out_width = columns

    def forward(self, batch: Batch) -> Tensor:
        return batch.numbers[self.encoding]


class Indexed(nn.Module):
    """The vectors of buckets, or of the context categories if `encoding` is None.

    The columns' tables lie one below the other, so that a single lookup serves all columns.
    """

    def __init__(self, encoding: str | None, sizes: tuple[int, ...], embedding_dim: int) -> None:
        super().__init__()
        self.encoding = encoding
        self.table = nn.Embedding(sum(sizes), embedding_dim)
        self.first: Tensor
        first = torch.tensor(sizes, dtype=torch.long).cumsum(0) - torch.tensor(sizes)
        self.register_buffer("first", first.long(), persistent=False)
        self.out_width = len(sizes) * embedding_dim

    def forward(self, batch: Batch) -> Tensor:
        index = batch.context_BC if self.encoding is None else batch.numbers[self.encoding].long()
        return self.table(index + self.first).flatten(1)


def encodings_by_layer(config: ModelConfig) -> dict[str, str]:
    """The numeric layers of a network, each with the numeric encoding that it takes."""
    return {name: name if name in ENCODINGS else config.scaling for name in config.numerics}


def column_count(encoding: str, sizes: FieldSizes) -> int:
    """The number of columns of a numeric encoding."""
    return sizes.missing if encoding == "missing" else sizes.numeric


class InputLayer(nn.Module):
    """The layers that config and table ask for, side by side."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        layers: dict[str, Linear | Direct | Indexed] = {}
        for name, encoding in encodings_by_layer(config).items():
            columns = column_count(encoding, sizes)
            if name == "linear":
                layers[name] = Linear(encoding, columns, config.embedding_dim)
            elif name == "buckets":
                layers[name] = Indexed(encoding, (BUCKETS + 1,) * columns, config.embedding_dim)
            else:
                layers[name] = Direct(encoding, columns)
        if sizes.context:
            layers["context"] = Indexed(None, sizes.context, config.embedding_dim)
        # The names of the weights in model files begin with `inputs.kinds`.
        self.kinds = nn.ModuleDict(layers)
        self.out_width = sum(layer.out_width for layer in layers.values())

    def forward(self, batch: Batch) -> Tensor:
        """[B, out_width]."""
        return torch.cat([layer(batch) for layer in self.kinds.values()], dim=1)

    def numeric_vectors(self) -> list[nn.Parameter]:
        """The learned vectors that are not in an nn.Embedding."""
        return [p for layer in self.kinds.values() for p in layer.parameters(recurse=False)]

    def start_values(self, std: float) -> None:
        """Draw these vectors."""
        for parameter in self.numeric_vectors():
            nn.init.normal_(parameter, std=std)
