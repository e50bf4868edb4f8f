"""Multi-head self-attention over the positions of a history (FESEQ section 3).

B batch, L positions (history and target), D width, H heads, E width of a head.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention that never builds a [B*H, L, L] mask or probability tensor."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, width = x_BLD.shape
        qkv = self.project_in(x_BLD).view(batch, length, 3, self.heads, width // self.heads)
        query_BHLE, key_BHLE, value_BHLE = (part.transpose(1, 2) for part in qkv.unbind(2))
        attended_BHLE = F.scaled_dot_product_attention(
            query_BHLE,
            key_BHLE,
            value_BHLE,
            attn_mask=mask,
            # With a mask given, causality is part of it.
            is_causal=self.causal and mask is None,
        )
        return self.project_out(attended_BHLE.transpose(1, 2).reshape(batch, length, width))
