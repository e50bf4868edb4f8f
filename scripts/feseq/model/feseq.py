"""FESeq, the Feature-Interaction-Enhanced Sequential Transformer for click-through rates.

Yuan, Zhu, Li, Liu, Guo, Appl. Sci. 2024, 14(7), 2760, doi:10.3390/app14072760. Shapes:

    B  rows of a batch          P  profile fields         d  embedding size
    L  history + target         G  target fields          D  width of a position, d * (F + 1)
    S  sequence fields (= G)    N  numeric fields         F  fields at a position, S + P
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..batches import Batch
from .interaction import INTERACTIONS
from .pooling import POOLINGS, MeanPooling, TargetPooling, WeightedSumPooling
from .refiner import SequenceRefiner

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}


@dataclass(frozen=True)
class FieldSizes:
    """Table sizes of the fields (padding included) and the number of numeric fields."""

    profile: tuple[int, ...]
    target: tuple[int, ...]
    sequence: tuple[int, ...]
    numeric: int

    def __post_init__(self) -> None:
        if not self.sequence or len(self.sequence) != len(self.target):
            raise ValueError(
                f"FESeq needs one target field per sequence field and at least one, got "
                f"{len(self.sequence)} sequence and {len(self.target)} target fields"
            )


@dataclass(frozen=True)
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
    pooling: str
    item_interaction_layers: int
    attention_dim: int
    mlp: tuple[int, ...]
    mlp_activation: str
    dropout: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mlp", tuple(self.mlp))
        for name, value, allowed in (
            ("interaction", self.interaction, INTERACTIONS),
            ("pooling", self.pooling, POOLINGS),
            ("mlp_activation", self.mlp_activation, ACTIVATIONS),
        ):
            if value not in allowed:
                raise ValueError(f"model.{name} {value!r} is none of {', '.join(allowed)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout {self.dropout} is not in [0, 1)")

    def width(self, fields: int) -> int:
        """Width D of a position with `fields` fields; raises ValueError if heads do not fit."""
        width = self.embedding_dim * (fields + self.positions)
        if width % self.heads:
            raise ValueError(
                f"width {width} = embedding_dim {self.embedding_dim} * ({fields} fields"
                f"{' + 1 position' if self.positions else ''}) is not a multiple of "
                f"{self.heads} heads"
            )
        return width


class HistoryEmbedding(nn.Module):
    """Fields of every position: the history's codes, then the target, each with the profile.

    Histories are packed, one after the other, and are padded here, in front, so that the newest
    event and the target stand in the same columns in every row:

        offsets [0, 2, 2, 3], codes [a, b, c]      a  b  t0
                                                   .  .  t1    (an empty history)
                                                   .  c  t2
    """

    def __init__(self, sizes: FieldSizes, embedding_dim: int) -> None:
        super().__init__()
        self.sequence = nn.ModuleList(
            nn.Embedding(size, embedding_dim, padding_idx=0) for size in sizes.sequence
        )
        self.target = nn.ModuleList(nn.Embedding(size, embedding_dim) for size in sizes.target)

    def forward(self, batch: Batch, profile_BPd: Tensor) -> tuple[Tensor, Tensor | None]:
        """Fields [B, L, F, d], and True at padded positions [B, L] or None if there are none."""
        codes_SBL, is_pad_BL = pad_in_front(batch.history_ST, batch.offsets)
        position_fields = []
        for field, (history_table, target_table) in enumerate(zip(self.sequence, self.target)):
            history_BLd = history_table(codes_SBL[field])
            target_Bd = target_table(batch.target_BG[:, field])
            position_fields.append(torch.cat([history_BLd, target_Bd[:, None]], dim=1))
        behaviour_BLSd = torch.stack(position_fields, dim=2)
        repeated_BLPd = profile_BPd[:, None].expand(-1, behaviour_BLSd.shape[1], -1, -1)
        return torch.cat([behaviour_BLSd, repeated_BLPd], dim=2), is_pad_BL


def pad_in_front(history_ST: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor | None]:
    """Packed codes [S, T] to padded codes [S, B, L-1], and the padding mask [B, L] with target."""
    length_B = offsets.diff()
    rows, longest = len(length_B), int(length_B.max()) if len(length_B) else 0
    column_L = torch.arange(longest, device=offsets.device)
    is_event_BL = column_L >= longest - length_B[:, None]
    codes_SBL = history_ST.new_zeros(history_ST.shape[0], rows, longest)
    codes_SBL[:, is_event_BL] = history_ST
    if len(history_ST[0]) == rows * longest:
        return codes_SBL, None
    return codes_SBL, nn.functional.pad(~is_event_BL, (0, 1), value=False)


class PositionEmbedding(nn.Module):
    """Concatenates a learned embedding of the distance to the target (target 0, newest 1, ...)."""

    def __init__(self, max_len: int, embedding_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max_len + 1, embedding_dim)

    def forward(self, x_BLD: Tensor) -> Tensor:
        length = x_BLD.shape[1]
        position_Ld = self.table.weight[:length].flip(0)
        return torch.cat([x_BLD, position_Ld.expand(len(x_BLD), -1, -1)], dim=2)


class FESeq(nn.Module):
    """Click logits of a batch. Knows no optimizer, device, path or metric."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        fields, d = len(sizes.sequence) + len(sizes.profile), config.embedding_dim
        width = config.width(fields)
        interact = INTERACTIONS[config.interaction]
        self.profile = nn.ModuleList(nn.Embedding(size, d) for size in sizes.profile)
        self.numeric = nn.Parameter(torch.empty(sizes.numeric, d))
        self.history = HistoryEmbedding(sizes, d)
        self.interaction = interact(config.interaction_layers, fields, d)
        self.position = PositionEmbedding(config.max_len, d) if config.positions else nn.Identity()
        self.refiner = SequenceRefiner(
            config.transformer_layers,
            width,
            config.heads,
            config.causal,
            config.layer_norm,
            config.dropout,
        )
        self.item = ItemEmbedding(config, sizes) if config.pooling == "weighted_sum" else None
        self.pooling = _pooling(config, width, len(sizes.target) * d)
        outputs = len(sizes.profile) * d + sizes.numeric * d + self.pooling.out_width
        self.mlp = _mlp(outputs, config)
        self.apply(_start_values)
        nn.init.normal_(self.numeric, std=1e-4)

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B] of one batch."""
        profile_BPd = self._embed_profile(batch.profile_BP)
        fields_BLFd, is_pad_BL = self.history(batch, profile_BPd)
        x_BLD = self.position(self.interaction(fields_BLFd).flatten(2))
        refined_BLD = self.refiner(x_BLD, is_pad_BL)
        item_BE = self.item(batch.target_BG) if self.item is not None else None
        pooled_BU = self.pooling(refined_BLD, is_pad_BL, item_BE)
        numeric_BNd = batch.numeric_BN[..., None] * self.numeric
        features = [profile_BPd.flatten(1), numeric_BNd.flatten(1), pooled_BU]
        return self.mlp(torch.cat(features, dim=1)).squeeze(1)

    def _embed_profile(self, profile_BP: Tensor) -> Tensor:
        if not self.profile:
            return self.numeric.new_zeros(len(profile_BP), 0, self.numeric.shape[1])
        return torch.stack([table(profile_BP[:, i]) for i, table in enumerate(self.profile)], 1)


class ItemEmbedding(nn.Module):
    """e_out: a table of its own for the target item, refined by item interaction layers."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        d = config.embedding_dim
        self.tables = nn.ModuleList(nn.Embedding(size, d) for size in sizes.target)
        interact = INTERACTIONS[config.interaction]
        self.interaction = interact(config.item_interaction_layers, len(sizes.target), d)

    def forward(self, target_BG: Tensor) -> Tensor:
        item_BGd = torch.stack([t(target_BG[:, i]) for i, t in enumerate(self.tables)], dim=1)
        return self.interaction(item_BGd).flatten(1)


def _pooling(
    config: ModelConfig, width: int, item_width: int
) -> MeanPooling | TargetPooling | WeightedSumPooling:
    if config.pooling == "mean":
        return MeanPooling(width)
    if config.pooling == "target":
        return TargetPooling(width)
    return WeightedSumPooling(width, item_width, config.attention_dim, config.dropout)


def _mlp(inputs: int, config: ModelConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for outputs in config.mlp:
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[config.mlp_activation]()]
        layers += [nn.Dropout(config.dropout)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


def _start_values(module: nn.Module) -> None:
    """Linear layers Xavier normal, biases 0; embeddings normal with sigma = 1e-4, padding 0."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=1e-4)
        if module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
