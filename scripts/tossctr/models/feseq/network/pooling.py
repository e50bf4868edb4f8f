"""Sequence pooling: one vector per row from all its positions (FESEQ section 4).

Every pooling has two forms that are the same function. `forward` takes packed positions
(refined_ND, layout, item_BE), each row's history and then its target; `padded` takes left-padded
rows (x_BLD, is_position_BL, item_BE), where every row has the last position. N positions of all
rows, B rows, L positions of the longest row, D width, A attention width, X any width.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....batches.layout import Layout
from ..network_settings import ATTENTION_DIM, DIN_WIDTHS, ModelConfig
from .dropout import Dropout


def full_precision(x: Tensor) -> torch.autocast:
    """A block in which products have the type of their inputs, also inside autocast.

    It is for vectors of whole rows, which are little work. Pooled vectors of different rows differ
    little, and bfloat16 rounds logits near -4 to steps of 0.016.
    """
    return torch.autocast(x.device.type, enabled=False)


def row_sums(x_NX: Tensor, layout: Layout) -> Tensor:
    """The sum [B, X] over each row's positions; its gradient has a fixed order on every device."""
    return _RowSums.apply(x_NX, layout.start_B, layout.row_N)


def at_positions(x_BX: Tensor, layout: Layout) -> Tensor:
    """Each row's vector at all of its positions [N, X]; the same goes for its gradient."""
    return _AtPositions.apply(x_BX, layout.start_B, layout.row_N)


def row_softmax(score_N: Tensor, layout: Layout) -> Tensor:
    """The softmax [N] over each row's positions."""
    score_N1 = score_N[:, None]
    with torch.no_grad():
        largest_N1 = F.embedding(layout.row_N, _bags(score_N1, layout.start_B, "max"))
    weight_N1 = (score_N1 - largest_N1).exp()
    return (weight_N1 / at_positions(row_sums(weight_N1, layout), layout)).squeeze(1)


def _bags(x_NX: Tensor, start_B: Tensor, mode: str) -> Tensor:
    position_N = torch.arange(len(x_NX), dtype=start_B.dtype, device=x_NX.device)
    return F.embedding_bag(position_N, x_NX, start_B, mode=mode, include_last_offset=True)


class _RowSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NX: Tensor, start_B: Tensor, row_N: Tensor) -> Tensor:
        ctx.save_for_backward(start_B, row_N)
        return _bags(x_NX, start_B, "sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _AtPositions.apply(gradients[0].contiguous(), *ctx.saved_tensors), None, None


class _AtPositions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BX: Tensor, start_B: Tensor, row_N: Tensor) -> Tensor:
        ctx.save_for_backward(start_B, row_N)
        return F.embedding(row_N, x_BX)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _RowSums.apply(gradients[0].contiguous(), *ctx.saved_tensors), None, None


class MeanPooling(nn.Module):
    """The mean over the positions [B, D]."""

    needs_item = False

    def __init__(self, config: ModelConfig, width: int, item_width: int) -> None:
        super().__init__()
        self.out_width = width

    def forward(self, refined_ND: Tensor, layout: Layout, item_BE: Tensor | None) -> Tensor:
        return row_sums(refined_ND, layout) / layout.start_B.diff()[:, None]

    def padded(self, x_BLD: Tensor, is_position_BL: Tensor, item_BE: Tensor | None) -> Tensor:
        sum_BD = (is_position_BL.to(x_BLD.dtype)[:, None] @ x_BLD).squeeze(1)
        return sum_BD / is_position_BL.sum(1, keepdim=True)


class TargetPooling(MeanPooling):
    """The refined target position [B, D]."""

    def forward(self, refined_ND: Tensor, layout: Layout, item_BE: Tensor | None) -> Tensor:
        return F.embedding(layout.start_B[1:] - 1, refined_ND)

    def padded(self, x_BLD: Tensor, is_position_BL: Tensor, item_BE: Tensor | None) -> Tensor:
        return x_BLD[:, -1]


class WeightedSumPooling(nn.Module):
    """Attention of the target item over the positions (paper, eq. 8-16).

    q = W_q e_out, K = F W_K, V = F W_V, PReLU and dropout on each; a score per position; masked
    softmax alpha; u = PReLU((sum_t alpha_t V_t) W_u + b) [B, A].
    """

    needs_item = True

    def __init__(self, config: ModelConfig, width: int, item_width: int) -> None:
        super().__init__()
        self.out_width = ATTENTION_DIM
        self.query = _projection(item_width, config.dropout)
        self.key = _projection(width, config.dropout)
        self.value = _projection(width, config.dropout)
        self.score = DinScore(config.dropout) if config.pooling == "din" else BilinearScore()
        self.out = nn.Sequential(nn.Linear(ATTENTION_DIM, ATTENTION_DIM), nn.PReLU())

    def forward(self, refined_ND: Tensor, layout: Layout, item_BE: Tensor) -> Tensor:
        query_NA = at_positions(self.score.query(self.query(item_BE)), layout)
        score_N = self.score(query_NA, self.key(refined_ND))
        weight_N = row_softmax(score_N.to(refined_ND.dtype), layout)
        value_NA = self.value(refined_ND).to(refined_ND.dtype)
        with full_precision(refined_ND):
            return self.out(row_sums(weight_N[:, None] * value_NA, layout))

    def padded(self, x_BLD: Tensor, is_position_BL: Tensor, item_BE: Tensor) -> Tensor:
        query_BA, key_BLA = self.score.query(self.query(item_BE)), self.key(x_BLD)
        score_BL = self.score(query_BA[:, None].expand_as(key_BLA), key_BLA)
        weight_BL = score_BL.masked_fill(~is_position_BL, -torch.inf).softmax(1)
        return self.out((weight_BL[:, None] @ self.value(x_BLD)).squeeze(1))


def _projection(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, ATTENTION_DIM, bias=False), nn.PReLU(), Dropout(dropout))


class BilinearScore(nn.Module):
    """q^T W K_t / sqrt(d_h), W starting as identity (paper, eq. 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.Parameter(torch.eye(ATTENTION_DIM))

    def query(self, query_BA: Tensor) -> Tensor:
        """q^T W, computed once for all positions of a row [B, A]."""
        return query_BA @ self.bilinear

    def forward(self, query_XA: Tensor, key_XA: Tensor) -> Tensor:
        """[X], X being any positions, each with its row's query."""
        return (query_XA * key_XA).sum(-1) * (1 / math.sqrt(ATTENTION_DIM))


class DinScore(nn.Module):
    """An MLP with Dice on [q, K_t, q - K_t, q * K_t], as DIN (Zhou et al., KDD 2018) has it."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        widths = (4 * ATTENTION_DIM, *DIN_WIDTHS)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, DIN_WIDTHS):
            layers += [nn.Linear(inputs, outputs), Dice(outputs), Dropout(dropout)]
        self.mlp = nn.Sequential(*layers, nn.Linear(DIN_WIDTHS[-1], 1))

    def query(self, query_BA: Tensor) -> Tensor:
        """The query itself [B, A]."""
        return query_BA

    def forward(self, query_XA: Tensor, key_XA: Tensor) -> Tensor:
        """[X]."""
        vectors = [query_XA, key_XA, query_XA - key_XA, query_XA * key_XA]
        pair_NX = torch.cat(vectors, dim=-1).flatten(0, -2)
        return self.mlp(pair_NX).view(key_XA.shape[:-1])


class Dice(nn.Module):
    """p x + alpha (1 - p) x with p = sigmoid of x normalised by the batch (Zhou et al., eq. 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False, eps=1e-9, momentum=0.01)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x_NA: Tensor) -> Tensor:
        """[N, A]."""
        norm = self.norm
        # A single position has no variance: the running statistics serve.
        normed_NA = (
            norm(x_NA)
            if len(x_NA) > 1
            else F.batch_norm(x_NA, norm.running_mean, norm.running_var, eps=norm.eps)
        )
        share_NA = torch.sigmoid(normed_NA)
        return (share_NA + self.alpha * (1 - share_NA)) * x_NA


POOLINGS: dict[str, type[MeanPooling | WeightedSumPooling]] = {
    "mean": MeanPooling,
    "target": TargetPooling,
    "weighted_sum": WeightedSumPooling,
    "din": WeightedSumPooling,
}
