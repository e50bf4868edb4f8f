"""FESeq, the Feature-Interaction-Enhanced Sequential Transformer for click-through rates.

Yuan, Zhu, Li, Liu, Guo, Appl. Sci. 2024, 14(7), 2760, doi:10.3390/app14072760. Shapes:

    B  rows of a batch          P  profile fields         d  embedding size
    N  positions of all rows    G  target fields          D  width of a position, d * (F + 1 or 2)
    T  events of all rows       S  sequence fields (= G)  F  fields at a position, S + P
    U  distinct positions
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....batches.batch import Batch
from ....common.logits import log_odds
from ..network_settings import ModelConfig
from .dropout import Dropout, UnknownDraws
from .history import Crossing, HistoryEmbedding, PositionEmbedding, TimeEmbedding
from .input_layer import InputLayer
from .interaction import Interaction
from .pooling import POOLINGS, full_precision
from .refiner import SequenceRefiner
from .sizes import FieldSizes

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}


class FESeq(nn.Module):
    """Click logits of a batch. Knows no optimizer, device, path or metric."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        fields, d = len(sizes.sequence) + len(sizes.profile), config.embedding_dim
        width = config.width(fields)
        self.embedding_dim = d
        self.unknown = UnknownDraws(0 if config.unknown_share == "auto" else config.unknown_share)
        self.inputs = InputLayer(config, sizes)
        self.profile = nn.ModuleList(nn.Embedding(size, d) for size in sizes.profile)
        self.history = HistoryEmbedding(sizes, d)
        self.interaction = Interaction(config.interaction, config.interaction_layers, fields, d)
        self.position = PositionEmbedding(config.max_len, d) if config.positions else None
        self.time = TimeEmbedding(d) if config.times else None
        self.refiner = SequenceRefiner(config, width)
        pooling = POOLINGS[config.pooling]
        self.item = ItemEmbedding(config, sizes) if pooling.needs_item else None
        self.pooling = pooling(config, width, len(sizes.target) * d)
        self.shortcuts = config.shortcuts
        self.crossing = Crossing(sizes, config.crossing) if config.crossing else None
        outputs = len(sizes.profile) * d + self.inputs.out_width + self.pooling.out_width
        outputs += 3 * len(sizes.target) * d * self.shortcuts
        self.mlp = OutputNetwork(outputs, config)
        self.observed_odds = ObservedOdds()
        self.apply(partial(_start_values, std=config.embedding_std))
        self.inputs.start_values(config.embedding_std)
        if self.crossing is not None:
            self.crossing.start_values()

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B] of one batch."""
        batch = self.unknown(batch)
        profile_BPd = self.embed_profile(batch.profile_BP)
        fields_UFd = self.interaction(self.history(batch, profile_BPd))
        vectors = [F.embedding(batch.layout.place_N, fields_UFd.flatten(1))]
        if self.position is not None:
            vectors.append(self.position(batch.layout))
        if self.time is not None:
            vectors.append(self.time(batch))
        refined_ND = self.refiner(torch.cat(vectors, dim=1), batch.layout)
        item_BE = self.item(batch.target_BG) if self.item is not None else None
        pooled_BU = self.pooling(refined_ND, batch.layout, item_BE)
        features = [profile_BPd.flatten(1), self.inputs(batch), pooled_BU]
        if self.shortcuts:
            features.append(self.history.shortcuts(batch))
        if self.crossing is not None:
            features.append(self.crossing(batch))
        return self.output(features)

    def output(self, features: list[Tensor]) -> Tensor:
        """Logits [B] from what stands for whole rows, in full precision."""
        with full_precision(features[0]):
            return self.observed_odds(self.mlp(torch.cat(features, dim=1)).squeeze(1))

    @torch.no_grad()
    def start_at(self, click_rate: float) -> None:
        """Let the untrained network predict this click rate, after the correction of its odds.

        From 0, all vectors would learn a low rate in the first thousand steps.
        """
        bias = self.mlp[-1].get_parameter("bias")
        bias.fill_(log_odds(click_rate) - self.observed_odds.shift.item())

    @torch.no_grad()
    def go_on_with(self, shift: float) -> None:
        """Take another correction of odds, for rows drawn at another share; predictions stay."""
        self.mlp[-1].get_parameter("bias").add_(self.observed_odds.shift - shift)
        self.observed_odds.shift.fill_(shift)

    def embed_profile(self, profile_BP: Tensor) -> Tensor:
        """[B, P, d]."""
        if not self.profile:
            return next(self.mlp.parameters()).new_zeros(len(profile_BP), 0, self.embedding_dim)
        tables = enumerate(self.profile)
        return torch.stack([t(profile_BP[:, i]) for i, t in tables], 1)


class ObservedOdds(nn.Module):
    """Outside training, corrects the odds for train rows that were drawn.

    Where rows without a click are drawn with probability p, the odds that a network learns are
    1 / p times too high; `shift` is log p.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shift: Tensor
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, logit_B: Tensor) -> Tensor:
        """[B]."""
        return logit_B if self.training else logit_B + self.shift


class ItemEmbedding(nn.Module):
    """e_out: a table of its own for the target item, refined by item interaction layers."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        d = config.embedding_dim
        self.tables = nn.ModuleList(nn.Embedding(size, d) for size in sizes.target)
        self.interaction = Interaction(
            config.interaction, config.item_interaction_layers, len(sizes.target), d
        )

    def forward(self, target_BG: Tensor) -> Tensor:
        item_BGd = torch.stack([t(target_BG[:, i]) for i, t in enumerate(self.tables)], dim=1)
        return self.interaction(item_BGd).flatten(1)


class LowRankCross(nn.Sequential):
    """A low-rank cross layer of DCN-v2: x <- x * (U V^T x + b) + x (Wang et al., WWW 2021, eq. 2).

    The first of its layers, where x0 is x. Its output holds products of two inputs.
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__(nn.Linear(width, rank, bias=False), nn.Linear(rank, width))

    def forward(self, x_BX: Tensor) -> Tensor:
        """[B, width]."""
        return torch.addcmul(x_BX, x_BX, super().forward(x_BX))


class OutputNetwork(nn.Sequential):
    """Layers over all features, but for the crossing's, the last one: it is added to the logit."""

    def __init__(self, inputs: int, config: ModelConfig) -> None:
        layers: list[nn.Module] = []
        if config.mlp_cross_rank:
            layers += [LowRankCross(inputs, config.mlp_cross_rank)]
        for outputs in config.mlp:
            layers += [nn.Linear(inputs, outputs), _ACTIVATIONS[config.mlp_activation]()]
            layers += [Dropout(config.dropout)]
            inputs = outputs
        super().__init__(*layers, nn.Linear(inputs, 1))
        self.has_crossing = config.crossing > 0

    def forward(self, x_BX: Tensor) -> Tensor:
        """[B, 1]."""
        if not self.has_crossing:
            return super().forward(x_BX)
        return super().forward(x_BX[:, :-1]) + x_BX[:, -1:]


def _start_values(module: nn.Module, std: float) -> None:
    """Linear layers Xavier normal, biases 0; embeddings normal with sigma = std, padding 0."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=std)
        if module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
