"""The settings of a training: the config's `train` keys."""

import logging
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from .declared import AS_WRITTEN, CLOSED, Declared, Seed, some_of

logger = logging.getLogger(__name__)


def _rewards_gain(monitor: dict[str, float]) -> dict[str, float]:
    auc, logloss = monitor.get("auc", 0), monitor.get("logloss", 0)
    if auc < 0 or logloss > 0 or auc == logloss == 0:
        raise ValueError(
            "does not reward better models: auc takes a weight >= 0, logloss one <= 0, not both 0"
        )
    return monitor


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class TrainConfig(Declared):
    """How to train."""

    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    """rows of one step, at most"""
    min_steps_per_epoch: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """data too small for that many steps of `batch_size` get smaller batches, said in the log"""
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    """passes over the train rows"""
    learning_rate: Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = 1e-3
    """first step size of Adam"""
    max_grad_norm: Annotated[float, Field(gt=0), AS_WRITTEN] = 10
    """the gradient's norm is cut at this"""
    embedding_l2: Annotated[float, Field(ge=0), AS_WRITTEN] = 0
    """weight of the squared norm of all embeddings in the loss"""
    label_smoothing: Annotated[float, Field(ge=0, le=0.9), AS_WRITTEN] = 0
    """s: the loss takes labels s/2 and 1 - s/2"""
    pos_weight: Annotated[float, Field(gt=0, le=10_000), AS_WRITTEN] = 1
    """a click counts this many times in the loss, which raises the network's odds by that factor;
    predictions take it back"""
    eval_steps: Annotated[int, Field(ge=1)] | None = None
    """steps between evaluations; null: one after each epoch"""
    patience: Annotated[int, Field(ge=1)] = 2
    """an evaluation without gain cuts the learning rate to a tenth; this many in a row end the
    training"""
    monitor: Annotated[
        Mapping[Literal["auc", "logloss"], Annotated[float, AS_WRITTEN]],
        AfterValidator(_rewards_gain),
        Field(default_factory=lambda: {"auc": 1, "logloss": -1}),
    ]
    """weights of `auc` (0 or more) and `logloss` (0 or less) in the figure that decides what is a
    gain"""
    seed: Seed = 42
    """seed of start values, dropout and order"""
    gpus: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs of one training on a machine: as many processes, each on one of them, share the rows of
    every batch; a tuning's trials take one each. Like `runtime`, makes nothing stale"""
    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    """machines of one training, each with `train.gpus` processes; a tuning's trials take one. Like
    `runtime`, makes nothing stale"""

    def batch_rows(self, rows: int) -> int:
        """Rows of a step: batch_size, or fewer where `rows` train rows make too few steps."""
        fewer = max(1, rows // self.min_steps_per_epoch)
        if fewer >= self.batch_size:
            return self.batch_size
        logger.warning(
            "batch_size %s makes only %d steps of %s train rows: using %d, for "
            "train.min_steps_per_epoch %d",
            f"{self.batch_size:,}",
            -(-rows // self.batch_size),
            f"{rows:,}",
            fewer,
            self.min_steps_per_epoch,
        )
        return fewer


class TrainKeys(some_of(TrainConfig)):  # type: ignore[misc]
    """Settings of the training."""
