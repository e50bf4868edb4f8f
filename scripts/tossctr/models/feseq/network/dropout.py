"""Dropout with a fast CPU path: nn.Dropout's random numbers cost as much as the attention."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_VALUES = 1 << 16


class Dropout(nn.Dropout):
    """Like nn.Dropout. On a CPU, 16 random bits decide for each element; 64 bits serve four.

    The probability is rounded to 1 / 65,536; the scale belongs to the rounded one.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return F.dropout(x, self.p, self.training)
        # At least one value keeps an element.
        return _MaskedScale.apply(x, min(round(self.p * _VALUES), _VALUES - 1))


class _MaskedScale(torch.autograd.Function):
    """x * mask / P(mask)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        # Random 64 bits; `dropped` of the 65,536 values of each quarter drop an element.
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        values = words.view(torch.int16)[: x.numel()].view(x.shape)
        # Compared into the type of x: a bool mask would be converted, which takes longer.
        scale = torch.ge(values, dropped - _VALUES // 2, out=torch.empty_like(x))
        scale.mul_(_VALUES / (_VALUES - dropped))
        ctx.save_for_backward(scale)
        return x * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (scale,) = ctx.saved_tensors
        return gradients[0] * scale, None
