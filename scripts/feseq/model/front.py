"""The front: how numeric columns enter the output network, by the kinds in `model.numerics`.

    linear      x · v, a learned vector v a column (the briefing's)
    direct      x as it is
    buckets     a learned vector for each of the column's quantile buckets, one more for missing
    piecewise   the share of each quantile bucket that lies below the value, through a learned
                matrix a column (Gorishniy et al., "On Embeddings for Numerical Features", 2022)

B rows of a batch, N numeric columns, K buckets, d embedding size.
"""

import torch
from torch import Tensor, nn

from ..config.model import ModelConfig
from ..dataset.batches import Batch
from .sizes import FieldSizes


class Linear(nn.Module):
    """x · v."""

    def __init__(self, columns: int, buckets: int, d: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.empty(columns, d))
        self.out_width = columns * d

    def forward(self, batch: Batch) -> Tensor:
        return (batch.numeric_BN[..., None] * self.vector).flatten(1)


class Direct(nn.Module):
    """x."""

    def __init__(self, columns: int, buckets: int, d: int) -> None:
        super().__init__()
        self.out_width = columns

    def forward(self, batch: Batch) -> Tensor:
        return batch.numeric_BN


class Buckets(nn.Module):
    """The vector of the value's bucket; all columns share one table, each with rows of its own."""

    def __init__(self, columns: int, buckets: int, d: int) -> None:
        super().__init__()
        self.buckets = buckets
        self.first_N: Tensor
        self.table = nn.Embedding(columns * (buckets + 1), d)
        self.out_width = columns * d
        first_N = torch.arange(columns) * (buckets + 1)
        self.register_buffer("first_N", first_N, persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        rank_BN = batch.rank_BN
        assert rank_BN is not None, "buckets need ranks"
        bucket_BN = (rank_BN * self.buckets).long().clamp(0, self.buckets - 1)
        bucket_BN = torch.where(rank_BN < 0, self.buckets, bucket_BN)
        return self.table(bucket_BN + self.first_N).flatten(1)


class Piecewise(nn.Module):
    """Bucket k holds clamp(rank · K - k, 0, 1); missing is 0 in all."""

    def __init__(self, columns: int, buckets: int, d: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.empty(columns, buckets, d))
        self.out_width = columns * d
        self.bucket_K: Tensor
        self.register_buffer("bucket_K", torch.arange(buckets), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        rank_BN = batch.rank_BN
        assert rank_BN is not None, "piecewise needs ranks"
        filled_BNK = (rank_BN[..., None] * len(self.bucket_K) - self.bucket_K).clamp(0, 1)
        return torch.einsum("bnk,nkd->bnd", filled_BNK, self.matrix).flatten(1)


KINDS: dict[str, type[Linear | Direct | Buckets | Piecewise]] = {
    "linear": Linear,
    "direct": Direct,
    "buckets": Buckets,
    "piecewise": Piecewise,
}


class NumericFront(nn.Module):
    """The kinds that the config names, side by side, and a flag for each missing block."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        shape = (sizes.numeric, config.numeric_buckets, config.embedding_dim)
        kinds = [KINDS[name](*shape) for name in config.numerics]
        self.kinds = nn.ModuleDict(dict(zip(config.numerics, kinds)))
        self.flags = sizes.missing if config.missing_flags else 0
        self.out_width = self.flags + sum(width.out_width for width in kinds)

    def forward(self, batch: Batch) -> Tensor:
        """[B, out_width]."""
        parts = [kind(batch) for kind in self.kinds.values()]
        if self.flags:
            assert batch.missing_BK is not None, "flags need missing blocks"
            parts.append(batch.missing_BK)
        return torch.cat(parts, dim=1)

    def own_parameters(self) -> list[nn.Parameter]:
        """Learned vectors that are no nn.Embedding."""
        return [p for kind in self.kinds.values() for p in kind.parameters(recurse=False)]

    def start_values(self, std: float) -> None:
        """Draw these vectors."""
        for parameter in self.own_parameters():
            nn.init.normal_(parameter, std=std)
