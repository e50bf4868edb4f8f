"""Sequence pooling: one vector per row from all its positions (FESEQ section 4).

Every pooling maps (refined_BLD, is_pad_BL or None, item_BE) to [B, out_width]; the last position
is the target's, padding stands in front.
"""

import math

import torch
from torch import Tensor, nn


class MeanPooling(nn.Module):
    """Mean over the positions that are not padding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_width = width

    def forward(self, refined_BLD: Tensor, is_pad_BL: Tensor | None, item_BE: Tensor) -> Tensor:
        if is_pad_BL is None:
            return refined_BLD.mean(1)
        weight_BL = (~is_pad_BL).to(refined_BLD.dtype)
        weight_BL = weight_BL / weight_BL.sum(1, keepdim=True)
        return torch.einsum("bl,bld->bd", weight_BL, refined_BLD)


class TargetPooling(nn.Module):
    """The refined target position."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_width = width

    def forward(self, refined_BLD: Tensor, is_pad_BL: Tensor | None, item_BE: Tensor) -> Tensor:
        return refined_BLD[:, -1]


class WeightedSumPooling(nn.Module):
    """Attention of the target item over the positions, bilinear scores (paper, eq. 8-12).

    q = W_q e_out, K = F W_K, V = F W_V, PReLU and dropout on each; score q^T W K_t / sqrt(d_h) with
    W starting as identity; masked softmax; u = PReLU((sum_t alpha_t V_t) W_u + b).
    """

    def __init__(self, width: int, item_width: int, attention_dim: int, dropout: float) -> None:
        super().__init__()
        self.out_width = attention_dim
        self.query = self._projection(item_width, attention_dim, dropout)
        self.key = self._projection(width, attention_dim, dropout)
        self.value = self._projection(width, attention_dim, dropout)
        self.bilinear = nn.Parameter(torch.eye(attention_dim))
        self.out = nn.Sequential(nn.Linear(attention_dim, attention_dim), nn.PReLU())
        self.scale = 1 / math.sqrt(attention_dim)

    @staticmethod
    def _projection(width: int, attention_dim: int, dropout: float) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(width, attention_dim, bias=False), nn.PReLU(), nn.Dropout(dropout)
        )

    def forward(self, refined_BLD: Tensor, is_pad_BL: Tensor | None, item_BE: Tensor) -> Tensor:
        query_BA = self.query(item_BE) @ self.bilinear
        score_BL = torch.einsum("ba,bla->bl", query_BA, self.key(refined_BLD)) * self.scale
        if is_pad_BL is not None:
            score_BL = score_BL.masked_fill(is_pad_BL, -torch.inf)
        pooled_BA = torch.einsum("bl,bla->ba", score_BL.softmax(-1), self.value(refined_BLD))
        return self.out(pooled_BA)


POOLINGS = ("mean", "target", "weighted_sum")
