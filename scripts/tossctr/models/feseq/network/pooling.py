"""Pooling: one vector per row from the row's positions.

B rows, N positions of all rows (see `positions.py`), D width, A attention width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..network_settings import ATTENTION_DIM, DIN_WIDTHS, ModelConfig
from .positions import BatchRows


def full_precision(x: Tensor) -> torch.autocast:
    """A context without autocast, for layers after the pooling, which take little time.

    Pooled vectors of different rows differ little, and bfloat16 rounds logits between -2 and -4 to
    multiples of 0.016.
    """
    return torch.autocast(x.device.type, enabled=False)


class MeanPooling(nn.Module):
    """The mean over each row's positions, its events and its target: [rows, width]."""

    needs_item = False
    only_targets = False

    def __init__(self, config: ModelConfig, width: int, item_width: int) -> None:
        super().__init__()
        self.out_width = width

    def forward(self, refined_ND: Tensor, rows: BatchRows, item_BE: Tensor | None) -> Tensor:
        return rows.means(refined_ND)


class TargetPooling(MeanPooling):
    """The vector of each row's target [rows, width]."""

    only_targets = True

    def forward(self, refined_BD: Tensor, rows: BatchRows, item_BE: Tensor | None) -> Tensor:
        return refined_BD


class WeightedSumPooling(nn.Module):
    """Attention of the target item to the positions of its row (FESeq paper, eq. 8-16).

    e_out is the vector of the target item, F has the vectors of the positions (events and target).
    q = W_q e_out, K = F W_K, V = F W_V, each with PReLU and dropout. alpha is the softmax of the
    positions' scores. The result is PReLU((sum_t alpha_t V_t) W_u + b) [rows, ATTENTION_DIM].
    """

    needs_item = True
    only_targets = False

    def __init__(self, config: ModelConfig, width: int, item_width: int) -> None:
        super().__init__()
        self.out_width = ATTENTION_DIM
        self.query = _projection(item_width, config.dropout)
        self.key = _projection(width, config.dropout)
        self.value = _projection(width, config.dropout)
        self.score = DinScore(config.dropout) if config.pooling == "din" else BilinearScore()
        self.out = nn.Sequential(nn.Linear(ATTENTION_DIM, ATTENTION_DIM), nn.PReLU())

    def forward(self, refined_ND: Tensor, rows: BatchRows, item_BE: Tensor) -> Tensor:
        query_NA = rows.rows_to_positions(self.score.query(self.query(item_BE)))
        score_N = self.score(query_NA, self.key(refined_ND))
        weight_N = rows.softmax(score_N.to(refined_ND.dtype))
        value_NA = self.value(refined_ND).to(refined_ND.dtype)
        with full_precision(refined_ND):
            return self.out(rows.sums(weight_N[..., None] * value_NA))


def _projection(width: int, dropout: float) -> nn.Sequential:
    linear = nn.Linear(width, ATTENTION_DIM, bias=False)
    return nn.Sequential(linear, nn.PReLU(), nn.Dropout(dropout))


class BilinearScore(nn.Module):
    """Attention score of position t, with query q and key K_t of size d_h (FESeq paper, eq. 12).

    It is q^T W K_t / sqrt(d_h). The learned matrix W starts as the identity.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.Parameter(torch.eye(ATTENTION_DIM))

    def query(self, query_BA: Tensor) -> Tensor:
        """The queries q times W: [rows, ATTENTION_DIM]."""
        return query_BA @ self.bilinear

    def forward(self, query_NA: Tensor, key_NA: Tensor) -> Tensor:
        """The score of each position [positions], from the query of its row and its own key."""
        return (query_NA * key_NA).sum(-1) * (1 / math.sqrt(ATTENTION_DIM))


class DinScore(nn.Module):
    """Attention score of position t as in DIN (Zhou et al., KDD 2018).

    It is an MLP with the activation Dice. Its input is [q, K_t, q - K_t, q * K_t], with the query q
    and the key K_t of the position.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        widths = (4 * ATTENTION_DIM, *DIN_WIDTHS)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, DIN_WIDTHS):
            layers += [nn.Linear(inputs, outputs), Dice(outputs), nn.Dropout(dropout)]
        self.mlp = nn.Sequential(*layers, nn.Linear(DIN_WIDTHS[-1], 1))
        self.query = nn.Identity()

    def forward(self, query_NA: Tensor, key_NA: Tensor) -> Tensor:
        vectors = [query_NA, key_NA, query_NA - key_NA, query_NA * key_NA]
        pair_NX = torch.cat(vectors, dim=-1).flatten(0, -2)
        return self.mlp(pair_NX).view(key_NA.shape[:-1])


class Dice(nn.Module):
    """DIN's activation p x + alpha (1 - p) x, p = sigmoid(batch norm of x) (Zhou et al., eq. 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False, eps=1e-9, momentum=0.01)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x_NA: Tensor) -> Tensor:
        """Activations [positions, width]."""
        norm = self.norm
        if len(x_NA) > 1:
            normed_NA = norm(x_NA)
        else:  # a single position has no variance
            normed_NA = F.batch_norm(x_NA, norm.running_mean, norm.running_var, eps=norm.eps)
        share_NA = torch.sigmoid(normed_NA)
        return (share_NA + self.alpha * (1 - share_NA)) * x_NA


POOLINGS: dict[str, type[MeanPooling | WeightedSumPooling]] = {
    "mean": MeanPooling,
    "target": TargetPooling,
    "weighted_sum": WeightedSumPooling,
    "din": WeightedSumPooling,
}
