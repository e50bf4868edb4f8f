"""The front: what goes to the output network beside profile and history, as a list of kinds.

Numeric columns, by the kinds in `model.numerics`:

    linear      x · v, a learned vector v a column (the briefing's)
    direct      x as it is
    buckets     a learned vector for each of the column's quantile buckets, one more for missing
    piecewise   the share of each quantile bucket that lies below the value, through a learned
                matrix a column (Gorishniy et al., "On Embeddings for Numerical Features", 2022)
    missing     a flag for each block of columns that are missing together

Categories that stand at no position of the history:

    context     a learned vector for each category

B rows of a batch, N numeric columns, K buckets, C categories, d embedding size.
"""

import torch
from torch import Tensor, nn

from ..config.model import ModelConfig
from ..dataset.batches import Batch
from .dropout import VectorDropout
from .sizes import FieldSizes


class Linear(nn.Module):
    """x · v."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.empty(sizes.numeric, config.embedding_dim))
        self.out_width = sizes.numeric * config.embedding_dim

    def forward(self, batch: Batch) -> Tensor:
        return (batch.numeric_BN[..., None] * self.vector).flatten(1)


class Direct(nn.Module):
    """x."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        self.out_width = sizes.numeric

    def forward(self, batch: Batch) -> Tensor:
        return batch.numeric_BN


class Buckets(nn.Module):
    """The vector of the value's bucket."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        self.buckets = config.numeric_buckets
        self.table = Tables((self.buckets + 1,) * sizes.numeric, config)
        self.out_width = sizes.numeric * config.embedding_dim

    def forward(self, batch: Batch) -> Tensor:
        rank_BN = batch.rank_BN
        assert rank_BN is not None, "buckets need ranks"
        bucket_BN = (rank_BN * self.buckets).long().clamp(0, self.buckets - 1)
        return self.table(torch.where(rank_BN < 0, self.buckets, bucket_BN)).flatten(1)


class Piecewise(nn.Module):
    """Bucket k holds clamp(rank · K - k, 0, 1); missing is 0 in all."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        shape = (sizes.numeric, config.numeric_buckets, config.embedding_dim)
        self.matrix = nn.Parameter(torch.empty(shape))
        self.out_width = sizes.numeric * config.embedding_dim
        self.bucket_K: Tensor
        self.register_buffer("bucket_K", torch.arange(config.numeric_buckets), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        rank_BN = batch.rank_BN
        assert rank_BN is not None, "piecewise needs ranks"
        filled_BNK = (rank_BN[..., None] * len(self.bucket_K) - self.bucket_K).clamp(0, 1)
        return torch.einsum("bnk,nkd->bnd", filled_BNK, self.matrix).flatten(1)


class Missing(nn.Module):
    """1 where a block is missing."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        self.out_width = sizes.missing

    def forward(self, batch: Batch) -> Tensor:
        assert batch.missing_BK is not None, "flags need missing blocks"
        return batch.missing_BK


class Context(nn.Module):
    """The vector of each category."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        self.table = Tables(sizes.context, config)
        self.out_width = len(sizes.context) * config.embedding_dim

    def forward(self, batch: Batch) -> Tensor:
        assert batch.context_BC is not None, "a table of context columns needs their indices"
        return self.table(batch.context_BC).flatten(1)


class Tables(nn.Embedding):
    """A table for each column, one below the other: a single lookup serves all columns."""

    def __init__(self, sizes: tuple[int, ...], config: ModelConfig) -> None:
        super().__init__(sum(sizes), config.embedding_dim)
        self.dropout = VectorDropout(config.embedding_dropout)
        self.first: Tensor
        first = torch.tensor(sizes, dtype=torch.long).cumsum(0) - torch.tensor(sizes)
        self.register_buffer("first", first.long(), persistent=False)

    def forward(self, index: Tensor) -> Tensor:
        """Vectors [B, columns, d] of indices [B, columns], each from 0 on in its column's table."""
        return self.dropout(super().forward(index + self.first))


Kind = Linear | Direct | Buckets | Piecewise | Missing | Context
KINDS: dict[str, type[Kind]] = {
    "linear": Linear,
    "direct": Direct,
    "buckets": Buckets,
    "piecewise": Piecewise,
    "missing": Missing,
    "context": Context,
}


class Front(nn.Module):
    """The kinds that config and table ask for, side by side."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        names: list[str] = [*config.numerics]
        names += ["missing"] if config.missing_flags and sizes.missing else []
        names += ["context"] if sizes.context else []
        kinds = {name: KINDS[name](config, sizes) for name in names}
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
