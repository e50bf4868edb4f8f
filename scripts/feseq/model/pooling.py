"""Sequence pooling: one vector per row from all its positions (FESEQ section 4).

Every pooling maps (refined_BLD, is_pad_BL or None, item_BE) to [B, out_width]; the last position
is the target's, padding stands in front.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dropout import Dropout
from .precision import full_precision

# Hidden layers of the DIN score, as in the published code.
DIN_WIDTHS = (512, 256, 128)


class SumPooling(nn.Module):
    """Sum or mean over the positions that are not padding."""

    def __init__(self, width: int, mean: bool) -> None:
        super().__init__()
        self.out_width = width
        self.mean = mean

    def forward(self, refined_BLD: Tensor, is_pad_BL: Tensor | None, item_BE: Tensor) -> Tensor:
        if is_pad_BL is None:
            return refined_BLD.mean(1) if self.mean else refined_BLD.sum(1)
        weight_BL = (~is_pad_BL).to(refined_BLD.dtype)
        if self.mean:
            weight_BL = weight_BL / weight_BL.sum(1, keepdim=True)
        with full_precision(refined_BLD):
            return torch.einsum("bl,bld->bd", weight_BL, refined_BLD)


class TargetPooling(nn.Module):
    """The refined target position."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_width = width

    def forward(self, refined_BLD: Tensor, is_pad_BL: Tensor | None, item_BE: Tensor) -> Tensor:
        return refined_BLD[:, -1]


class ConcatPooling(nn.Module):
    """All positions side by side, zeros where a history is shorter than max_len."""

    def __init__(self, width: int, max_len: int) -> None:
        super().__init__()
        self.positions = max_len + 1
        self.out_width = width * self.positions

    def forward(self, refined_BLD: Tensor, is_pad_BL: Tensor | None, item_BE: Tensor) -> Tensor:
        if is_pad_BL is not None:
            refined_BLD = refined_BLD.masked_fill(is_pad_BL[..., None], 0)
        missing = self.positions - refined_BLD.shape[1]
        return F.pad(refined_BLD, (0, 0, missing, 0)).flatten(1)


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

    def forward(self, refined_BLD: Tensor, is_pad_BL: Tensor | None, item_BE: Tensor) -> Tensor:
        weight_BL = self.attention(refined_BLD, is_pad_BL, item_BE)
        value_BLA = self.value(refined_BLD).to(refined_BLD.dtype)
        with full_precision(refined_BLD):
            return self.out(torch.einsum("bl,bla->ba", weight_BL, value_BLA))

    def attention(self, refined_BLD: Tensor, is_pad_BL: Tensor | None, item_BE: Tensor) -> Tensor:
        """alpha [B, L], 0 at padding."""
        score_BL = self.score(self.query(item_BE), self.key(refined_BLD), is_pad_BL)
        if is_pad_BL is not None:
            score_BL = score_BL.masked_fill(is_pad_BL, -torch.inf)
        return score_BL.to(refined_BLD.dtype).softmax(-1)


class DotScore(nn.Module):
    """q^T K_t / sqrt(d_h) (paper, eq. 16); not `scaled`, without the root."""

    def __init__(self, attention_dim: int, scaled: bool, dropout: float) -> None:
        super().__init__()
        self.scale = 1 / math.sqrt(attention_dim) if scaled else 1.0

    def forward(self, query_BA: Tensor, key_BLA: Tensor, is_pad_BL: Tensor | None) -> Tensor:
        return torch.einsum("ba,bla->bl", query_BA, key_BLA) * self.scale


class BilinearScore(DotScore):
    """q^T W K_t / sqrt(d_h), W starting as identity (paper, eq. 12)."""

    def __init__(self, attention_dim: int, scaled: bool, dropout: float) -> None:
        super().__init__(attention_dim, scaled, dropout)
        self.bilinear = nn.Parameter(torch.eye(attention_dim))

    def forward(self, query_BA: Tensor, key_BLA: Tensor, is_pad_BL: Tensor | None) -> Tensor:
        return super().forward(query_BA @ self.bilinear, key_BLA, is_pad_BL)


class DinScore(nn.Module):
    """An MLP with Dice on [q, K_t, q - K_t, q * K_t], as DIN (Zhou et al., KDD 2018) has it."""

    def __init__(self, attention_dim: int, scaled: bool, dropout: float) -> None:
        super().__init__()
        widths = (4 * attention_dim, *DIN_WIDTHS)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, DIN_WIDTHS):
            layers += [nn.Linear(inputs, outputs), Dice(outputs), Dropout(dropout)]
        self.mlp = nn.Sequential(*layers, nn.Linear(DIN_WIDTHS[-1], 1))

    def forward(self, query_BA: Tensor, key_BLA: Tensor, is_pad_BL: Tensor | None) -> Tensor:
        query_BLA = query_BA[:, None].expand_as(key_BLA)
        pair_BLX = torch.cat([query_BLA, key_BLA, query_BLA - key_BLA, query_BLA * key_BLA], dim=-1)
        # Padding must not enter the statistics of Dice.
        is_position_BL = key_BLA.new_ones(key_BLA.shape[:2], dtype=torch.bool)
        if is_pad_BL is not None:
            is_position_BL = ~is_pad_BL
        score_T = self.mlp(pair_BLX[is_position_BL]).squeeze(-1)
        return torch.zeros_like(key_BLA[..., 0]).masked_scatter(is_position_BL, score_T)


class Dice(nn.Module):
    """p x + alpha (1 - p) x with p = sigmoid of x normalised by the batch (Zhou et al., eq. 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False, eps=1e-9, momentum=0.01)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x_TA: Tensor) -> Tensor:
        # A single position has no variance: the running statistics serve.
        normed_TA = (
            self.norm(x_TA)
            if len(x_TA) > 1
            else F.batch_norm(
                x_TA, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps
            )
        )
        share_TA = torch.sigmoid(normed_TA)
        return (share_TA + self.alpha * (1 - share_TA)) * x_TA


_SCORES: dict[str, type[DotScore] | type[DinScore]] = {
    "bilinear": BilinearScore,
    "dot": DotScore,
    "din": DinScore,
}
