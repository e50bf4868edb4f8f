"""Transformer layers over the positions of a row: its events, then its target.

B rows, N positions of all rows, D width, H heads, E width of a head; see `positions.py`.
"""

import math

import torch
from torch import Tensor, nn

from ..network_settings import ModelConfig
from .positions import BatchRows


class SelfAttention(nn.Module):
    """Multi-head self-attention over the positions of each row."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.attend = attend

    def forward(self, x_ND: Tensor, rows: BatchRows) -> Tensor:
        qkv_N3HE = self.project_in(x_ND).unflatten(-1, (3, self.heads, -1))
        return self.project_out(self.attend(qkv_N3HE, rows, self.causal).flatten(-2))

    def forward_targets(self, x_ND: Tensor, rows: BatchRows) -> Tensor:
        """The output of `forward` at the target of each row [rows, width], in less time.

        No keys and values are computed. Instead, the query is multiplied by the key projection's
        matrix (its bias does not change the softmax). The mean of the row's positions, weighted by
        attention, is multiplied by the value projection's matrix.
        """
        query_HED, key_HED, value_HED = self.project_in.weight.unflatten(0, (3, self.heads, -1))
        query_bias_HE, _, value_bias_HE = self.project_in.bias.unflatten(0, (3, self.heads, -1))
        target_BD = rows.targets(x_ND)
        query_BHE = torch.einsum("bd,hed->bhe", target_BD, query_HED) + query_bias_HE
        query_BHD = torch.einsum("bhe,hed->bhd", query_BHE, key_HED) / math.sqrt(key_HED.shape[1])
        mean_BHD = rows.attend_from_targets(query_BHD, x_ND)
        value_BHE = torch.einsum("bhd,hed->bhe", mean_BHD, value_HED) + value_bias_HE
        return self.project_out(value_BHE.flatten(1))


def attend(qkv_N3HE: Tensor, rows: BatchRows, causal: bool) -> Tensor:
    """`rows.attend`, as a function that torch.compile can leave out."""
    return rows.attend(qkv_N3HE, causal)


class TransformerLayer(nn.Module):
    """A post-norm layer, with multi-head attention MH and dropout.

    S = Norm(x + Drop(MH(x))), out = Norm(S + Drop(W2 LeakyReLU(W1 S))).
    """

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, config.heads, config.causal)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.norm_1 = nn.LayerNorm(width) if config.layer_norm else nn.Identity()
        self.norm_2 = nn.LayerNorm(width) if config.layer_norm else nn.Identity()

    def forward(self, x_ND: Tensor, rows: BatchRows, only_targets: bool = False) -> Tensor:
        """The new vectors of all positions or, if `only_targets`, of each row's target."""
        if only_targets:
            x_XD, attended_XD = rows.targets(x_ND), self.attention.forward_targets(x_ND, rows)
        else:
            x_XD, attended_XD = x_ND, self.attention(x_ND, rows)
        x_XD = self.norm_1(x_XD + self.dropout(attended_XD))
        return self.norm_2(x_XD + self.dropout(self.feed_forward(x_XD)))


class SequenceRefiner(nn.Module):
    """A stack of Transformer layers; if `only_targets`, the last computes only targets' vectors."""

    def __init__(self, config: ModelConfig, width: int, only_targets: bool) -> None:
        super().__init__()
        layers = (TransformerLayer(config, width) for _ in range(config.transformer_layers))
        self.layers = nn.ModuleList(layers)
        self.only_targets = only_targets

    def forward(self, x_ND: Tensor, rows: BatchRows) -> Tensor:
        """Vectors of all positions [positions, width], or of targets only [rows, width]."""
        for i, layer in enumerate(self.layers, 1):
            x_ND = layer(x_ND, rows, self.only_targets and i == len(self.layers))
        return rows.targets(x_ND) if self.only_targets and not self.layers else x_ND
