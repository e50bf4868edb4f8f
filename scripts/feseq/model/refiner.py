"""Sequence refiner: Transformer layers over the positions of a history (FESEQ section 3).

B batch, L positions (history and target), D width, H heads.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import SelfAttention
from .dropout import Dropout


class TransformerLayer(nn.Module):
    """Post-norm: S = Norm(x + Drop(MH(x))), out = Norm(S + Drop(W2 LeakyReLU(W1 S)))."""

    def __init__(
        self, width: int, heads: int, causal: bool, layer_norm: bool, dropout: float
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, causal)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width)
        )
        self.dropout = Dropout(dropout)
        self.norm_1 = nn.LayerNorm(width) if layer_norm else nn.Identity()
        self.norm_2 = nn.LayerNorm(width) if layer_norm else nn.Identity()

    def forward(self, x_BLD: Tensor, mask: Tensor | None) -> Tensor:
        x_BLD = self.norm_1(x_BLD + self.dropout(self.attention(x_BLD, mask)))
        return self.norm_2(x_BLD + self.dropout(self.feed_forward(x_BLD)))


class SequenceRefiner(nn.Module):
    """T Transformer layers that share one attention mask.

    Padding is hidden as key. A padded position may still ask: it sees the target, which is never
    padding, so every softmax is finite; nothing reads its answer.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        causal: bool,
        layer_norm: bool,
        dropout: float,
        recompute: bool,
    ) -> None:
        super().__init__()
        self.causal = causal
        # Keep only each layer's input, and compute the rest again in the backward pass.
        self.recompute = recompute
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, causal, layer_norm, dropout) for _ in range(layers)
        )

    def forward(self, x_BLD: Tensor, is_pad_BL: Tensor | None) -> Tensor:
        mask = None if is_pad_BL is None else self._mask(is_pad_BL)
        for layer in self.layers:
            if self.recompute and torch.is_grad_enabled():
                x_BLD = checkpoint(layer, x_BLD, mask, use_reentrant=False)
            else:
                x_BLD = layer(x_BLD, mask)
        return x_BLD

    def _mask(self, is_pad_BL: Tensor) -> Tensor:
        """True where a query may see a key: [B, 1, 1, L], or [B, 1, L, L] when causal."""
        mask = ~is_pad_BL[:, None, None, :]
        if self.causal:
            length = is_pad_BL.shape[1]
            earlier_LL = is_pad_BL.new_ones(length, length).tril()
            itself_LL = is_pad_BL.new_ones(length).diag()
            mask = (mask & earlier_LL) | itself_LL
        return mask
