"""FESeq on padded histories: the same function, as a graph that can be exported.

FESeq packs histories and computes each distinct event once, which depends on the values and cannot
be a graph. PaddedFESeq has its layers and weights, and works on left-padded rows: the export to
ONNX, the reference of the tests, and the plain side of the benchmark. B rows, S sequence fields
(and targets), W events of the longest history, H of the longest as cut to max_len, L = H + 1
positions, D width of a position.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....batches.batch import Batch
from .model import FESeq

# The inputs in the order of `PaddedFESeq.forward`, after the numbers by numeric encoding.
INPUTS = (
    "profile",
    "target",
    "history",
    "length",
    "elapsed",
    "whole_history",
    "whole_length",
    "context",
)


class PaddedFESeq(nn.Module):
    """Click logits of padded rows. In training, it draws for `dropout` alone."""

    def __init__(self, network: FESeq) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        numbers: Mapping[str, Tensor],
        profile_BP: Tensor,
        target_BG: Tensor,
        history_SBH: Tensor,
        length_B: Tensor,
        elapsed_BH: Tensor,
        whole_SBW: Tensor,
        whole_length_B: Tensor,
        context_BC: Tensor,
    ) -> Tensor:
        """Logits [B]. Only the last columns of a row are read, as many as its length."""
        network = self.network
        is_event_BH = _is_newest(length_B, history_SBH.shape[2])
        is_position_BL = F.pad(is_event_BH, (0, 1), value=True)
        profile = [table(profile_BP[:, i]) for i, table in enumerate(network.profile)]
        fields_BLFd = network.interaction(network.history.padded(history_SBH, target_BG, profile))
        vectors = [fields_BLFd.flatten(2)]
        if network.position is not None:
            vectors.append(network.position.padded(history_SBH))
        if network.time is not None:
            vectors.append(network.time.padded(elapsed_BH, is_event_BH))
        x_BLD = network.refiner.padded(torch.cat(vectors, dim=2), is_position_BL)
        item_BE: Any = network.item(target_BG) if network.item is not None else None
        pooled_BU = network.pooling.padded(x_BLD, is_position_BL, item_BE)
        # The fields of a batch that the input layer reads.
        rows: Any = SimpleNamespace(numbers=numbers, context_BC=context_BC)
        features = [*profile, network.inputs(rows), pooled_BU]
        whole = whole_SBW, target_BG, _is_newest(whole_length_B, whole_SBW.shape[2])
        if network.shortcuts:
            features.append(network.history.padded_shortcuts(*whole))
        if network.crossing is not None:
            features.append(network.crossing.padded(*whole))
        return network.output(features)

    def logits(self, batch: Batch, longest: int = 1, filled: int = 0) -> Tensor:
        """Logits [B] of a packed batch, padded with `filled` to at least `longest` events."""
        length_B, max_len = batch.offsets.diff(), batch.layout.max_len
        events = max(longest, int(length_B.max()))
        is_event_BW = _is_newest(length_B, events)

        def padded(packed: Tensor) -> Tensor:
            rows = packed.new_full((*packed.shape[:-1], len(batch), events), filled)
            rows[..., is_event_BW] = packed
            return rows

        elapsed_T = batch.history_ST[0] if batch.elapsed_T is None else batch.elapsed_T
        whole_SBW, elapsed_BW = padded(batch.history_ST), padded(elapsed_T)
        return self(
            batch.numbers,
            batch.profile_BP,
            batch.target_BG,
            whole_SBW[..., -max_len:],
            length_B.clamp(max=max_len),
            elapsed_BW[..., -max_len:],
            whole_SBW,
            length_B,
            batch.context_BC,
        )


def _is_newest(length_B: Tensor, events: int) -> Tensor:
    """True for the last columns of each row, as many as its length, bool [B, events]."""
    column = torch.arange(events, device=length_B.device)
    return column >= events - length_B[:, None]
