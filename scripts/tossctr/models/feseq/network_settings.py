"""The settings of FESeq: the network's, and the training's."""

import logging
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from ...batches.negatives import AUTO_ROWS
from ...common.errors import ImpossibleNetworkError
from ...config.declared import AS_WRITTEN, CLOSED, FROM_NAME, NOT_SEARCHED, Seed

logger = logging.getLogger(__name__)

Numerics = Literal["linear", "direct", "buckets", "missing"]
Statistic = Literal[
    "length", "distinct", "entropy", "newest", "times", "item_attributes", "similarities"
]
# Width of the pooling attention, as in the paper.
ATTENTION_DIM = 128
# Hidden layers of the pooling `din`, as in DIN's published code.
DIN_WIDTHS = (512, 256, 128)
# With `learning_rate: auto`, the higher rate needs at least this share of clicks, and of negatives:
# with fewer clicks in a batch, gradients are noisier.
MIN_CLASS_SHARE = 0.2
MaxLen = Annotated[int, Field(ge=1, le=100_000)]


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class ModelConfig:
    """The settings of a network."""

    max_len: Annotated[MaxLen, FROM_NAME]
    """maximum events of a history; longer histories keep their newest events"""
    embedding_dim: Annotated[int, Field(ge=1, le=1024)] = 16
    """size of each embedding"""
    interaction: Literal["autoint", "crossnetv2"] = "crossnetv2"
    """type of the interacting layers: self-attention (AutoInt) or cross layers (DCN-v2)"""
    interaction_layers: Annotated[int, Field(ge=0, le=16)] = 1
    """number of interacting layers"""
    transformer_layers: Annotated[int, Field(ge=0, le=32)] = 1
    """number of Transformer layers over the positions"""
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    """number of attention heads; must divide the total size of a position's embeddings"""
    causal: bool = False
    """a position attends only to itself and to older positions"""
    layer_norm: bool = True
    """layer norm in the Transformer layers"""
    positions: bool = True
    """each position has an embedding of its distance to the target, in events"""
    times: bool = False
    """each position has an embedding of its event's age; needs `columns.groups.<group>.times`"""
    pooling: Literal["mean", "target", "weighted_sum", "din"] = "target"
    """how positions become one vector. `mean`: their mean. `target`: the target's position.
    `weighted_sum`: their sum, weighted by attention from the target. `din`: their sum, weighted by
    DIN's network"""
    item_interaction_layers: Annotated[int, Field(ge=0, le=16)] = 1
    """number of interacting layers for the target's columns; only with `pooling: weighted_sum` or
    `din`"""
    mlp: Annotated[tuple[Annotated[int, Field(ge=1, le=65_536)], ...], Field(strict=False)] = (
        128,
        64,
    )
    """sizes of the output network's hidden layers"""
    mlp_activation: Literal["relu", "leaky_relu"] = "relu"
    """activation of the output network"""
    mlp_cross_rank: Annotated[int, Field(ge=0, le=4096)] = 64
    """rank of a cross layer (DCN-v2) before the output network; 0: no cross layer"""
    numerics: Annotated[tuple[Numerics, ...], Field(min_length=1, strict=False)] = (
        "direct",
        "buckets",
        "missing",
    )
    """inputs of the output network for a numeric column. `linear`: the scaled value times a learned
    vector. `direct`: the scaled value. `buckets`: a learned vector for each of 20 quantile buckets.
    `missing`: a flag for missing values"""
    scaling: Literal["minmax", "quantile"] = "quantile"
    """scaling of numeric values. `minmax`: to [0, 1]. `quantile`: to ranks among the train rows"""
    history_statistics: Annotated[tuple[Statistic, ...], Field(strict=False)] = get_args(Statistic)
    """inputs of the output network about the whole history (docs/boosting.md). `newest`: the newest
    token"""
    oov_rate: Literal["auto"] | Annotated[float, Field(ge=0, lt=1), AS_WRITTEN] = "auto"
    """share of categories that training treats as unknown. `auto`: as in validation rows"""
    pooled_history: bool = True
    """the output network also gets embeddings of the target and of the whole history, and their
    product"""
    history_gate: bool = True
    """the vector from `pooling` is multiplied by a learned vector that starts at 0"""
    embedding_std: Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = 0.01
    """standard deviation of the initial embeddings"""
    dropout: Annotated[float, Field(ge=0, lt=1), AS_WRITTEN] = 0
    """dropout probability"""

    def width(self, fields: int) -> int:
        """The size of the vector of a position that has `fields` categorical columns.

        Raises ImpossibleNetworkError if the size is not a multiple of `heads`.
        """
        width = self.embedding_dim * (fields + self.positions + self.times)
        if width % self.heads:
            raise ImpossibleNetworkError(
                f"the width of a position is {width} (embedding_dim {self.embedding_dim} times "
                f"{width // self.embedding_dim} embeddings), which cannot be divided among "
                f"{self.heads} heads; change heads"
            )
        return width


# The metrics of `monitor`, which common/logits.py computes. Lower is better for loglosses, higher
# for all others. `balanced_` metrics are at 50:50 odds.
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
            sign, better = ("<= 0", "lower") if is_lower else (">= 0", "higher")
            raise ValueError(f"the weight of {name} must be {sign}, since {better} is better")
    if not any(monitor.values()):
        raise ValueError("all weights are 0; at least one weight must differ from 0")
    return monitor


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class TrainConfig:
    """The settings of a training."""

    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    """maximum rows of a batch"""
    min_steps_per_epoch: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """minimum steps of an epoch; batches shrink if needed"""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 3
    """passes over the train rows"""
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = "auto"
    """peak learning rate of Adam. `auto`: 0.001 to 0.003, by the click rate and the number of train
    rows"""
    embedding_rate_factor: Annotated[float, Field(gt=0, le=100), AS_WRITTEN] = 0.5
    """learning rate of embeddings, as a multiple of `learning_rate`"""
    embedding_second_moment: Literal["weight", "table"] = "table"
    """Adam's second moment of embeddings. `weight`: one for each weight. `table`: one for each
    embedding table, so that embeddings of rare categories change little"""
    weight_decay: Annotated[float, Field(ge=0, le=10), AS_WRITTEN] = 1.0
    """weight decay of AdamW; embeddings have none"""
    schedule: Literal["plateau", "cosine"] = "cosine"
    """how the learning rate falls. `plateau`: to a tenth after each evaluation without gain (see
    `monitor`). `cosine`: along half a cosine"""
    start_at_click_rate: bool = True
    """the untrained network predicts the click rate instead of 0.5"""
    embedding_l2: Annotated[float, Field(ge=0), AS_WRITTEN] = 0
    """weight of the embeddings' squared norm in the loss"""
    negative_sampling_rate: Literal["auto"] | Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = (
        "auto"
    )
    """share of the negatives that each epoch draws; predictions are corrected for it. `auto`: all,
    or fewer with more than 150,000 train rows"""
    weight_average: Annotated[float, Field(ge=0, lt=1), AS_WRITTEN] = 0.99
    """decay of the weights' moving average, which is saved; 0: no average"""
    evaluations_per_epoch: Literal["auto"] | Annotated[int, Field(ge=1, le=1000)] = 4
    """evaluations in an epoch. `auto`: one, or four if an epoch has more than 2,000 steps"""
    patience: Annotated[int, Field(ge=1)] = 6
    """evaluations in a row without gain (see `monitor`) that end a training"""
    monitor: Annotated[
        Mapping[Monitored, Annotated[float, AS_WRITTEN]],
        AfterValidator(_rewards_gain),
        Field(default_factory=lambda: {"logloss": -1}),
        NOT_SEARCHED,
    ]
    """weights of validation metrics, negative for loglosses. An evaluation is a gain if the
    weighted sum is the highest so far. Metrics (results/README.md): `auc`, `average_precision`,
    `score`, `logloss`, `weighted_logloss`, `balanced_score`, `balanced_logloss`,
    `balanced_weighted_logloss`"""
    seed: Seed = 42
    """seed of initial weights, dropout and row order"""
    gpus: Annotated[int, Field(ge=1, le=64), NOT_SEARCHED] = 1
    """GPUs of a training, all in one machine (docs/several-gpus.md)"""

    def peak_learning_rate(self, rows: int, click_rate: float) -> float:
        """The peak learning rate, given the number of train rows and their click rate."""
        if self.learning_rate != "auto":
            return self.learning_rate
        if MIN_CLASS_SHARE <= click_rate <= 1 - MIN_CLASS_SHARE:
            return 3e-3
        return 2e-3 if rows > AUTO_ROWS else 1e-3

    def batch_rows(self, rows: int) -> int:
        """The number of rows of a batch: `batch_size`, or fewer if an epoch has few `rows`."""
        fewer = max(1, rows // self.min_steps_per_epoch)
        if fewer < self.batch_size:
            logger.info("batches have only %d rows, because of train.min_steps_per_epoch", fewer)
        return min(fewer, self.batch_size)
