"""Interacting layers: feature interaction among the fields of one position (FESEQ section 2).

Every layer maps `fields_FD` of shape [..., F, d] to the same shape and is shared by all positions.
"""

import math

import torch
from torch import Tensor, nn


class AutoInt(nn.Module):
    """Self-attention over the F fields of a position, one head (paper, eq. 1-3).

    E <- ReLU(softmax(Q K^T / sqrt(d)) V + E), with Q, K, V linear maps of E of size d x d.
    """

    def __init__(self, fields: int, embedding_dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(embedding_dim, embedding_dim, bias=False)
        self.key = nn.Linear(embedding_dim, embedding_dim, bias=False)
        self.value = nn.Linear(embedding_dim, embedding_dim, bias=False)
        self.scale = 1 / math.sqrt(embedding_dim)

    def forward(self, fields_FD: Tensor) -> Tensor:
        score_FF = self.query(fields_FD) @ self.key(fields_FD).transpose(-1, -2) * self.scale
        return torch.relu(score_FF.softmax(-1) @ self.value(fields_FD) + fields_FD)


class AutoIntStack(nn.Sequential):
    """`layers` AutoInt layers one after the other."""

    def __init__(self, layers: int, fields: int, embedding_dim: int) -> None:
        super().__init__(*(AutoInt(fields, embedding_dim) for _ in range(layers)))


class CrossNetV2(nn.Module):
    """Cross network of DCN-v2 on the flattened F*d vector: x <- x0 * (W x + b) + x."""

    def __init__(self, layers: int, fields: int, embedding_dim: int) -> None:
        super().__init__()
        width = fields * embedding_dim
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, fields_FD: Tensor) -> Tensor:
        x0 = x = fields_FD.flatten(-2)
        for layer in self.layers:
            x = torch.addcmul(x, x0, layer(x))
        return x.view_as(fields_FD)


INTERACTIONS: dict[str, type[nn.Module]] = {"autoint": AutoIntStack, "crossnetv2": CrossNetV2}
