"""The importance of features to a trained network; see `importance`."""

from dataclasses import replace

import numpy as np
import torch

from ...batches.batch import Batch
from ...batches.source import row_inputs
from ...storage.block import Block
from ...storage.table import MemoryTable, Table
from .model_file import TrainedModel, batches_that_fit


class NetworkPredict:
    """Predicts changed rows; if only numeric columns change, histories are not computed again.

    Numeric columns enter the output network only, so its other inputs are kept.
    """

    def __init__(self, model: TrainedModel, table: Table, block: Block) -> None:
        self.model, self.table, self.block = model, table, block
        machine = model.machine
        self.source = model.source(MemoryTable(table, block))
        self.kept: list[tuple[Batch, torch.Tensor]] = []
        network = model.network.to(machine.device).eval()
        seen: list[torch.Tensor] = []
        hook = network.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

        def forward(batch: Batch) -> tuple[Batch, torch.Tensor]:
            # An attempt that ran out of memory may have left its inputs.
            seen.clear()
            with machine.autocast():
                network(batch)
            return batch, seen.pop()

        with torch.inference_mode():
            for batch in self.source.in_order():
                self.kept.extend(kept for _, kept in batches_that_fit(forward, batch, machine))
        hook.remove()

    def __call__(self, block: Block) -> np.ndarray:
        """Logits float32 [rows] of these rows; see `Predict`."""
        before, now = vars(self.block), vars(block)
        if [name for name in before if now[name] is not before[name]] == ["numeric"]:
            return self._with_other_numbers(block)
        return self.model.predict(MemoryTable(self.table, block))

    @torch.inference_mode()
    def _with_other_numbers(self, block: Block) -> np.ndarray:
        network, logits = self.model.network, np.empty(len(block), np.float32)
        for batch, inputs_BI in self.kept:
            rows = batch.row_B.cpu().numpy()
            encoded = self.source.encoder.encode(block, rows)
            batch = replace(batch, **row_inputs(encoded)).to(inputs_BI.device)
            with self.model.machine.autocast():
                numbers_BX = network.inputs(batch)
            first = batch.profile_BP.shape[1] * network.embedding_dim
            end = first + numbers_BX.shape[1]
            logit_B = network.output([inputs_BI[:, :first], numbers_BX, inputs_BI[:, end:]])
            logits[rows] = logit_B.float().cpu().numpy()
        return logits


importance = NetworkPredict
