"""Sequence refiner: Transformer layers over the positions of a history (FESEQ section 3).

N positions of all rows, each row's history and target, without padding; D width, H heads. `padded`
is the same function of B rows left-padded to L positions.
"""

from torch import Tensor, nn

from ....batches.layout import Layout
from ..network_settings import ModelConfig
from .attention import SelfAttention
from .dropout import Dropout


class TransformerLayer(nn.Module):
    """Post-norm: S = Norm(x + Drop(MH(x))), out = Norm(S + Drop(W2 LeakyReLU(W1 S)))."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, config.heads, config.causal)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width)
        )
        self.dropout = Dropout(config.dropout)
        self.norm_1 = nn.LayerNorm(width) if config.layer_norm else nn.Identity()
        self.norm_2 = nn.LayerNorm(width) if config.layer_norm else nn.Identity()

    def forward(self, x_ND: Tensor, layout: Layout) -> Tensor:
        """[N, D]."""
        return self._after_attention(x_ND, self.attention(x_ND, layout))

    def padded(self, x_BLD: Tensor, is_position_BL: Tensor) -> Tensor:
        """The same of left-padded rows [B, L, D]."""
        return self._after_attention(x_BLD, self.attention.padded(x_BLD, is_position_BL))

    def _after_attention(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self.norm_1(x + self.dropout(attended))
        return self.norm_2(x + self.dropout(self.feed_forward(x)))


class SequenceRefiner(nn.Module):
    """The Transformer layers, one after the other."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        layers = (TransformerLayer(config, width) for _ in range(config.transformer_layers))
        self.layers = nn.ModuleList(layers)

    def forward(self, x_ND: Tensor, layout: Layout) -> Tensor:
        for layer in self.layers:
            x_ND = layer(x_ND, layout)
        return x_ND

    def padded(self, x_BLD: Tensor, is_position_BL: Tensor) -> Tensor:
        """The same of left-padded rows [B, L, D]."""
        for layer in self.layers:
            assert isinstance(layer, TransformerLayer)
            x_BLD = layer.padded(x_BLD, is_position_BL)
        return x_BLD
