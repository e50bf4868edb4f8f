"""The prediction loop: logits of a network for the rows of an H5 file."""

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..common.errors import NotEnoughMemoryError
from ..common.progress import progress
from ..config.model import ModelConfig
from ..dataset.batches import Batch, BatchSource
from ..dataset.feature_map import FeatureMap
from ..dataset.joined import Rows
from ..machine.runtime import Machine, deterministic_if_possible
from ..model import FESeq
from ..model.build import batch_source

logger = logging.getLogger(__name__)

# Positions (rows x max_len) of one forward pass: enough to fill a GPU, at width 200 in 1 GiB; few
# enough to stay in a CPU's caches.
POSITIONS_PER_BATCH = {"cuda": 1 << 17, "cpu": 1 << 13}
# Batches between copies of logits to the host: each copy waits for the GPU.
BATCHES_BETWEEN_COPIES = 100


def inference_source(
    h5: Rows,
    feature_map: FeatureMap,
    config: ModelConfig,
    machine: Machine,
    *,
    choosing: bool = False,
) -> BatchSource:
    """A batch source with batches of the right size for inference; see BatchSource."""
    batch_rows = max(1, POSITIONS_PER_BATCH[machine.device.type] // (config.max_len + 1))
    return batch_source(h5, feature_map, config, batch_rows, choosing=choosing)


@torch.inference_mode()
def predict_logits(
    model: FESeq,
    source: BatchSource,
    machine: Machine,
    *,
    start: int = 0,
    stop: int | None = None,
    blank_histories: bool = False,
    after_batch: Callable[[], None] = lambda: None,
    verbosity: int = 0,
) -> np.ndarray:
    """Logits float32 [stop - start], in file order. `blank_histories` empties every history.

    `after_batch` is called after each batch; it may raise to end the loop.
    """
    stop = source.rows if stop is None else stop
    logits = np.empty(stop - start, np.float32)
    was_training = model.training
    model.eval()
    waiting: list[tuple[Tensor, Tensor]] = []

    def copy() -> None:
        if waiting:
            rows, made = (torch.cat(parts) for parts in zip(*waiting))
            logits[rows.numpy() - start] = made.float().cpu().numpy()
            waiting.clear()

    with progress("predicted", stop - start, verbosity=verbosity) as predicting:
        batches = source.in_order(start, stop, blank_histories=blank_histories)
        for batch in machine.ahead(batches):
            waiting.append((batch.row_B, _logits(model, batch, machine)))
            if len(waiting) == BATCHES_BETWEEN_COPIES:
                copy()
            predicting.advance(len(batch))
            after_batch()
        copy()
    model.train(was_training)
    return logits


def _logits(model: FESeq, batch: Batch, machine: Machine) -> Tensor:
    """Logits [B]; of two halves where a GPU's memory does not hold the whole."""
    try:
        with machine.autocast():
            return deterministic_if_possible(lambda: model(batch.to(machine.device)))
    except torch.cuda.OutOfMemoryError:
        if len(batch) == 1:
            raise NotEnoughMemoryError(
                "the GPU's memory does not hold the prediction of a single row; use a smaller "
                "max_len or model, or see with nvidia-smi what else is using the GPU"
            ) from None
    logger.warning("out of GPU memory: predicting %d rows in two halves", len(batch))
    torch.cuda.empty_cache()
    middle = len(batch) // 2
    halves = (batch.rows(0, middle), batch.rows(middle, len(batch)))
    return torch.cat([_logits(model, half, machine) for half in halves])
