"""FESeq on padded histories: the same function, as a graph that can be exported.

FESeq packs histories and computes each distinct event once, which depends on the values and cannot
be a graph. PaddedFESeq has its layers and weights, and works on left-padded rows: the export to
ONNX, the reference of the tests, and the plain side of the benchmark. B rows, S sequence fields
(and targets), H events of the longest history, L = H + 1 positions, D width of a position.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..dataset.batch import Batch
from .feseq import FESeq

# The inputs in the order of `PaddedFESeq.forward`, behind the numbers by kind.
INPUTS = ("profile", "target", "history", "length", "elapsed", "context")


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
        context_BC: Tensor,
    ) -> Tensor:
        """Logits [B]; what stands before a row's newest `length_B` events is not read."""
        network, events = self.network, history_SBH.shape[2]
        column_H = torch.arange(events, device=length_B.device)
        is_event_BH = column_H >= events - length_B[:, None]
        is_position_BL = F.pad(is_event_BH, (0, 1), value=True)
        profile = [table(profile_BP[:, i]) for i, table in enumerate(network.profile)]
        fields_BLFd = network.interaction(network.history.padded(history_SBH, target_BG, profile))
        parts = [fields_BLFd.flatten(2)]
        if network.position is not None:
            parts.append(network.position.padded(history_SBH))
        if network.time is not None:
            parts.append(network.time.padded(elapsed_BH, is_event_BH))
        x_BLD = network.refiner.padded(torch.cat(parts, dim=2), is_position_BL)
        item_BE: Any = network.item(target_BG) if network.item is not None else None
        pooled_BU = network.pooling.padded(x_BLD, is_position_BL, item_BE)
        # What the input layer reads of a batch.
        rows: Any = SimpleNamespace(numbers=numbers, context_BC=context_BC)
        features = [*profile, network.inputs(rows), pooled_BU]
        if network.shortcuts:
            features.append(network.history.padded_shortcuts(history_SBH, target_BG, is_event_BH))
        if network.crossing is not None:
            features.append(network.crossing.padded(history_SBH, target_BG, is_event_BH))
        return network.output(features)

    def logits(self, batch: Batch, longest: int = 1, filled: int = 0) -> Tensor:
        """Logits [B] of a packed batch, padded with `filled` to at least `longest` events."""
        length_B = batch.offsets.diff()
        events = max(longest, int(length_B.max()))
        column_H = torch.arange(events, device=length_B.device)
        is_event_BH = column_H >= events - length_B[:, None]

        def padded(packed: Tensor) -> Tensor:
            rows = packed.new_full((*packed.shape[:-1], len(batch), events), filled)
            rows[..., is_event_BH] = packed
            return rows

        elapsed_T = batch.history_ST[0] if batch.elapsed_T is None else batch.elapsed_T
        return self(
            batch.numbers,
            batch.profile_BP,
            batch.target_BG,
            padded(batch.history_ST),
            length_B,
            padded(elapsed_T),
            batch.context_BC,
        )
