"""Histories to the vectors at their positions (FESEQ sections 1 and 3).

Each module has two forms, the same function except for random draws: `forward` of packed histories,
`padded` of left-padded rows. B rows, H events of the longest, L = H + 1 positions, S sequence
fields and targets, d embedding size; is_event_BH is false for padding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....batches.batch import Batch
from ....batches.layout import Layout
from ....features.feature_map import FIRST_CATEGORY
from .sizes import FieldSizes

# Rows m of the table of times, as in the paper.
TIME_BUCKETS = 4001


class HistoryEmbedding(nn.Module):
    """Fields of every distinct position: an event, or the target, with the row's profile.

    The interacting layers see only a position's codes and its row's profile, and rows repeat their
    codes many times, so each distinct position is computed once.
    """

    def __init__(self, sizes: FieldSizes, embedding_dim: int) -> None:
        super().__init__()
        self.target = nn.ModuleList(nn.Embedding(size, embedding_dim) for size in sizes.target)
        self.sequence = nn.ModuleList(
            target if is_shared else nn.Embedding(size, embedding_dim, padding_idx=0)
            for size, target, is_shared in zip(sizes.sequence, self.target, sizes.shared)
        )

    def forward(self, batch: Batch, profile_BPd: Tensor) -> Tensor:
        """Fields [U, F, d] of the distinct positions: all distinct events, then the targets."""
        layout = batch.layout
        codes_SV = batch.history_ST.index_select(1, layout.event_V)
        history_VSd = torch.stack([t(c) for t, c in zip(self.sequence, codes_SV)], dim=1)
        target_BGd = self._targets(batch.target_BG)
        behaviour_USd = torch.cat([history_VSd, target_BGd])
        # Unlike indexing, an embedding adds up its gradient in a fixed order on all threads.
        profile_VX = F.embedding(layout.row_V, profile_BPd.flatten(1))
        profile_UPd = torch.cat([profile_VX.unflatten(1, profile_BPd.shape[1:]), profile_BPd])
        return torch.cat([behaviour_USd, profile_UPd], dim=1)

    def padded(self, history_SBH: Tensor, target_BG: Tensor, profile: list[Tensor]) -> Tensor:
        """Fields [B, L, F, d] of all positions, from the vectors [B, d] of the profile."""
        history, target = self._vectors(history_SBH, target_BG)
        behaviour = [torch.cat([h, t[:, None]], dim=1) for h, t in zip(history, target)]
        repeated = [field_Bd[:, None].expand_as(behaviour[0]) for field_Bd in profile]
        return torch.stack([*behaviour, *repeated], dim=2)

    def _targets(self, target_BG: Tensor) -> Tensor:
        """The vectors of the targets [B, G, d]."""
        return torch.stack([t(c) for t, c in zip(self.target, target_BG.T)], dim=1)

    def _vectors(self, history_SBH: Tensor, target_BG: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """By field, the vectors of the events [B, H, d] and of the target [B, d]."""
        history = [table(codes_BH) for table, codes_BH in zip(self.sequence, history_SBH)]
        return history, [table(target_BG[:, i]) for i, table in enumerate(self.target)]

    def shortcuts(self, batch: Batch) -> Tensor:
        """Target, sum of the history over the root of its length, their product [B, 3 * G * d]."""
        target_BGd = self._targets(batch.target_BG)
        sums = [_event_sum(batch, i, table) for i, table in enumerate(self.sequence)]
        history_BGd = torch.stack(sums, dim=1) / _root_length(batch, target_BGd)[..., None]
        vectors = [target_BGd, history_BGd, target_BGd * history_BGd]
        return torch.cat([vector.flatten(1) for vector in vectors], dim=1)

    def padded_shortcuts(
        self, history_SBH: Tensor, target_BG: Tensor, is_event_BH: Tensor
    ) -> Tensor:
        """The same of padded rows."""
        history, target = self._vectors(history_SBH, target_BG)
        target_BX, sum_BX = torch.cat(target, dim=1), _root_sum(torch.cat(history, 2), is_event_BH)
        return torch.cat([target_BX, sum_BX, target_BX * sum_BX], dim=1)


def _event_sum(batch: Batch, sequence: int, table: nn.Module) -> Tensor:
    """The sum [B, d] of the events' vectors in a sequence."""
    return F.embedding_bag(
        batch.history_ST[sequence],
        table.get_parameter("weight"),
        batch.offsets,
        mode="sum",
        include_last_offset=True,
    )


def _root_length(batch: Batch, like: Tensor) -> Tensor:
    """The root of the number of events [B, 1], at least 1."""
    return batch.offsets.diff().clamp(min=1).to(like.dtype).sqrt()[:, None]


def _root_sum(history_BHd: Tensor, is_event_BH: Tensor) -> Tensor:
    """The sum over the events, over the root of their number [B, d]."""
    weight_BH = is_event_BH.to(history_BHd.dtype)
    root_B1 = weight_BH.sum(1, keepdim=True).clamp(min=1).sqrt()
    return (weight_BH[:, None] @ history_BHd).squeeze(1) / root_B1


class Crossing(nn.Module):
    """The product of target and history: the target's vector times the sum of the events'.

    It has its own vectors; the sum is divided by the root of the history's length. Events start at
    0, targets at deviation 1: if both started small, neither would have a gradient to grow by.
    """

    def __init__(self, sizes: FieldSizes, width: int) -> None:
        super().__init__()
        self.event = nn.ModuleList(nn.Embedding(size, width) for size in sizes.sequence)
        # Not in the optimizer's group of embeddings, which learns by settings of its own.
        self.target = nn.ParameterList(torch.empty(size, width) for size in sizes.target)

    def start_values(self) -> None:
        """Draw the targets' vectors."""
        for table, target_XW in zip(self.event, self.target):
            nn.init.zeros_(table.get_parameter("weight"))
            nn.init.normal_(target_XW)
            # Unknown and missing start at 0; they add nothing unless train rows have them.
            with torch.no_grad():
                target_XW[:FIRST_CATEGORY] = 0

    def forward(self, batch: Batch) -> Tensor:
        """[B, 1], the sum over the sequences."""
        products = []
        for i, table in enumerate(self.event):
            target_BW = F.embedding(batch.target_BG[:, i], self.target[i])
            product_BW = target_BW * _event_sum(batch, i, table)
            products.append(product_BW.sum(1, keepdim=True))
        return torch.stack(products).sum(0) / _root_length(batch, products[0])

    def padded(self, history_SBH: Tensor, target_BG: Tensor, is_event_BH: Tensor) -> Tensor:
        """The same of padded rows."""
        products = [
            target[target_BG[:, i]] * _root_sum(event(history_SBH[i]), is_event_BH)
            for i, (target, event) in enumerate(zip(self.target, self.event))
        ]
        return torch.cat(products, dim=1).sum(1, keepdim=True)


class PositionEmbedding(nn.Module):
    """A learned embedding of the distance to the target: target 0, newest event 1, ..."""

    def __init__(self, max_len: int, embedding_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max_len + 1, embedding_dim)

    def forward(self, layout: Layout) -> Tensor:
        """[N, d]."""
        return self.table(layout.age_N)

    def padded(self, history_SBH: Tensor) -> Tensor:
        """[B, L, d]."""
        _, rows, events = history_SBH.shape
        age_L = events - torch.arange(events + 1, device=history_SBH.device)
        return self.table(age_L).expand(rows, -1, -1)


class TimeEmbedding(nn.Module):
    """A learned embedding of the time t from event to target.

    Bucket min(floor(t), m - 2), with m = TIME_BUCKETS; the target's is 0.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(TIME_BUCKETS, embedding_dim)

    def forward(self, batch: Batch) -> Tensor:
        """[N, d]."""
        assert batch.elapsed_T is not None, "a model with times needs a table with times"
        row_N, age_N = batch.layout.row_N, batch.layout.age_N
        event_N = batch.offsets[1:].index_select(0, row_N) - age_N
        elapsed_N = F.pad(batch.elapsed_T, (0, 1)).index_select(0, event_N)
        return self.table(elapsed_N.clamp(max=TIME_BUCKETS - 2).masked_fill(age_N == 0, 0))

    def padded(self, elapsed_BH: Tensor, is_event_BH: Tensor) -> Tensor:
        """[B, L, d]."""
        bucket_BH = elapsed_BH.clamp(max=TIME_BUCKETS - 2).where(is_event_BH, 0)
        return self.table(F.pad(bucket_BH, (0, 1)))
