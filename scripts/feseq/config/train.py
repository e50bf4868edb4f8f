"""The settings of a training: the config's `train` keys."""

import logging
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from .declared import AS_WRITTEN, CLOSED, Declared, Seed

logger = logging.getLogger(__name__)


# What `monitor` may weigh: train/monitor.py computes it. Lower is better for a logloss, higher for
# the others; `balanced_` are those at 50:50 odds.
Monitored = Literal[
    "auc",
    "average_precision",
    "score",
    "balanced_score",
    "logloss",
    "weighted_logloss",
    "balanced_logloss",
    "balanced_weighted_logloss",
]


def _rewards_gain(monitor: dict[str, float]) -> dict[str, float]:
    for name, weight in monitor.items():
        is_lower = name.endswith("logloss")
        if weight > 0 if is_lower else weight < 0:
            sign = "<= 0" if is_lower else ">= 0"
            raise ValueError(f"does not reward better models: {name} takes a weight {sign}")
    if not any(monitor.values()):
        raise ValueError("rewards nothing: at least one weight must differ from 0")
    return monitor


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class TrainConfig(Declared):
    """How to train."""

    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    """rows of one step, at most"""
    min_steps_per_epoch: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """data too small for that many steps of `batch_size` get smaller batches, said in the log"""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 3
    """passes over the train rows"""
    learning_rate: Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = 1e-3
    """step size of Adam, before cuts or decay"""
    embedding_rate_factor: Annotated[float, Field(gt=0, le=100), AS_WRITTEN] = 0.5
    """the embeddings learn at this multiple of the learning rate"""
    embedding_second_moment: Literal["weight", "table"] = "table"
    """Adam's second moment of embeddings, which divides their steps: `weight`, one a weight, so
    that the step does not depend on a gradient's size; `table`, one a table, so that rare codes
    move little. All context columns are one table, and so are all
    buckets"""
    weight_decay: Annotated[float, Field(ge=0, le=10), AS_WRITTEN] = 0.01
    """each step takes this share of a weight off, times the learning rate (AdamW); not off biases,
    norms and embeddings"""
    schedule: Literal["plateau", "cosine"] = "cosine"
    """`plateau`: an evaluation without gain cuts the learning rate to a tenth. `cosine`: it falls
    over the steps of all epochs. A thousandth of it is always left"""
    start_at_click_rate: bool = True
    """the untrained network predicts the click rate of the train rows, not one half: where clicks
    are rare, it need not learn that first. With `start_from` the earlier network's logit stays"""
    embedding_l2: Annotated[float, Field(ge=0), AS_WRITTEN] = 0
    """weight of the squared norm of the embeddings in the loss"""
    negative_share: Literal["auto"] | Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = "auto"
    """an epoch has all clicks and this share of the other rows, another draw each time, which makes
    it shorter; predictions are corrected for that. `auto`: 1, or what makes an epoch of 150,000
    rows, with six other rows for each click at least"""
    weight_average: Annotated[float, Field(ge=0, lt=1), AS_WRITTEN] = 0.99
    """d: a moving average of the weights, d * average + (1 - d) * weights after each step, is
    evaluated and saved in their place; 0: none"""
    evaluations_per_epoch: Literal["auto"] | Annotated[int, Field(ge=1, le=1000)] = 4
    """evaluations in an epoch, the last one at its end. `auto`: one; in an epoch of more than 2,000
    steps four: the first three only look for the best weights, and change neither learning rate
    nor end"""
    patience: Annotated[int, Field(ge=1)] = 6
    """this many evaluations without gain in a row end the training"""
    monitor: Annotated[
        Mapping[Monitored, Annotated[float, AS_WRITTEN]],
        AfterValidator(_rewards_gain),
        Field(default_factory=lambda: {"auc": 1, "logloss": -1}),
    ]
    """weights of metrics in the sum whose rise is a gain: `auc`, `average_precision` and `score` (0
    or more), `logloss` and `weighted_logloss` (0 or less), and the same at 50:50 odds, such as
    `balanced_score`"""
    start_from: Annotated[str, Field(min_length=1)] | None = None
    """warm start: the model.safetensors of an earlier training, of the same columns and settings of
    the network, whose weights this one goes on from; new categories and tokens join its own.
    Another file there makes the model stale"""
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
