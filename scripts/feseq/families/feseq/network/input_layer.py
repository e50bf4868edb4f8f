"""The input layer: what goes to the output network beside profile and history.

Numeric columns, by the kinds in `model.numerics`:

    linear      x · v, a learned vector v a column (the briefing's)
    direct      x as it is
    buckets     a learned vector for each of the column's quantile buckets, one more for missing
    missing     a flag for each block of columns that are missing together

Categories that stand at no position of the history:

    context     a learned vector for each category

B rows of a batch, d embedding size.
"""

import torch
from torch import Tensor, nn

from ....batches.batch import Batch
from ....features.numeric_encodings import BUCKETS, ENCODINGS
from ..settings import ModelConfig
from .sizes import FieldSizes


class Linear(nn.Module):
    """x · v."""

    def __init__(self, numbers: str, columns: int, embedding_dim: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.vector = nn.Parameter(torch.empty(columns, embedding_dim))
        self.out_width = columns * embedding_dim

    def forward(self, batch: Batch) -> Tensor:
        return (batch.numbers[self.numbers][..., None] * self.vector).flatten(1)


class Direct(nn.Module):
    """x."""

    def __init__(self, numbers: str, columns: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.out_width = columns

    def forward(self, batch: Batch) -> Tensor:
        return batch.numbers[self.numbers]


class Indexed(nn.Module):
    """The vectors of buckets, which are `numbers` of the batch, or of its context categories."""

    def __init__(self, numbers: str | None, sizes: tuple[int, ...], config: ModelConfig) -> None:
        super().__init__()
        self.numbers = numbers
        self.table = Tables(sizes, config)
        self.out_width = len(sizes) * config.embedding_dim

    def forward(self, batch: Batch) -> Tensor:
        index = batch.context_BC if self.numbers is None else batch.numbers[self.numbers].long()
        return self.table(index).flatten(1)


class Tables(nn.Embedding):
    """A table for each column, one below the other: a single lookup serves all columns."""

    def __init__(self, sizes: tuple[int, ...], config: ModelConfig) -> None:
        super().__init__(sum(sizes), config.embedding_dim)
        self.first: Tensor
        first = torch.tensor(sizes, dtype=torch.long).cumsum(0) - torch.tensor(sizes)
        self.register_buffer("first", first.long(), persistent=False)

    def forward(self, index: Tensor) -> Tensor:
        """Vectors [B, columns, d] of indices [B, columns], each from 0 on in its column's table."""
        return super().forward(index + self.first)


def numbers_of(config: ModelConfig) -> dict[str, str]:
    """The numeric layers of a network, each with the kind of numbers that it takes."""
    return {name: name if name in ENCODINGS else config.scaling for name in config.numerics}


def columns_of(numbers: str, sizes: FieldSizes) -> int:
    """How many columns the numbers of a kind have."""
    return sizes.missing if numbers == "missing" else sizes.numeric


class InputLayer(nn.Module):
    """The kinds that config and table ask for, side by side."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        kinds: dict[str, Linear | Direct | Indexed] = {}
        for name, numbers in numbers_of(config).items():
            columns = columns_of(numbers, sizes)
            if name == "linear":
                kinds[name] = Linear(numbers, columns, config.embedding_dim)
            elif name == "buckets":
                kinds[name] = Indexed(numbers, (BUCKETS + 1,) * columns, config)
            else:
                kinds[name] = Direct(numbers, columns)
        if sizes.context:
            kinds["context"] = Indexed(None, sizes.context, config)
        self.kinds = nn.ModuleDict(kinds)
        self.out_width = sum(kind.out_width for kind in kinds.values())

    def forward(self, batch: Batch) -> Tensor:
        """[B, out_width]."""
        return torch.cat([kind(batch) for kind in self.kinds.values()], dim=1)

    def own_parameters(self) -> list[nn.Parameter]:
        """Learned vectors that are no nn.Embedding."""
        return [p for kind in self.kinds.values() for p in kind.parameters(recurse=False)]

    def start_values(self, std: float) -> None:
        """Draw these vectors."""
        for parameter in self.own_parameters():
            nn.init.normal_(parameter, std=std)
