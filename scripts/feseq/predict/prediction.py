"""The prediction loop: logits of a network for the rows of an H5 file."""

import logging
from collections.abc import Callable

import numpy as np
import torch

from ..common.progress import progress
from ..config.model import ModelConfig
from ..dataset.batches import BatchSource
from ..dataset.feature_map import FeatureMap
from ..dataset.joined import Rows
from ..machine.runtime import Machine
from ..model import FESeq
from ..model.build import batch_source

logger = logging.getLogger(__name__)

# Positions (rows x max_len) of one forward pass: enough to fill a GPU, at width 200 in 1 GiB; few
# enough to stay in a CPU's caches.
POSITIONS_PER_BATCH = {"cuda": 1 << 17, "cpu": 1 << 13}


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
    with progress("predicted", stop - start, verbosity=verbosity) as predicting:
        for batch in source.in_order(start, stop, blank_histories=blank_histories):
            with machine.autocast():
                logit_B = model(batch.to(machine.device))
            logits[batch.row_B.numpy() - start] = logit_B.float().cpu().numpy()
            predicting.advance(len(batch))
            after_batch()
    model.train(was_training)
    return logits
