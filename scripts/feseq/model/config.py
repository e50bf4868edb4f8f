"""What shapes a FESeq network."""

from dataclasses import dataclass

from torch import nn

from .interaction import INTERACTIONS
from .pooling import POOLINGS, SCORES

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}


@dataclass(frozen=True)
class FieldSizes:
    """Table sizes of the fields (padding included) and the number of numeric fields.

    `shared` tells of each sequence field whether it uses the table of its target field.
    """

    profile: tuple[int, ...]
    target: tuple[int, ...]
    sequence: tuple[int, ...]
    numeric: int
    shared: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.sequence or len(self.sequence) != len(self.target):
            raise ValueError(
                f"FESeq needs one target field per sequence field and at least one, got "
                f"{len(self.sequence)} sequence and {len(self.target)} target fields"
            )
        if not self.shared:
            object.__setattr__(self, "shared", (False,) * len(self.sequence))


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What shapes the network; the names and meaning of the config file's `model` keys."""

    max_len: int
    embedding_dim: int
    interaction: str
    interaction_layers: int
    transformer_layers: int
    heads: int
    causal: bool
    layer_norm: bool
    positions: bool
    times: bool
    time_buckets: int = 4001
    time_log_base: float | None = None
    pooling: str
    score: str = "bilinear"
    scaled_scores: bool = True
    item_interaction_layers: int = 1
    attention_dim: int = 128
    mlp: tuple[int, ...]
    mlp_activation: str
    dropout: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mlp", tuple(self.mlp))
        for name, value, allowed in (
            ("interaction", self.interaction, INTERACTIONS),
            ("pooling", self.pooling, POOLINGS),
            ("score", self.score, tuple(SCORES)),
            ("mlp_activation", self.mlp_activation, ACTIVATIONS),
        ):
            if value not in allowed:
                raise ValueError(f"model.{name} {value!r} is none of {', '.join(allowed)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout {self.dropout} is not in [0, 1)")

    def width(self, fields: int) -> int:
        """Width D of a position with `fields` fields; raises ValueError if heads do not fit."""
        extra = self.positions + self.times
        width = self.embedding_dim * (fields + extra)
        if width % self.heads:
            names = [" + 1 position"] * self.positions + [" + 1 time"] * self.times
            raise ValueError(
                f"width {width} = embedding_dim {self.embedding_dim} * ({fields} fields"
                f"{''.join(names)}) is not a multiple of {self.heads} heads"
            )
        return width
