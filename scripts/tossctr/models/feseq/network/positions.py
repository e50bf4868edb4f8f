"""The positions of rows: each row's newest events, oldest first, then its target.

FESeq reads rows in one of two forms, which give the same logits:

    PackedRows  no padding, each distinct event of a row once; for training and prediction
    PaddedRows  left-padded rows; for the exported graph, and as a reference in tests

B rows, T events of all rows, N positions of all rows, U distinct positions, V distinct events, S
sequence fields, H heads, E width of a head, C columns of a target or a profile, X any width. In
the padded form, N and U are two axes B, L, and V is two axes B, L - 1. L is the number of positions
of the longest row, at most max_len + 1. W is the number of events of the longest whole history.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....batches.batch import Batch

# Maximum rows of an attention call on a GPU, where rows are a dimension of a CUDA grid.
MAX_ROWS = 65_535
# Flash attention takes head widths that are multiples of 8, up to 256.
_MULTIPLE_OF_HEAD, _WIDEST_HEAD = 8, 256
# Subtracted from the scores of padding, whose softmax is then 0 in float32.
_HIDDEN = 1e5


class PackedRows:
    """The rows of a batch without padding, as positions: a row's newest events, then its target.

    Equal events of a row are computed once. A distinct position is a distinct event or a target.
    Gradients are summed in a fixed order.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch, self.layout = batch, batch.layout
        # The distance to the target: 0 for the target, 1 for the newest event.
        self.age_N = batch.layout.age_N
        self.events_B = batch.offsets.diff()

    @property
    def distinct_SV(self) -> Tensor:
        """Vocabulary indices of each row's distinct events [sequence fields, distinct events]."""
        return self.batch.history_ST.index_select(1, self.layout.event_V)

    @property
    def elapsed_N(self) -> Tensor:
        """The time from the event of each position to its row [positions]; 0 for a target."""
        assert self.batch.elapsed_T is not None, "a model with times needs a table with times"
        event_N = self.batch.offsets[1:].index_select(0, self.layout.row_N) - self.age_N
        elapsed_N = F.pad(self.batch.elapsed_T, (0, 1)).index_select(0, event_N)
        return elapsed_N.masked_fill(self.age_N == 0, 0)

    def rows_to_distinct(self, x_BCX: Tensor) -> Tensor:
        """The vectors of each distinct event's row: [distinct events, columns, width]."""
        # Unlike indexing, an embedding sums its gradient in a fixed order on all threads.
        return F.embedding(self.layout.row_V, x_BCX.flatten(1)).unflatten(1, x_BCX.shape[1:])

    def concat(self, event_VCX: Tensor, target_BCX: Tensor) -> Tensor:
        """Join vectors of distinct events and of targets: [distinct positions, columns, width]."""
        return torch.cat([event_VCX, target_BCX])

    def distinct_to_positions(self, x_UX: Tensor) -> Tensor:
        """The vectors of all positions, given those of distinct events and targets."""
        return F.embedding(self.layout.slot_N, x_UX)

    def attend(self, qkv_N3HE: Tensor, causal: bool) -> Tensor:
        """Multi-head attention among the positions of each row: [positions, heads, head width].

        `qkv_N3HE` has queries, keys and values. If `causal`, a position attends only to itself and
        to older positions.
        """
        attend = self.flash_attention if can_use_flash(qkv_N3HE) else self.attend_by_length
        return attend(qkv_N3HE, causal)

    def attend_from_targets(self, query_BHD: Tensor, x_ND: Tensor) -> Tensor:
        """For each row and head, the mean of the row's vectors x, weighted by softmax(query . x).

        The result is [rows, heads, width].
        """
        queries = query_BHD.split([rows for rows, _ in self.layout.runs])
        return torch.cat(
            [
                (query @ x_BLD.transpose(1, 2)).softmax(2) @ x_BLD
                for query, x_BLD in zip(queries, self._by_length(x_ND))
            ]
        )

    def flash_attention(self, qkv_N3HE: Tensor, causal: bool) -> Tensor:
        """The result of `attend`, by one call of flash attention for all rows."""
        # Here, since the import takes a second.
        from torch.nn.attention import varlen

        width, start_B = qkv_N3HE.shape[-1], self.layout.start_B
        longest = max((length for _, length in self.layout.runs), default=0)
        # Padding with zeros changes no product; the scale is for the width without zeros.
        query, key, value = F.pad(qkv_N3HE, (0, -width % _MULTIPLE_OF_HEAD)).unbind(1)
        attended_NHE = varlen.varlen_attn(
            query,
            key,
            value,
            cu_seq_q=start_B,
            cu_seq_k=start_B,
            max_q=longest,
            max_k=longest,
            scale=1 / math.sqrt(width),
            window_size=(-1, 0) if causal else (-1, -1),
        )
        assert isinstance(attended_NHE, Tensor)
        return attended_NHE[..., :width]

    def attend_by_length(self, qkv_N3HE: Tensor, causal: bool) -> Tensor:
        """The result of `attend`, with one call per group of adjacent rows of the same length."""
        attended = []
        for qkv_BL3HE in self._by_length(qkv_N3HE):
            # Unbinding before transposing saves a copy of the gradients.
            query, key, value = (x.transpose(1, 2) for x in qkv_BL3HE.unbind(2))
            attended_BHLE = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
            attended.append(attended_BHLE.transpose(1, 2).flatten(0, 1))
        return torch.cat(attended)

    def _by_length(self, x_NX: Tensor) -> list[Tensor]:
        """The vectors of each run of rows of the same length [rows, positions, ...]."""
        runs = self.layout.runs
        parts = x_NX.split([rows * length for rows, length in runs])
        return [part.unflatten(0, run) for part, run in zip(parts, runs)]

    def targets(self, x_NX: Tensor) -> Tensor:
        """The vector of each row's target [rows, width], given those of all positions."""
        return F.embedding(self.layout.start_B[1:] - 1, x_NX)

    def sums(self, x_NX: Tensor) -> Tensor:
        """The sum over each row's positions [rows, width]."""
        return _SumOrRepeat.apply(x_NX, self.layout.start_B, self.layout.row_N, True)

    def means(self, x_NX: Tensor) -> Tensor:
        """The mean over each row's positions [rows, width]."""
        return self.sums(x_NX) / self.layout.start_B.diff()[:, None]

    def rows_to_positions(self, x_BX: Tensor) -> Tensor:
        """Each row's vector, repeated for each position of the row: [positions, width]."""
        return _SumOrRepeat.apply(x_BX, self.layout.start_B, self.layout.row_N, False)

    def softmax(self, score_N: Tensor) -> Tensor:
        """The softmax of the scores of each row's positions [positions]."""
        score_N1 = score_N[:, None]
        with torch.no_grad():
            largest_B1 = _reduce_rows(score_N1, self.layout.start_B, "max")
            largest_N1 = F.embedding(self.layout.row_N, largest_B1)
        weight_N1 = (score_N1 - largest_N1).exp()
        return (weight_N1 / self.rows_to_positions(self.sums(weight_N1))).squeeze(1)

    def event_sum(self, sequence: int, table: nn.Module) -> Tensor:
        """The sum of the embeddings of each row's whole history [rows, width]."""
        return F.embedding_bag(
            self.batch.history_ST[sequence],
            table.get_parameter("weight"),
            self.batch.offsets,
            mode="sum",
            include_last_offset=True,
        )


@dataclass
class PaddedRows:
    """The rows of a batch, left-padded, as an exported model takes them.

    The events of a row are in its last columns; earlier columns are ignored. The methods are
    those of PackedRows.

    history_SBH: indices of each row's max_len newest events [sequence fields, rows, events]
    length_B: number of these events
    elapsed_BH: time from each of these events to its row
    whole_SBW, whole_length_B: indices and number of all events of each row
    """

    numbers: Mapping[str, Tensor]
    profile_BP: Tensor
    target_BG: Tensor
    history_SBH: Tensor
    length_B: Tensor
    elapsed_BH: Tensor
    whole_SBW: Tensor
    whole_length_B: Tensor
    context_BC: Tensor

    def __post_init__(self) -> None:
        events, device = self.history_SBH.shape[2], self.length_B.device
        self.distinct_SV, self.events_B = self.history_SBH, self.whole_length_B
        age_L = events - torch.arange(events + 1, device=device)
        self.age_N = age_L.expand(self.length_B.shape[0], -1)
        is_event_BH = _is_newest(self.length_B, events)
        self.elapsed_N = F.pad(self.elapsed_BH.where(is_event_BH, 0), (0, 1))
        self.is_position_BL = F.pad(is_event_BH, (0, 1), value=True)

    @classmethod
    def from_batch(cls, batch: Batch, longest: int = 1, filled: int = 0) -> "PaddedRows":
        """The rows of a batch, padded on the left with `filled` to at least `longest` events."""
        length_B, max_len = batch.offsets.diff(), batch.layout.max_len
        events = max(longest, int(length_B.max()))
        is_event_BW = _is_newest(length_B, events)

        def padded(packed: Tensor) -> Tensor:
            rows = packed.new_full((*packed.shape[:-1], len(batch), events), filled)
            rows[..., is_event_BW] = packed
            return rows

        elapsed_T = batch.history_ST[0] if batch.elapsed_T is None else batch.elapsed_T
        whole_SBW = padded(batch.history_ST)
        return cls(
            batch.numbers,
            batch.profile_BP,
            batch.target_BG,
            whole_SBW[..., -max_len:],
            length_B.clamp(max=max_len),
            padded(elapsed_T)[..., -max_len:],
            whole_SBW,
            length_B,
            batch.context_BC,
        )

    def rows_to_distinct(self, x_BCX: Tensor) -> Tensor:
        return x_BCX[:, None].expand(-1, self.history_SBH.shape[2], -1, -1)

    def concat(self, event_VCX: Tensor, target_BCX: Tensor) -> Tensor:
        return torch.cat([event_VCX, target_BCX[:, None]], dim=1)

    def distinct_to_positions(self, x_UX: Tensor) -> Tensor:
        return x_UX

    def attend(self, qkv_N3HE: Tensor, causal: bool) -> Tensor:
        """As in PackedRows; an extra dimension of the keys gives padding a very low score."""
        query, key, value = (x.transpose(1, 2) for x in qkv_N3HE.unbind(2))
        bias = (self.is_position_BL.to(query.dtype) - 1) * _HIDDEN
        bias = bias[:, None, :, None].expand(-1, query.shape[1], -1, -1)
        query = torch.cat([query * query.shape[3] ** -0.5, torch.ones_like(bias)], dim=3)
        score_BHLL = query @ torch.cat([key, bias], dim=3).transpose(2, 3)
        if causal:
            score_BHLL = score_BHLL.masked_fill(self.age_N[0, :, None] > self.age_N[0], -torch.inf)
        return (score_BHLL.softmax(3) @ value).transpose(1, 2)

    def attend_from_targets(self, query_BHD: Tensor, x_ND: Tensor) -> Tensor:
        score_BHL = query_BHD @ x_ND.transpose(1, 2)
        score_BHL = score_BHL.masked_fill(~self.is_position_BL[:, None], -torch.inf)
        return score_BHL.softmax(2) @ x_ND

    def targets(self, x_NX: Tensor) -> Tensor:
        return x_NX[:, -1]

    def sums(self, x_NX: Tensor) -> Tensor:
        return (self.is_position_BL.to(x_NX.dtype)[:, None] @ x_NX).squeeze(1)

    def means(self, x_NX: Tensor) -> Tensor:
        return self.sums(x_NX) / self.is_position_BL.sum(1, keepdim=True)

    def rows_to_positions(self, x_BX: Tensor) -> Tensor:
        return x_BX[:, None].expand(-1, self.is_position_BL.shape[1], -1)

    def softmax(self, score_N: Tensor) -> Tensor:
        return score_N.masked_fill(~self.is_position_BL, -torch.inf).softmax(1)

    def event_sum(self, sequence: int, table: nn.Module) -> Tensor:
        event_BWX = table(self.whole_SBW[sequence])
        weight_BW = _is_newest(self.whole_length_B, event_BWX.shape[1]).to(event_BWX.dtype)
        return (weight_BW[:, None] @ event_BWX).squeeze(1)


BatchRows = PackedRows | PaddedRows


def can_use_flash(qkv_N3HE: Tensor) -> bool:
    """True if flash attention works for these queries, keys and values.

    It needs half precision, a GPU with compute capability 8.0 or newer, and heads up to 256 wide.
    """
    return (
        qkv_N3HE.is_cuda
        and qkv_N3HE.dtype in (torch.float16, torch.bfloat16)
        and qkv_N3HE.shape[-1] <= _WIDEST_HEAD
        and torch.cuda.get_device_capability(qkv_N3HE.device) >= (8, 0)
    )


def _is_newest(length_B: Tensor, events: int) -> Tensor:
    """True in the last `length_B` columns of each row, bool [B, events]."""
    return torch.arange(events, device=length_B.device) >= events - length_B[:, None]


def _reduce_rows(x_NX: Tensor, start_B: Tensor, mode: str) -> Tensor:
    position_N = torch.arange(len(x_NX), dtype=start_B.dtype, device=x_NX.device)
    return F.embedding_bag(position_N, x_NX, start_B, mode=mode, include_last_offset=True)


class _SumOrRepeat(torch.autograd.Function):
    """The sum over each row's positions or, as its gradient, a row's vector at each position."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, start_B: Tensor, row_N: Tensor, is_sum: bool) -> Tensor:
        ctx.save_for_backward(start_B, row_N)
        ctx.is_sum = is_sum
        return _reduce_rows(x, start_B, "sum") if is_sum else F.embedding(row_N, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        gradient = gradients[0].contiguous()
        return _SumOrRepeat.apply(gradient, *ctx.saved_tensors, not ctx.is_sum), None, None, None
