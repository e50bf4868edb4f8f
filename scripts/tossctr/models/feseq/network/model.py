"""FESeq, the Feature-Interaction-Enhanced Sequential Transformer for click-through rates.

Yuan, Zhu, Li, Liu, Guo, Appl. Sci. 2024, 14(7), 2760, doi:10.3390/app14072760. A position is an
event of a row, or its target (the item shown). A field is a categorical column. Shapes:

    B  rows of a batch          P  profile fields         d  embedding size
    N  positions of all rows    G  target fields          D  width of a position, ModelConfig.width
    U  distinct positions       S  sequence fields (= G)  F  fields at a position, S + P
"""

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn

from ....batches.batch import Batch
from ....common.logits import log_odds
from ..network_settings import ModelConfig
from .history import DistanceEmbedding, EmbeddingTables, Interaction, PositionFields
from .input_layer import InputLayer, InputSizes, OovDropout
from .pooling import POOLINGS, full_precision
from .positions import PackedRows, PaddedRows
from .refiner import SequenceRefiner

# Rows m of the embedding table of times, as in the paper; times are clamped to m - 2.
TIME_BUCKETS = 4001


class FESeq(nn.Module):
    """The FESeq network, from batches to click logits."""

    def __init__(self, config: ModelConfig, sizes: InputSizes) -> None:
        super().__init__()
        fields, d = len(sizes.sequence) + len(sizes.profile), config.embedding_dim
        width, item_width = config.width(fields), len(sizes.target) * d
        self.oov_dropout = OovDropout(0 if config.oov_rate == "auto" else config.oov_rate, sizes)
        self.inputs = InputLayer(config, sizes)
        self.profile = EmbeddingTables(sizes.profile, d)
        self.history = PositionFields(sizes, d)
        self.interaction = Interaction(config.interaction, config.interaction_layers, fields, d)
        self.position = self.time = self.item = None
        if config.positions:  # target 0, newest event 1, ...
            self.position = DistanceEmbedding(config.max_len + 1, config.max_len, d)
        if config.times:
            self.time = DistanceEmbedding(TIME_BUCKETS, TIME_BUCKETS - 2, d)
        pooling = POOLINGS[config.pooling]
        self.refiner = SequenceRefiner(config, width, pooling.only_targets)
        if pooling.needs_item:
            # e_out (paper): the target item has its own table and interacting layers.
            depth, targets = config.item_interaction_layers, len(sizes.target)
            layers = Interaction(config.interaction, depth, targets, d)
            parts = {"tables": EmbeddingTables(sizes.target, d), "interaction": layers}
            self.item = nn.Sequential(OrderedDict(parts))
        self.pooling = pooling(config, width, item_width)
        # Starts at 0: at first, the output network ignores the layers over the history.
        pooled = self.pooling.out_width
        self.gate = nn.Parameter(torch.zeros(pooled)) if config.history_gate else None
        self.pooled_history = config.pooled_history
        outputs = len(sizes.profile) * d + self.inputs.out_width + pooled
        self.mlp = output_network(outputs + 3 * item_width * config.pooled_history, config)
        self.logit_shift = LogitShift()
        self.apply(partial(_init_weights, std=config.embedding_std))
        for vector in self.inputs.numeric_vectors():
            nn.init.normal_(vector, std=config.embedding_std)

    def forward(self, batch: Batch | PaddedRows) -> Tensor:
        """Logits [rows]."""
        batch = self.oov_dropout(batch)
        rows = PackedRows(batch) if isinstance(batch, Batch) else batch
        profile_BPd = self.profile(batch.profile_BP.T)
        fields_UX = self.interaction(self.history(rows, batch.target_BG, profile_BPd))
        vectors = [rows.distinct_to_positions(fields_UX)]
        if self.position is not None:
            vectors.append(self.position(rows.age_N))
        if self.time is not None:
            vectors.append(self.time(rows.elapsed_N))
        refined_ND = self.refiner(torch.cat(vectors, dim=-1), rows)  # [B, D] if only targets
        item_BE = self.item(batch.target_BG.T) if self.item is not None else None
        pooled_BU = self.pooling(refined_ND, rows, item_BE)
        if self.gate is not None:
            pooled_BU = pooled_BU * self.gate
        inputs_BX = self.inputs(batch.numbers, batch.context_BC)
        features = [profile_BPd.flatten(1), inputs_BX, pooled_BU]
        if self.pooled_history:
            features.append(self.history.target_and_history(rows, batch.target_BG))
        with full_precision(inputs_BX):
            logit_B1 = self.mlp(torch.cat(features, dim=1))
            return self.logit_shift(logit_B1.squeeze(1))

    @torch.no_grad()
    def init_output_bias(self, click_rate: float) -> None:
        """Set the output bias so that the untrained network predicts this click rate.

        With a bias of 0, the first thousand steps would mostly learn the low click rate.
        """
        bias = self.mlp[-1].get_parameter("bias")
        bias.fill_(log_odds(click_rate) - self.logit_shift.shift.item())

    @torch.no_grad()
    def set_logit_shift(self, shift: float) -> None:
        """Set the LogitShift, and change the output bias so that predictions stay the same."""
        self.mlp[-1].get_parameter("bias").add_(self.logit_shift.shift - shift)
        self.logit_shift.shift.fill_(shift)


class LogitShift(nn.Module):
    """Corrects predicted logits for negative sampling; does nothing in training.

    If negatives are drawn with probability p, the learned odds are 1 / p times too high. So `shift`
    is log p, and is added.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shift: Tensor
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, logit_B: Tensor) -> Tensor:
        """The corrected logits [rows]."""
        return logit_B if self.training else logit_B + self.shift


class LowRankCross(nn.Sequential):
    """A low-rank cross layer: x <- x * (U V^T x + b) + x (DCN-v2, Wang et al., WWW 2021, eq. 2)."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__(nn.Linear(width, rank, bias=False), nn.Linear(rank, width))

    def forward(self, x_BX: Tensor) -> Tensor:
        """From [rows, width] to [rows, width]."""
        return torch.addcmul(x_BX, x_BX, super().forward(x_BX))


def output_network(inputs: int, config: ModelConfig) -> nn.Sequential:
    """The last layers, from all features [rows, inputs] to the logit [rows, 1]."""
    layers: list[nn.Module] = []
    if config.mlp_cross_rank:
        layers += [LowRankCross(inputs, config.mlp_cross_rank)]
    for outputs in config.mlp:
        activation = nn.ReLU() if config.mlp_activation == "relu" else nn.LeakyReLU()
        layers += [nn.Linear(inputs, outputs), activation, nn.Dropout(config.dropout)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


@torch.no_grad()
def _init_weights(module: nn.Module, std: float) -> None:
    """Linear weights Xavier normal, biases 0; embeddings normal with `std`, padding 0."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=std)
        if module.padding_idx is not None:
            module.weight[module.padding_idx].zero_()
