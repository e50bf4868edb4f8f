"""Embeds the fields of positions, and combines the fields of each position.

A position is an event of a row's history, or the row's target. B rows, N positions, U distinct
positions, V distinct events (see `positions.py`), G target fields, S sequence fields (= G), P
profile fields, F = S + P fields at a position, d embedding size.
"""

import math
from collections.abc import Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn

from .input_layer import InputSizes
from .positions import BatchRows


class EmbeddingTables(nn.ModuleList):
    """One embedding table per field, that is, per categorical column."""

    def __init__(self, sizes: Sequence[int], embedding_dim: int) -> None:
        super().__init__(nn.Embedding(size, embedding_dim) for size in sizes)
        self.embedding_dim = embedding_dim

    def forward(self, index_FX: Tensor) -> Tensor:
        """The embeddings [..., fields, embedding size] of category indices [fields, ...]."""
        if not self:
            return torch.zeros(*index_FX.shape[1:], 0, self.embedding_dim, device=index_FX.device)
        return torch.stack([table(index_X) for table, index_X in zip(self, index_FX)], dim=-2)


class PositionFields(nn.Module):
    """Embeds the fields of each position: those of its event or target, and its row's profile.

    Equal events of a row are embedded once, since histories often repeat events.
    """

    def __init__(self, sizes: InputSizes, embedding_dim: int) -> None:
        super().__init__()
        self.target = EmbeddingTables(sizes.target, embedding_dim)
        self.sequence = EmbeddingTables((), embedding_dim).extend(
            target if is_shared else nn.Embedding(size, embedding_dim, padding_idx=0)
            for size, target, is_shared in zip_longest(sizes.sequence, self.target, sizes.shared)
        )

    def forward(self, rows: BatchRows, target_BG: Tensor, profile_BPd: Tensor) -> Tensor:
        """Embeddings [distinct positions, fields, embedding size]."""
        event_VSd, profile_VPd = self.sequence(rows.distinct_SV), rows.rows_to_distinct(profile_BPd)
        event_VFd = torch.cat([event_VSd, profile_VPd], dim=-2)
        target_BFd = torch.cat([self.target(target_BG.T), profile_BPd], dim=-2)
        return rows.concat(event_VFd, target_BFd)

    def target_and_history(self, rows: BatchRows, target_BG: Tensor) -> Tensor:
        """For each row: the embedding t of its target, the scaled sum h of its events, and t * h.

        h is the sum of the embeddings of all events, divided by the square root of their number.
        The result is [rows, 3 * target fields * embedding size].
        """
        target_BX = self.target(target_BG.T).flatten(1)
        sums = [rows.event_sum(i, table) for i, table in enumerate(self.sequence)]
        length_B1 = rows.events_B.clamp(min=1)[:, None]
        history_BX = torch.cat(sums, dim=1) / length_B1.to(target_BX.dtype).sqrt()
        return torch.cat([target_BX, history_BX, target_BX * history_BX], dim=1)


class DistanceEmbedding(nn.Module):
    """Embeds an event's distance to the target; distances above `longest` share an embedding."""

    def __init__(self, size: int, longest: int, embedding_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(size, embedding_dim)
        self.longest = longest

    def forward(self, distance_N: Tensor) -> Tensor:
        """Embeddings [positions, embedding size] of the positions' distances."""
        return self.table(distance_N.clamp(max=self.longest))


class AutoInt(nn.Module):
    """Self-attention with one head over the fields of a position (FESeq paper, eq. 1-3).

    E <- ReLU(softmax(Q K^T / sqrt(d)) V + E), with embeddings E [fields, d] of the fields. Q, K and
    V are each E times a d x d matrix.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            nn.Linear(embedding_dim, embedding_dim, bias=False) for _ in range(3)
        )
        self.scale = 1 / math.sqrt(embedding_dim)

    def forward(self, x0: Tensor, fields_FD: Tensor) -> Tensor:
        score_FF = self.query(fields_FD) @ self.key(fields_FD).transpose(-1, -2) * self.scale
        return torch.relu(score_FF.softmax(-1) @ self.value(fields_FD) + fields_FD)


class CrossV2(nn.Linear):
    """Cross network of DCN-v2: x <- x0 * (W x + b) + x (Wang et al., WWW 2021, eq. 1)."""

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:  # type: ignore[override]
        return torch.addcmul(x, x0, super().forward(x))


class Interaction(nn.Module):
    """Interacting layers: `autoint` over a position's fields, `crossnetv2` on their concatenation.

    The output has the dtype of the input, also under autocast, since later layers add to it.
    """

    def __init__(self, name: str, layers: int, fields: int, embedding_dim: int) -> None:
        super().__init__()
        self.on_fields, width = name == "autoint", fields * embedding_dim
        self.layers = nn.ModuleList(
            AutoInt(embedding_dim) if self.on_fields else CrossV2(width, width)
            for _ in range(layers)
        )

    def forward(self, fields_FD: Tensor) -> Tensor:
        """From embeddings [..., fields, d] to vectors [..., fields * d]; d is their size."""
        x = x0 = fields_FD if self.on_fields else fields_FD.flatten(-2)
        for layer in self.layers:
            x = layer(x0, x).to(x0.dtype)
        return x.flatten(-2) if self.on_fields else x
