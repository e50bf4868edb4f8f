"""The settings of a network: the config's `model` keys, and the length of the history."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..common.errors import ImpossibleNetworkError
from .columns import MOST_LEVELS
from .declared import AS_WRITTEN, CLOSED, Declared

Interaction = Literal["autoint", "destine", "crossnet", "crossnetv2", "crossnet_mix", "final"]
Numerics = Literal["linear", "direct", "buckets", "missing"]
Statistic = Literal["length", "distinct", "entropy", "newest"]
MaxLen = Annotated[int, Field(ge=1, le=100_000)]


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class ModelConfig(Declared):
    """What shapes a network."""

    max_len: MaxLen
    """events of a history; longer ones are cut to their newest"""
    embedding_dim: Annotated[int, Field(ge=1, le=1024)]
    """size d of an embedding. The width of a position is d times (sequences + profile columns + 1
    with positions + 1 with times); `heads` must divide it"""
    interaction: Interaction = "crossnetv2"
    """interacting layer among the fields of a position; `crossnet_mix` has 4 experts of rank 32"""
    interaction_layers: Annotated[int, Field(ge=0, le=16)]
    """how many of them"""
    transformer_layers: Annotated[int, Field(ge=0, le=32)]
    """Transformer layers over the positions"""
    heads: Annotated[int, Field(ge=1, le=64)]
    """attention heads"""
    causal: bool = False
    """a position sees only itself and older ones"""
    layer_norm: bool = True
    """layer norm in the Transformer layers"""
    positions: bool = True
    """a learned embedding of the distance to the target"""
    times: bool = False
    """a learned embedding of the time from each event to the row's own; needs
    `columns.groups.<group>.times`"""
    time_log_base: Annotated[float, Field(gt=1), AS_WRITTEN] | None = None
    """with `times`, null: one bucket per unit of time, 3999 and more in the last; b: bucket
    log_b(time + 1)"""
    pooling: Literal["mean", "sum", "target", "concat", "weighted_sum"] = "mean"
    """from positions to one vector: `target` is the last position, `concat` all of them, zeros
    where there are none, `weighted_sum` the attention of the target item"""
    score: Literal["bilinear", "dot", "din"] = "bilinear"
    """score of a position with `weighted_sum`; `din` is a network of 512, 256 and 128 units, whose
    batch statistics are those of a micro-batch"""
    scaled_scores: bool = True
    """with `weighted_sum`, not `din`: scores are divided by the root of `attention_dim`"""
    item_interaction_layers: Annotated[int, Field(ge=0, le=16)] = 1
    """interacting layers of the target item, with `weighted_sum`"""
    attention_dim: Annotated[int, Field(ge=1, le=4096)] = 128
    """width of the pooling attention, with `weighted_sum`"""
    mlp: Annotated[tuple[Annotated[int, Field(ge=1, le=65_536)], ...], Field(strict=False)]
    """hidden layers of the output network"""
    mlp_activation: Literal["relu", "leaky_relu"] = "relu"
    """activation of the output network"""
    mlp_cross_rank: Annotated[int, Field(ge=0, le=4096)] = 64
    """rank of a cross layer (DCN-v2) before the output network's hidden layers, which adds to each
    input its product with a weighted sum of all inputs; 0: none"""
    numerics: Annotated[tuple[Numerics, ...], Field(min_length=1, strict=False)] = (
        "direct",
        "buckets",
        "missing",
    )
    """how numeric columns enter the output network: `linear`, value times a learned vector;
    `direct`, the value; `buckets`, a learned vector for each of 20 quantile buckets; `missing`, a
    flag for each block of columns that are missing together. Several stand side by side"""
    scaling: Literal["minmax", "quantile"] = "quantile"
    """of numeric values: to [0, 1] by the range; their ranks among the train rows, to mean 0 and
    deviation 1"""
    history_statistics: Annotated[tuple[Statistic, ...], Field(strict=False)] = (
        "length",
        "distinct",
        "entropy",
        "newest",
    )
    """of each whole history, as further numeric columns: log(1 + events), log(1 + `distinct`
    codes), `entropy` of their shares; and the `newest` code, as a category for the output
    network"""
    levels: Annotated[int, Field(ge=0, le=MOST_LEVELS)] = 0
    """numeric columns with at most this many distinct values are categories for the output network
    as well, like columns with the role `context`"""
    unknown_share: Literal["auto"] | Annotated[float, Field(ge=0, lt=1), AS_WRITTEN] = "auto"
    """share of the row's categories that a training step takes as out of vocabulary, others each
    time, so that the network learns what to make of new ones. `auto`: in each column, until
    train rows have as many unknown ones as validation rows"""
    shortcuts: bool = True
    """the target's embedding, the sum of the whole history's over the root of its length, and their
    product go to the output network too"""
    crossing: Annotated[int, Field(ge=0, le=1024)] = 32
    """size of further vectors, of the target and of the history's codes, whose product goes
    straight to the logit: the target's times the sum of all codes' over the root of the history's
    length; 0: none"""
    embedding_std: Annotated[float, Field(gt=0, le=1), AS_WRITTEN] = 0.01
    """standard deviation of the embeddings' start values"""
    dropout: Annotated[float, Field(ge=0, lt=1), AS_WRITTEN] = 0.1
    """dropout probability"""

    def width(self, fields: int) -> int:
        """Width D of a position with `fields` fields; raises an error if heads do not fit."""
        extra = self.positions + self.times
        width = self.embedding_dim * (fields + extra)
        if width % self.heads:
            names = [" and the position"] * self.positions + [" and the time"] * self.times
            raise ImpossibleNetworkError(
                f"{self.heads} heads do not divide the width {width} = embedding_dim "
                f"{self.embedding_dim} * {fields + extra} ({fields} fields{''.join(names)})"
            )
        return width
