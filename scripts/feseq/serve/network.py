"""A trained network for serving: the same function of padded histories, with no Python in it.

The network that trains packs histories and computes each distinct event once, which depends on the
values and cannot be a graph. This one takes its layers and works on rows padded in front, so that
ONNX holds it for any number of rows and events. In evaluation mode, on the CPU, in float32.

B rows, S sequence fields (and targets), H events of the longest history, L = H + 1 positions,
D width of a position, d embedding size.
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import FESeq
from ..model.attention import SelfAttention
from ..model.pooling import (
    BilinearScore,
    ConcatPooling,
    DinScore,
    SumPooling,
    TargetPooling,
    WeightedSumPooling,
)
from ..model.refiner import TransformerLayer

# Taken off the scores of padding.
_HIDDEN = 1e5
# The inputs in the order of `ServedFESeq.forward`, behind the numbers by kind.
INPUTS = ("profile", "target", "history", "length", "elapsed", "context")


class ServedFESeq(nn.Module):
    """Click logits of rows whose histories are padded in front."""

    def __init__(self, network: FESeq) -> None:
        super().__init__()
        self.network = network.eval()
        self.pool = _POOLINGS[type(network.pooling)]

    def forward(
        self,
        numbers: Mapping[str, Tensor],
        profile_BP: Tensor,
        target_BG: Tensor,
        history_SBH: Tensor,
        length_B: Tensor,
        elapsed_BH: Tensor,
        context_BC: Tensor,
    ) -> Tensor:
        """Logits [B]; what stands before a row's newest `length_B` events is not read."""
        network = self.network
        events = history_SBH.shape[2]
        column_H = torch.arange(events)
        is_event_BH = column_H >= events - length_B[:, None]
        is_position_BL = F.pad(is_event_BH, (0, 1), value=True)
        profile = [table(profile_BP[:, i]) for i, table in enumerate(network.profile)]
        target = [table(target_BG[:, i]) for i, table in enumerate(network.history.target)]
        history = [table(codes) for table, codes in zip(network.history.sequence, history_SBH)]
        behaviour = [torch.cat([h, t[:, None]], dim=1) for h, t in zip(history, target)]
        rows = [field_Bd[:, None].expand_as(behaviour[0]) for field_Bd in profile]
        fields_BLFd = torch.stack([*behaviour, *rows], dim=2)
        parts = [network.interaction(fields_BLFd).flatten(2)]
        if network.position is not None:
            age_L = events - torch.arange(events + 1)
            parts.append(network.position.table(age_L).expand(profile_BP.shape[0], -1, -1))
        if network.time is not None:
            bucket_BH = network.time.buckets(elapsed_BH).where(is_event_BH, 0)
            parts.append(network.time.table(F.pad(bucket_BH, (0, 1))))
        x_BLD = torch.cat(parts, dim=2)
        for layer in network.refiner.layers:
            assert isinstance(layer, TransformerLayer)
            x_BLD = layer.norm_1(x_BLD + _attention(layer.attention, x_BLD, is_position_BL))
            x_BLD = layer.norm_2(x_BLD + layer.feed_forward(x_BLD))
        item_BE = network.item(target_BG) if network.item is not None else None
        # What the front reads of a batch.
        of_rows: Any = SimpleNamespace(numbers=numbers, context_BC=context_BC)
        features = [*profile, network.front(of_rows)]
        features.append(self.pool(network.pooling, x_BLD, is_position_BL, item_BE))
        if network.shortcuts:
            features += _shortcuts(torch.cat(target, 1), torch.cat(history, 2), is_event_BH)
        if network.crossing is not None:
            tables = zip(network.crossing.target, network.crossing.event)
            products = [
                _shortcuts(target[target_BG[:, i]], event(history_SBH[i]), is_event_BH)[2]
                for i, (target, event) in enumerate(tables)
            ]
            features.append(torch.cat(products, dim=1).sum(1, keepdim=True))
        return network.taken_back(network.mlp(torch.cat(features, dim=1)).squeeze(1))


def _attention(layer: SelfAttention, x_BLD: Tensor, is_position_BL: Tensor) -> Tensor:
    """As in training, but for padding, which is hidden as key.

    The bias of a key stands in one more column of it, where each query has 1, so that it costs no
    pass over the scores. Its value leaves nothing of a softmax's share in float32.
    """
    qkv = layer.project_in(x_BLD).unflatten(2, (3, layer.heads, -1))
    query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
    bias = (is_position_BL.to(x_BLD.dtype) - 1) * _HIDDEN
    bias = bias[:, None, :, None].expand(-1, layer.heads, -1, -1)
    query = torch.cat([query * query.shape[3] ** -0.5, torch.ones_like(bias)], dim=3)
    score_BHLL = query @ torch.cat([key, bias], dim=3).transpose(2, 3)
    if layer.causal:
        place_L = torch.arange(x_BLD.shape[1])
        score_BHLL = score_BHLL.masked_fill(place_L[:, None] < place_L, -torch.inf)
    return layer.project_out((score_BHLL.softmax(3) @ value).transpose(1, 2).flatten(2))


def _shortcuts(target_Bd: Tensor, history_BHd: Tensor, is_event_BH: Tensor) -> list[Tensor]:
    weight_BH = is_event_BH.to(history_BHd.dtype)
    root_B1 = weight_BH.sum(1, keepdim=True).clamp(min=1).sqrt()
    history_Bd = (weight_BH[:, None] @ history_BHd).squeeze(1) / root_B1
    return [target_Bd, history_Bd, target_Bd * history_Bd]


def _sum(pooling: SumPooling, x_BLD: Tensor, is_position_BL: Tensor, item_BE: Tensor) -> Tensor:
    weight_BL = is_position_BL.to(x_BLD.dtype)
    if pooling.mean:
        weight_BL = weight_BL / weight_BL.sum(1, keepdim=True)
    return (weight_BL[:, None] @ x_BLD).squeeze(1)


def _target(
    pooling: TargetPooling, x_BLD: Tensor, is_position_BL: Tensor, item_BE: Tensor
) -> Tensor:
    return x_BLD[:, -1]


def _concat(
    pooling: ConcatPooling, x_BLD: Tensor, is_position_BL: Tensor, item_BE: Tensor
) -> Tensor:
    x_BLD = x_BLD * is_position_BL[..., None]
    before = x_BLD.new_zeros(x_BLD.shape[0], pooling.positions - x_BLD.shape[1], x_BLD.shape[2])
    return torch.cat([before, x_BLD], dim=1).flatten(1)


def _weighted(
    pooling: WeightedSumPooling, x_BLD: Tensor, is_position_BL: Tensor, item_BE: Tensor
) -> Tensor:
    query_BA, key_BLA = pooling.query(item_BE), pooling.key(x_BLD)
    score = pooling.score
    if isinstance(score, DinScore):
        query_BLA = query_BA[:, None].expand_as(key_BLA)
        pair_BLX = [query_BLA, key_BLA, query_BLA - key_BLA, query_BLA * key_BLA]
        score_BL = score.mlp(torch.cat(pair_BLX, dim=2).flatten(0, 1)).view(key_BLA.shape[:2])
    else:
        if isinstance(score, BilinearScore):
            query_BA = query_BA @ score.bilinear
        score_BL = (key_BLA @ query_BA[..., None]).squeeze(2) * score.scale
    weight_BL = score_BL.masked_fill(~is_position_BL, -torch.inf).softmax(1)
    return pooling.out((weight_BL[:, None] @ pooling.value(x_BLD)).squeeze(1))


_POOLINGS: dict[type[nn.Module], Callable[..., Tensor]] = {
    SumPooling: _sum,
    TargetPooling: _target,
    ConcatPooling: _concat,
    WeightedSumPooling: _weighted,
}
