"""From positions to rows and back, with gradients in a fixed order on every device.

N positions of B rows, one row after the other; X any width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..dataset.layout import Layout


def row_sums(x_NX: Tensor, layout: Layout) -> Tensor:
    """The sum [B, X] over each row's positions."""
    return _RowSums.apply(x_NX, layout.start_B, layout.row_N)


def at_positions(x_BX: Tensor, layout: Layout) -> Tensor:
    """Each row's vector at all of its positions [N, X]."""
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
