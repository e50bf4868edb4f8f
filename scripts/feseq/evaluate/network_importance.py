"""What a trained network's AUC rests on; see `importance`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..dataset.batch import Batch
from ..dataset.batches import row_inputs
from ..dataset.block import Block
from ..dataset.feature_map import check_one_draw
from ..dataset.memory_table import MemoryTable
from ..dataset.mixed import Files, open_files
from ..dataset.store import H5Table
from ..model.device import Machine
from ..predict.model_file import TrainedModel
from ..predict.prediction import parts_that_fit
from .importance import write_importance


def measure_network(
    model_file: Path, valid: Files, importance: Path, *, machine: Machine, full_name: str = ""
) -> None:
    """Write what the network loses by each change of the rows of `valid`, see `importance`."""
    model = TrainedModel.load(model_file, full_name)
    with open_files(valid) as table:
        check_one_draw(model.feature_map, table, table, full_name, model_file)
        write_importance(
            importance,
            table,
            model.feature_map,
            lambda block: NetworkPredict(model, table, block, machine),
            full_name,
        )


class NetworkPredict:
    """Predicts changed rows; where numeric columns alone are, without their histories again.

    Numeric columns meet the rest of a row in the output network only, whose other inputs are kept.
    """

    def __init__(self, model: TrainedModel, table: H5Table, block: Block, machine: Machine) -> None:
        self.model, self.table, self.machine = model, table, machine
        self.source = model.source(MemoryTable(table, block), machine)
        self.kept: list[tuple[Batch, torch.Tensor]] = []
        network = model.network.to(machine.device).eval()
        seen: list[torch.Tensor] = []
        hook = network.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

        def forward(batch: Batch) -> tuple[Batch, torch.Tensor]:
            # An attempt for which memory was short may have left its inputs.
            seen.clear()
            with machine.autocast():
                network(batch)
            return batch, seen.pop()

        with torch.inference_mode():
            for batch in self.source.in_order():
                self.kept.extend(kept for _, kept in parts_that_fit(forward, batch, machine))
        hook.remove()

    def __call__(self, block: Block, *, only_numeric: bool) -> np.ndarray:
        """Logits float32 [rows] of these rows; see `Predict`."""
        if only_numeric:
            return self._with_other_numbers(block)
        source = self.model.source(MemoryTable(self.table, block), self.machine)
        return self.model.predict(source, self.machine)

    @torch.inference_mode()
    def _with_other_numbers(self, block: Block) -> np.ndarray:
        network, logits = self.model.network, np.empty(len(block), np.float32)
        for batch, inputs_BI in self.kept:
            rows = batch.row_B.cpu().numpy()
            encoded = self.source.encoder.encode(block, rows)
            batch = replace(batch, **row_inputs(encoded)).to(inputs_BI.device)
            with self.machine.autocast():
                numbers_BX = network.inputs(batch)
            first = batch.profile_BP.shape[1] * network.embedding_dim
            end = first + numbers_BX.shape[1]
            logit_B = network.output([inputs_BI[:, :first], numbers_BX, inputs_BI[:, end:]])
            logits[rows] = logit_B.float().cpu().numpy()
        return logits
