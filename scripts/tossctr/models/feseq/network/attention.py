"""Multi-head self-attention over the positions of each row (FESEQ section 3).

N positions of all rows, D width, H heads, E width of a head. In training, rows lie one after the
other, so no mask is ever needed:

    packed      one call of flash attention for rows of any length, on a CUDA device of compute
                capability 8.0 or newer in half precision, with PyTorch 2.11 or newer
    by length   a call of scaled_dot_product_attention for each run of rows of one length; batches
                have rows of similar length

`SelfAttention.padded` is the same function of B rows left-padded to L positions.
"""

import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....batches.layout import Layout

# What flash attention takes.
MULTIPLE_OF_HEAD, WIDEST_HEAD = 8, 256
# The most rows of a call on a GPU, where they are a dimension of a CUDA grid.
MOST_ROWS = 65_535
# Subtracted from the scores of padding, so that its softmax is 0 in float32.
_HIDDEN = 1e5


class SelfAttention(nn.Module):
    """Multi-head self-attention that never builds a mask or a probability tensor."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.attend = attend

    def forward(self, x_ND: Tensor, layout: Layout) -> Tensor:
        qkv_N3HE = self.project_in(x_ND).unflatten(1, (3, self.heads, -1))
        return self.project_out(self.attend(qkv_N3HE, layout, self.causal).flatten(1))

    def padded(self, x_BLD: Tensor, is_position_BL: Tensor) -> Tensor:
        """[B, L, D]; padding is hidden as key.

        The bias of a key is one more column of it, and each query has 1 there, so that the bias
        costs no pass over the scores.
        """
        qkv = self.project_in(x_BLD).unflatten(2, (3, self.heads, -1))
        query, key, value = (x.transpose(1, 2) for x in qkv.unbind(2))
        bias = (is_position_BL.to(x_BLD.dtype) - 1) * _HIDDEN
        bias = bias[:, None, :, None].expand(-1, self.heads, -1, -1)
        query = torch.cat([query * query.shape[3] ** -0.5, torch.ones_like(bias)], dim=3)
        score_BHLL = query @ torch.cat([key, bias], dim=3).transpose(2, 3)
        if self.causal:
            place_L = torch.arange(x_BLD.shape[1], device=x_BLD.device)
            score_BHLL = score_BHLL.masked_fill(place_L[:, None] < place_L, -torch.inf)
        return self.project_out((score_BHLL.softmax(3) @ value).transpose(1, 2).flatten(2))


def attend(qkv_N3HE: Tensor, layout: Layout, causal: bool) -> Tensor:
    """Each position's mean of its row's values [N, H, E]."""
    attend_rows = packed if takes_packed(qkv_N3HE) else by_length
    return attend_rows(qkv_N3HE, layout, causal)


def takes_packed(qkv_N3HE: Tensor) -> bool:
    """True if flash attention on packed rows can run."""
    return (
        qkv_N3HE.is_cuda
        and qkv_N3HE.dtype in (torch.float16, torch.bfloat16)
        and qkv_N3HE.shape[-1] <= WIDEST_HEAD
        and torch.cuda.get_device_capability(qkv_N3HE.device) >= (8, 0)
        and flash_attention() is not None
    )


@cache
def flash_attention() -> Callable[..., Any] | None:
    """PyTorch's flash attention on packed rows, or None if it is missing.

    It is imported late: it imports the compiler, which takes a second.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    # PyTorch 2.10 had another signature.
    has_all = {"scale", "window_size"} <= set(inspect.signature(varlen_attn).parameters)
    return varlen_attn if has_all else None


def packed(qkv_N3HE: Tensor, layout: Layout, causal: bool) -> Tensor:
    """[N, H, E] of all rows at once."""
    width = qkv_N3HE.shape[-1]
    # Zeros add nothing to a product; the scale is that of the width without them.
    query, key, value = F.pad(qkv_N3HE, (0, -width % MULTIPLE_OF_HEAD)).unbind(1)
    attend_packed = flash_attention()
    assert attend_packed is not None, "takes_packed says so"
    attended_NHE: Tensor = attend_packed(
        query,
        key,
        value,
        layout.start_B,
        layout.start_B,
        layout.longest,
        layout.longest,
        scale=1 / math.sqrt(width),
        window_size=(-1, 0) if causal else (-1, -1),
    )
    return attended_NHE[..., :width]


def by_length(qkv_N3HE: Tensor, layout: Layout, causal: bool) -> Tensor:
    """[N, H, E], the rows of each length together."""
    attended = []
    runs = qkv_N3HE.split([rows * length for rows, length in layout.runs])
    for run_N3HE, shape in zip(runs, layout.runs):
        # Unbound before they are transposed: their gradients need one copy less.
        query, key, value = (x.transpose(1, 2) for x in run_N3HE.unflatten(0, shape).unbind(2))
        attended_BHLE = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        attended.append(attended_BHLE.transpose(1, 2).flatten(0, 1))
    return attended[0] if len(attended) == 1 else torch.cat(attended)
