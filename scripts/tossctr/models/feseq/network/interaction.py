"""Interacting layers: feature interaction among the fields of one position (FESEQ section 2).

Each layer maps `fields_FD` of shape [..., F, d] to the same shape and is shared by all positions.
`AutoInt` takes the F fields as a set of vectors, `CrossV2` the flattened vector of width F * d.
"""

import math

import torch
from torch import Tensor, nn


class AutoInt(nn.Module):
    """Self-attention over the F fields of a position, one head (paper, eq. 1-3).

    E <- ReLU(softmax(Q K^T / sqrt(d)) V + E), with Q, K, V linear maps of E of size d x d.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            nn.Linear(embedding_dim, embedding_dim, bias=False) for _ in range(3)
        )
        self.scale = 1 / math.sqrt(embedding_dim)

    def forward(self, fields_FD: Tensor) -> Tensor:
        score_FF = self.query(fields_FD) @ self.key(fields_FD).transpose(-1, -2) * self.scale
        return torch.relu(score_FF.softmax(-1) @ self.value(fields_FD) + fields_FD)


class CrossV2(nn.Linear):
    """Cross network of DCN-v2: x <- x0 * (W x + b) + x (Wang et al., WWW 2021, eq. 1)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:  # type: ignore[override]
        return torch.addcmul(x, x0, super().forward(x))


class Interaction(nn.Module):
    """`layers` interacting layers of one class, one after the other.

    The output has the type of the fields, even where autocast rounds the products, because the
    refiner adds to it layer by layer.
    """

    def __init__(self, name: str, layers: int, fields: int, embedding_dim: int) -> None:
        super().__init__()
        self.on_fields = name == "autoint"
        layer_class = AutoInt if self.on_fields else CrossV2
        width = embedding_dim if self.on_fields else fields * embedding_dim
        self.layers = nn.ModuleList(layer_class(width) for _ in range(layers))

    def forward(self, fields_FD: Tensor) -> Tensor:
        if self.on_fields:
            for layer in self.layers:
                fields_FD = layer(fields_FD).to(fields_FD.dtype)
            return fields_FD
        x0 = x = fields_FD.flatten(-2)
        for layer in self.layers:
            x = layer(x0, x)
        return x.view_as(fields_FD).to(fields_FD.dtype)
