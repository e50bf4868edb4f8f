"""Interacting layers: feature interaction among the fields of one position (FESEQ section 2).

Each layer maps `fields_FD` of shape [..., F, d] to the same shape and is shared by all positions.
Two look at the F fields as a set of vectors, the others at the flattened vector of width F * d.
"""

import math

import torch
from torch import Tensor, nn

# Sizes of the mixture of cross networks, as in the published code.
EXPERTS, LOW_RANK = 4, 32


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


class Destine(nn.Module):
    """Disentangled self-attention over the F fields, one head (Xu et al., CIKM 2021).

    E <- (softmax((Q - mean Q)(K - mean K)^T / sqrt(d)) + softmax(u^T E)) V + W E + b. The first
    softmax weighs pairs of fields, the second single fields.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            nn.Linear(embedding_dim, embedding_dim, bias=False) for _ in range(3)
        )
        self.unary = nn.Linear(embedding_dim, 1, bias=False)
        self.residual = nn.Linear(embedding_dim, embedding_dim)
        self.scale = 1 / math.sqrt(embedding_dim)

    def forward(self, fields_FD: Tensor) -> Tensor:
        query_FD, key_FD = self.query(fields_FD), self.key(fields_FD)
        query_FD = query_FD - query_FD.mean(-2, keepdim=True)
        key_FD = key_FD - key_FD.mean(-2, keepdim=True)
        pair_FF = (query_FD @ key_FD.transpose(-1, -2) * self.scale).softmax(-1)
        unary_1F = self.unary(fields_FD).softmax(-2).transpose(-1, -2)
        return (pair_FF + unary_1F) @ self.value(fields_FD) + self.residual(fields_FD)


class Cross(nn.Module):
    """Cross network of DCN: x <- x0 (w^T x) + b + x (Wang et al., ADKDD 2017)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Linear(width, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias + x, x0, self.weight(x))


class CrossV2(nn.Linear):
    """Cross network of DCN-v2: x <- x0 * (W x + b) + x (Wang et al., WWW 2021, eq. 1)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:  # type: ignore[override]
        return torch.addcmul(x, x0, super().forward(x))


class CrossMix(nn.Module):
    """Mixture of low-rank cross networks (Wang et al., WWW 2021, eq. 4).

    x <- x0 * sum_e softmax(g^T x)_e (U_e tanh(C_e tanh(V_e^T x)) + b) + x.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, EXPERTS, bias=False)
        self.down = nn.Linear(width, EXPERTS * LOW_RANK, bias=False)
        self.core = nn.Parameter(torch.empty(EXPERTS, LOW_RANK, LOW_RANK))
        self.up = nn.Linear(EXPERTS * LOW_RANK, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))
        for core_RR in self.core:
            nn.init.xavier_normal_(core_RR)

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:
        share_E = self.gate(x).softmax(-1)
        low_ER = self.down(x).tanh().unflatten(-1, (EXPERTS, LOW_RANK))
        low_ER = torch.einsum("eqr,...er->...eq", self.core, low_ER).tanh()
        # Shares add up to one, so the bias stands outside, and weighting may come before U.
        mixed = self.up((low_ER * share_E[..., None]).flatten(-2)) + self.bias
        return torch.addcmul(x, x0, mixed)


class Final(nn.Linear):
    """Factorised interaction: x <- ReLU(h2 + h1 * h2), [h2, h1] = W x + b (Zhu et al., SIGIR 2023).

    Unlike a cross network, it sees only the layer before, not x0.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, 2 * width)

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:  # type: ignore[override]
        h2, h1 = super().forward(x).chunk(2, dim=-1)
        return torch.relu(torch.addcmul(h2, h1, h2))


_ON_FIELDS: dict[str, type[nn.Module]] = {"autoint": AutoInt, "destine": Destine}
_ON_VECTOR: dict[str, type[nn.Module]] = {
    "crossnet": Cross,
    "crossnetv2": CrossV2,
    "crossnet_mix": CrossMix,
    "final": Final,
}


class Interaction(nn.Module):
    """`layers` interacting layers of one class, one after the other.

    The output has the type of the fields, even where autocast rounds the products, because the
    refiner adds to it layer by layer.
    """

    def __init__(self, name: str, layers: int, fields: int, embedding_dim: int) -> None:
        super().__init__()
        self.on_fields = name in _ON_FIELDS
        layer_class = _ON_FIELDS[name] if self.on_fields else _ON_VECTOR[name]
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
