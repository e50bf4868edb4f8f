"""FESeq as it is published, written plainly: the other side of every ratio, and a test's reference.

Rows padded to max_len; nn.MultiheadAttention with its default need_weights and a mask of shape
[B * H, L, L]; the interacting layer at every position; float32; one loss read per step. Cross
network and mean pooling, the settings of the briefing.
"""

import torch
from torch import Tensor, nn

from feseq.config.model import ModelConfig
from feseq.dataset.batch import Batch
from feseq.model import FESeq, FieldSizes


class PlainFESeq(nn.Module):
    """The same function as `FESeq` with these settings."""

    def __init__(self, config: ModelConfig, sizes: FieldSizes) -> None:
        super().__init__()
        assert (config.interaction, config.pooling) == ("crossnetv2", "mean")
        fields, d = len(sizes.sequence) + len(sizes.profile), config.embedding_dim
        self.config = config
        self.profile = nn.ModuleList(nn.Embedding(size, d) for size in sizes.profile)
        self.numeric = nn.Parameter(torch.zeros(sizes.numeric, d))
        self.sequence = nn.ModuleList(
            nn.Embedding(size, d, padding_idx=0) for size in sizes.sequence
        )
        self.target = nn.ModuleList(nn.Embedding(size, d) for size in sizes.target)
        self.cross = nn.ModuleList(
            nn.Linear(fields * d, fields * d) for _ in range(config.interaction_layers)
        )
        self.position = nn.Embedding(config.max_len + 1, d)
        width = config.width(fields)
        self.layers = nn.ModuleList(
            PlainLayer(config, width) for _ in range(config.transformer_layers)
        )
        inputs = len(sizes.profile) * d + sizes.numeric * d + width
        mlp: list[nn.Module] = []
        for outputs in config.mlp:
            mlp += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(config.dropout)]
            inputs = outputs
        self.mlp = nn.Sequential(*mlp, nn.Linear(inputs, 1))

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B]."""
        rows, length = len(batch), self.config.max_len + 1
        device, length_B = batch.offsets.device, batch.offsets.diff()
        column_H = torch.arange(length - 1, device=device)
        is_event_BH = column_H >= length - 1 - length_B[:, None]
        codes_SBL = batch.history_ST.new_zeros(len(self.sequence), rows, length - 1)
        codes_SBL[:, is_event_BH] = batch.history_ST
        is_pad_BL = nn.functional.pad(~is_event_BH, (0, 1), value=False)
        profile = [table(batch.profile_BP[:, i]) for i, table in enumerate(self.profile)]
        behaviour = [
            torch.cat([history(codes), target(batch.target_BG[:, i])[:, None]], dim=1)
            for i, (history, target, codes) in enumerate(zip(self.sequence, self.target, codes_SBL))
        ]
        repeated = [vector[:, None].expand(-1, length, -1) for vector in profile]
        x0 = x = torch.cat([*behaviour, *repeated], dim=2)
        for layer in self.cross:
            x = x0 * layer(x) + x
        position_L = torch.arange(length - 1, -1, -1, device=device)
        x = torch.cat([x, self.position(position_L).expand(rows, -1, -1)], dim=2)
        for layer in self.layers:
            x = layer(x, self._mask(is_pad_BL))
        weight_BL = (~is_pad_BL).float()
        pooled = (x * weight_BL[..., None]).sum(1) / weight_BL.sum(1, keepdim=True)
        numeric = (batch.numbers["minmax"][..., None] * self.numeric).flatten(1)
        return self.mlp(torch.cat([*profile, numeric, pooled], dim=1)).squeeze(1)

    def _mask(self, is_pad_BL: Tensor) -> Tensor:
        """True where a query may not look [B * H, L, L]; a position always may at itself."""
        length = is_pad_BL.shape[1]
        hidden_BLL = is_pad_BL[:, None, :].repeat(1, length, 1)
        if self.config.causal:
            hidden_BLL |= is_pad_BL.new_ones(length, length).triu(1)
        hidden_BLL &= is_pad_BL.new_ones(length).diag().logical_not()
        return hidden_BLL.repeat_interleave(self.config.heads, dim=0)

    def take_weights(self, model: FESeq) -> None:
        """Copy the weights of `model`, so that both are the same function."""
        theirs = dict(model.state_dict())
        # 0 with the settings of the briefing.
        theirs.pop("taken_back.logit", None)
        names = {
            "front.kinds.linear.vector": "numeric",
            "history.": "",
            "interaction.layers.": "cross.",
            "position.table.": "position.",
        }
        names |= {"refiner.": "", "attention.project_in.": "attention.in_proj_"}
        names |= {"attention.project_out.": "attention.out_proj."}
        renamed = {}
        for name, value in theirs.items():
            for old, new in names.items():
                name = name.replace(old, new)
            renamed[name] = value
        self.load_state_dict(renamed)


class PlainLayer(nn.Module):
    """Transformer layer, post-norm."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.norm_1 = nn.LayerNorm(width) if config.layer_norm else nn.Identity()
        self.norm_2 = nn.LayerNorm(width) if config.layer_norm else nn.Identity()

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """[B, L, D] to the same shape."""
        attended, _ = self.attention(x, x, x, attn_mask=hidden)
        x = self.norm_1(x + self.dropout(attended))
        return self.norm_2(x + self.dropout(self.feed_forward(x)))
