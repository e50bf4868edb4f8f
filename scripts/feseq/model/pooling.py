"""Sequence pooling: one vector per row from all its positions (FESEQ section 4).

Every pooling maps (refined_ND, layout, item_BE) to [B, out_width]; a row's last position is the
target's. N positions of all rows, B rows, D width, A attention width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..dataset.layout import Layout
from .dropout import Dropout
from .precision import full_precision
from .segments import at_positions, row_softmax, row_sums

# Hidden layers of the DIN score, as in the published code.
DIN_WIDTHS = (512, 256, 128)


class SumPooling(nn.Module):
    """Sum or mean over the positions."""

    def __init__(self, width: int, mean: bool) -> None:
        super().__init__()
        self.out_width = width
        self.mean = mean

    def forward(self, refined_ND: Tensor, layout: Layout, item_BE: Tensor) -> Tensor:
        sum_BD = row_sums(refined_ND, layout)
        return sum_BD / layout.start_B.diff()[:, None] if self.mean else sum_BD


class TargetPooling(nn.Module):
    """The refined target position."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_width = width

    def forward(self, refined_ND: Tensor, layout: Layout, item_BE: Tensor) -> Tensor:
        return F.embedding(layout.start_B[1:] - 1, refined_ND)


class ConcatPooling(nn.Module):
    """All positions side by side, zeros where a history is shorter than max_len."""

    def __init__(self, width: int, max_len: int) -> None:
        super().__init__()
        self.positions = max_len + 1
        self.out_width = width * self.positions

    def forward(self, refined_ND: Tensor, layout: Layout, item_BE: Tensor) -> Tensor:
        rows, width = len(layout.start_B) - 1, refined_ND.shape[1]
        slot_N = (layout.row_N + 1) * self.positions - 1 - layout.age_N
        slots_XD = refined_ND.new_zeros(rows * self.positions, width)
        return slots_XD.index_copy(0, slot_N.long(), refined_ND).view(rows, self.out_width)


class WeightedSumPooling(nn.Module):
    """Attention of the target item over the positions (paper, eq. 8-16).

    q = W_q e_out, K = F W_K, V = F W_V, PReLU and dropout on each; a score per position; masked
    softmax alpha; u = PReLU((sum_t alpha_t V_t) W_u + b).
    """

    def __init__(
        self,
        width: int,
        item_width: int,
        attention_dim: int,
        score: str,
        scaled: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.out_width = attention_dim
        self.query = self._projection(item_width, attention_dim, dropout)
        self.key = self._projection(width, attention_dim, dropout)
        self.value = self._projection(width, attention_dim, dropout)
        self.score = _SCORES[score](attention_dim, scaled, dropout)
        self.out = nn.Sequential(nn.Linear(attention_dim, attention_dim), nn.PReLU())

    @staticmethod
    def _projection(width: int, attention_dim: int, dropout: float) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(width, attention_dim, bias=False), nn.PReLU(), Dropout(dropout)
        )

    def forward(self, refined_ND: Tensor, layout: Layout, item_BE: Tensor) -> Tensor:
        weight_N = self.attention(refined_ND, layout, item_BE)
        value_NA = self.value(refined_ND).to(refined_ND.dtype)
        with full_precision(refined_ND):
            return self.out(row_sums(weight_N[:, None] * value_NA, layout))

    def attention(self, refined_ND: Tensor, layout: Layout, item_BE: Tensor) -> Tensor:
        """alpha [N]."""
        score_N = self.score(self.query(item_BE), self.key(refined_ND), layout)
        return row_softmax(score_N.to(refined_ND.dtype), layout)


class DotScore(nn.Module):
    """q^T K_t / sqrt(d_h) (paper, eq. 16); not `scaled`, without the root."""

    def __init__(self, attention_dim: int, scaled: bool, dropout: float) -> None:
        super().__init__()
        self.scale = 1 / math.sqrt(attention_dim) if scaled else 1.0

    def forward(self, query_BA: Tensor, key_NA: Tensor, layout: Layout) -> Tensor:
        return (at_positions(query_BA, layout) * key_NA).sum(1) * self.scale


class BilinearScore(DotScore):
    """q^T W K_t / sqrt(d_h), W starting as identity (paper, eq. 12)."""

    def __init__(self, attention_dim: int, scaled: bool, dropout: float) -> None:
        super().__init__(attention_dim, scaled, dropout)
        self.bilinear = nn.Parameter(torch.eye(attention_dim))

    def forward(self, query_BA: Tensor, key_NA: Tensor, layout: Layout) -> Tensor:
        return super().forward(query_BA @ self.bilinear, key_NA, layout)


class DinScore(nn.Module):
    """An MLP with Dice on [q, K_t, q - K_t, q * K_t], as DIN (Zhou et al., KDD 2018) has it."""

    def __init__(self, attention_dim: int, scaled: bool, dropout: float) -> None:
        super().__init__()
        widths = (4 * attention_dim, *DIN_WIDTHS)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, DIN_WIDTHS):
            layers += [nn.Linear(inputs, outputs), Dice(outputs), Dropout(dropout)]
        self.mlp = nn.Sequential(*layers, nn.Linear(DIN_WIDTHS[-1], 1))

    def forward(self, query_BA: Tensor, key_NA: Tensor, layout: Layout) -> Tensor:
        query_NA = at_positions(query_BA, layout)
        pair_NX = torch.cat([query_NA, key_NA, query_NA - key_NA, query_NA * key_NA], dim=1)
        return self.mlp(pair_NX).squeeze(1)


class Dice(nn.Module):
    """p x + alpha (1 - p) x with p = sigmoid of x normalised by the batch (Zhou et al., eq. 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False, eps=1e-9, momentum=0.01)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x_NA: Tensor) -> Tensor:
        # A single position has no variance: the running statistics serve.
        normed_NA = (
            self.norm(x_NA)
            if len(x_NA) > 1
            else F.batch_norm(
                x_NA, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps
            )
        )
        share_NA = torch.sigmoid(normed_NA)
        return (share_NA + self.alpha * (1 - share_NA)) * x_NA


_SCORES: dict[str, type[DotScore] | type[DinScore]] = {
    "bilinear": BilinearScore,
    "dot": DotScore,
    "din": DinScore,
}
