"""Packed histories to positions of padded rows (FESEQ sections 1 and 3)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.model import ModelConfig
from ..dataset.batches import Batch
from .dropout import VectorDropout
from .sizes import FieldSizes


@dataclass(frozen=True)
class Layout:
    """Where positions stand: histories padded in front, each followed by its target.

    The newest event and the target stand in the same columns in every row:

        offsets [0, 2, 2, 3], events [a, b, c]      a  b  t0
                                                    .  .  t1    (an empty history)
                                                    .  c  t2

    `place_BL` says which of U distinct positions stands there, any at padding; `is_pad_BL` is True
    at padding, or None where there is none; `is_event_BH` [B, L-1] is True at events.
    """

    place_BL: Tensor
    is_pad_BL: Tensor | None
    is_event_BH: Tensor

    def spread(self, x_UD: Tensor) -> Tensor:
        """Each position's vector [B, L, D]."""
        return F.embedding(self.place_BL, x_UD)


class HistoryEmbedding(nn.Module):
    """Fields of every distinct position: an event, or the target, with the row's profile.

    The interacting layers see only a position's codes and its row's profile, and rows repeat their
    codes many times, so each distinct position is computed once.
    """

    def __init__(self, sizes: FieldSizes, embedding_dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = VectorDropout(dropout)
        self.target = nn.ModuleList(nn.Embedding(size, embedding_dim) for size in sizes.target)
        self.sequence = nn.ModuleList(
            target if is_shared else nn.Embedding(size, embedding_dim, padding_idx=0)
            for size, target, is_shared in zip(sizes.sequence, self.target, sizes.shared)
        )

    def forward(self, batch: Batch, profile_BPd: Tensor) -> tuple[Tensor, Layout]:
        """Fields [U, F, d] of the distinct positions, and where they stand."""
        rows = len(profile_BPd)
        row_T = torch.repeat_interleave(
            torch.arange(rows, device=batch.offsets.device),
            batch.offsets.diff(),
            output_size=batch.history_ST.shape[1],
        )
        codes_SV, row_V, place_T = distinct_events(batch.history_ST, row_T)
        history_VSd = torch.stack([t(c) for t, c in zip(self.sequence, codes_SV)], dim=1)
        target_BGd = torch.stack([t(c) for t, c in zip(self.target, batch.target_BG.T)], dim=1)
        behaviour_USd = self.dropout(torch.cat([history_VSd, target_BGd]))
        # Unlike indexing, an embedding adds up its gradient in a fixed order on all threads.
        profile_VX = F.embedding(row_V, profile_BPd.flatten(1))
        profile_UPd = torch.cat([profile_VX.unflatten(1, profile_BPd.shape[1:]), profile_BPd])
        return torch.cat([behaviour_USd, profile_UPd], dim=1), lay_out(
            batch.offsets, place_T, len(row_V)
        )

    def shortcuts(self, batch: Batch) -> Tensor:
        """Target, sum of the history over the root of its length, their product [B, 3 * G * d].

        Embeddings are dropped here too, by draws of their own: past the other layers, the network
        would lean on single codes all the more.
        """
        target_BGd = torch.stack([t(c) for t, c in zip(self.target, batch.target_BG.T)], dim=1)
        target_BGd, kept_ST = self.dropout(target_BGd), None
        if self.training and self.dropout.p:
            ones_ST = torch.ones_like(batch.history_ST, dtype=target_BGd.dtype)
            kept_ST = self.dropout(ones_ST[..., None]).squeeze(2)
        weights = [table.get_parameter("weight") for table in self.sequence]
        sums = [
            F.embedding_bag(
                codes_T,
                weights[i],
                batch.offsets,
                mode="sum",
                per_sample_weights=None if kept_ST is None else kept_ST[i],
                include_last_offset=True,
            )
            for i, codes_T in enumerate(batch.history_ST)
        ]
        length_B = batch.offsets.diff().clamp(min=1).to(target_BGd.dtype)
        history_BGd = torch.stack(sums, dim=1) / length_B.sqrt()[:, None, None]
        parts = [target_BGd, history_BGd, target_BGd * history_BGd]
        return torch.cat([part.flatten(1) for part in parts], dim=1)


def distinct_events(history_ST: Tensor, row_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Events [S, V] that differ in row or codes, the row [V] of each, and which is where [T]."""
    place_T, event_T = row_T, torch.arange(len(row_T), device=row_T.device)
    for codes_T in history_ST:
        # Renumbered after each field, so that keys stay small.
        size = int(codes_T.max()) + 1 if len(codes_T) else 1
        key_V, place_T = torch.unique(place_T * size + codes_T, return_inverse=True)
    # Any one of equal events will do.
    one_V = torch.empty_like(key_V).scatter_(0, place_T, event_T)
    return history_ST[:, one_V], row_T[one_V], place_T


def lay_out(offsets: Tensor, place_T: Tensor, events: int) -> Layout:
    """The layout of rows whose events have these places; the targets follow all events."""
    length_B = offsets.diff()
    rows, longest = len(length_B), int(length_B.max()) if len(length_B) else 0
    column_H = torch.arange(longest, device=offsets.device)
    is_event_BH = column_H >= longest - length_B[:, None]
    place_BL = offsets.new_zeros(rows, longest + 1)
    place_BL[:, :-1][is_event_BH] = place_T
    place_BL[:, -1] = events + torch.arange(rows, device=offsets.device)
    if len(place_T) == rows * longest:
        return Layout(place_BL, None, is_event_BH)
    return Layout(place_BL, F.pad(~is_event_BH, (0, 1), value=False), is_event_BH)


class PositionEmbedding(nn.Module):
    """A learned embedding of the distance to the target: target 0, newest event 1, ..."""

    def __init__(self, max_len: int, embedding_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max_len + 1, embedding_dim)

    def forward(self, layout: Layout) -> Tensor:
        """[B, L, d]."""
        rows, length = layout.place_BL.shape
        return self.table.weight[:length].flip(0).expand(rows, -1, -1)


class TimeEmbedding(nn.Module):
    """A learned embedding of the time t from event to target, in linear or logarithmic buckets.

    Bucket min(floor(t), m - 2), or min(floor(log_b(t + 1)), m - 2); the target's is 0.
    """

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(config.time_buckets, embedding_dim)
        self.bounds: Tensor | None
        bounds = None
        if config.time_log_base is not None:
            # Bounds by powers: a logarithm's rounding would put whole powers one bucket too low.
            exponent = torch.arange(1, config.time_buckets - 1, dtype=torch.float64)
            bounds = config.time_log_base**exponent - 1
        self.register_buffer("bounds", bounds, persistent=False)

    def forward(self, batch: Batch, layout: Layout) -> Tensor:
        """[B, L, d]."""
        assert batch.elapsed_T is not None, "a model with times needs a table with times"
        bucket_BL = torch.zeros_like(layout.place_BL)
        bucket_BL[:, :-1][layout.is_event_BH] = self.buckets(batch.elapsed_T)
        return self.table(bucket_BL)

    @property
    def last_bucket(self) -> int:
        """The bucket of all times too long for the others."""
        return self.table.num_embeddings - 2

    def buckets(self, elapsed_T: Tensor) -> Tensor:
        """The bucket of each time."""
        if self.bounds is not None:
            elapsed_T = torch.bucketize(elapsed_T.to(self.bounds.dtype), self.bounds, right=True)
        return elapsed_T.clamp(max=self.last_bucket)
