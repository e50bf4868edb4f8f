"""Dropout with a fast CPU path: nn.Dropout's random numbers cost as much as the attention."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....batches.batch import Batch
from ....features.feature_map import OUT_OF_VOCABULARY, PADDING

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


class UnknownDraws(nn.Module):
    """In training, takes a share of the row's categories as out of vocabulary.

    `shares`: one for all columns, or one for each profile, target and context column in turn.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.shares: Tensor
        self.register_buffer("shares", torch.tensor(float(share)), persistent=False)
        self.is_needed = share > 0

    def take(self, shares: Sequence[float]) -> None:
        """Draw by these shares [P + G + C]."""
        self.shares = torch.tensor(shares, dtype=torch.float32, device=self.shares.device)
        self.is_needed = any(shares)

    def forward(self, batch: Batch) -> Batch:
        if not self.training or not self.is_needed:
            return batch
        categories = [batch.profile_BP, batch.target_BG, batch.context_BC]
        index = torch.cat(categories, dim=1)
        is_drawn = torch.rand(index.shape, device=index.device) < self.shares
        drawn = index.masked_fill(is_drawn & (index > PADDING), OUT_OF_VOCABULARY)
        profile, target, context = drawn.split([tensor.shape[1] for tensor in categories], dim=1)
        return replace(batch, profile_BP=profile, target_BG=target, context_BC=context)


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
