"""FESeq once more, as plain loops over the equations of the paper, one row at a time, unpadded."""

import math

import torch
from torch import Tensor

from feseq.batches import Batch
from feseq.model import FESeq, ModelConfig


def reference_logits(model: FESeq, config: ModelConfig, batch: Batch) -> Tensor:
    """Logits [B] without dropout, from the weights of `model`."""
    weights = dict(model.named_parameters())
    rows = range(len(batch.offsets) - 1)
    return torch.stack([_logit(weights, config, batch, row) for row in rows])


def _logit(w: dict[str, Tensor], config: ModelConfig, batch: Batch, row: int) -> Tensor:
    profile = [
        w[f"profile.{i}.weight"][code] for i, code in enumerate(batch.profile_BP[row].tolist())
    ]
    start, stop = batch.offsets[row], batch.offsets[row + 1]
    behaviour_fields = batch.history_ST[:, start:stop].T.tolist()
    positions = [
        [w[f"history.sequence.{s}.weight"][code] for s, code in enumerate(event)]
        for event in behaviour_fields
    ]
    target = batch.target_BG[row].tolist()
    positions.append([w[f"history.target.{g}.weight"][code] for g, code in enumerate(target)])
    x = []
    for age, behaviour in zip(range(len(positions) - 1, -1, -1), positions):
        fields = _interact(w, config, "interaction", behaviour + profile, config.interaction_layers)
        if config.positions:
            fields.append(w["position.table.weight"][age])
        x.append(torch.cat(fields))
    for layer in range(config.transformer_layers):
        x = _transformer(w, config, f"refiner.layers.{layer}", x)
    pooled = _pool(w, config, x, target)
    numeric = [batch.numeric_BN[row, n] * w["numeric"][n] for n in range(len(w["numeric"]))]
    hidden = torch.cat([*profile, *numeric, pooled])
    for layer in range(len(config.mlp)):
        hidden = w[f"mlp.{3 * layer}.weight"] @ hidden + w[f"mlp.{3 * layer}.bias"]
        slope = 0.01 if config.mlp_activation == "leaky_relu" else 0.0
        hidden = torch.where(hidden > 0, hidden, slope * hidden)
    last = 3 * len(config.mlp)
    return (w[f"mlp.{last}.weight"] @ hidden + w[f"mlp.{last}.bias"])[0]


def _interact(
    w: dict[str, Tensor], config: ModelConfig, name: str, fields: list[Tensor], layers: int
) -> list[Tensor]:
    d = config.embedding_dim
    if config.interaction == "crossnetv2":
        x0 = x = torch.cat(fields)
        for i in range(layers):
            x = x0 * (w[f"{name}.layers.{i}.weight"] @ x + w[f"{name}.layers.{i}.bias"]) + x
        return list(x.split(d))
    for i in range(layers):
        query, key, value = (
            [w[f"{name}.{i}.{part}.weight"] @ field for field in fields]
            for part in ("query", "key", "value")
        )
        mixed = []
        for field, q in zip(fields, query):
            alpha = torch.stack([q @ k / math.sqrt(d) for k in key]).softmax(0)
            mixed.append(torch.relu(sum(a * v for a, v in zip(alpha, value)) + field))
        fields = mixed
    return list(fields)


def _transformer(
    w: dict[str, Tensor], config: ModelConfig, name: str, x: list[Tensor]
) -> list[Tensor]:
    width = len(x[0])
    size = width // config.heads
    weight, bias = w[f"{name}.attention.project_in.weight"], w[f"{name}.attention.project_in.bias"]
    query, key, value = (
        [weight[i * width : (i + 1) * width] @ p + bias[i * width : (i + 1) * width] for p in x]
        for i in range(3)
    )
    out = []
    for t, position in enumerate(x):
        visible = range(t + 1) if config.causal else range(len(x))
        heads = []
        for h in range(config.heads):
            part = slice(h * size, (h + 1) * size)
            score = [query[t][part] @ key[s][part] / math.sqrt(size) for s in visible]
            alpha = torch.stack(score).softmax(0)
            heads.append(sum(a * value[s][part] for a, s in zip(alpha, visible)))
        attended = (
            w[f"{name}.attention.project_out.weight"] @ torch.cat(heads)
            + w[f"{name}.attention.project_out.bias"]
        )
        s = _norm(w, config, f"{name}.norm_1", position + attended)
        inner = w[f"{name}.feed_forward.0.weight"] @ s + w[f"{name}.feed_forward.0.bias"]
        inner = torch.where(inner > 0, inner, 0.01 * inner)
        outer = w[f"{name}.feed_forward.2.weight"] @ inner + w[f"{name}.feed_forward.2.bias"]
        out.append(_norm(w, config, f"{name}.norm_2", s + outer))
    return out


def _norm(w: dict[str, Tensor], config: ModelConfig, name: str, x: Tensor) -> Tensor:
    if not config.layer_norm:
        return x
    centred = x - x.mean()
    scaled = centred / (centred.square().mean() + 1e-5).sqrt()
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def _pool(w: dict[str, Tensor], config: ModelConfig, x: list[Tensor], target: list[int]) -> Tensor:
    if config.pooling == "mean":
        return sum(x) / len(x)
    if config.pooling == "target":
        return x[-1]
    item = [w[f"item.tables.{g}.weight"][code] for g, code in enumerate(target)]
    e_out = torch.cat(
        _interact(w, config, "item.interaction", item, config.item_interaction_layers)
    )

    def project(part: str, vector: Tensor) -> Tensor:
        projected = w[f"pooling.{part}.0.weight"] @ vector
        return torch.where(projected > 0, projected, w[f"pooling.{part}.1.weight"] * projected)

    query = project("query", e_out) @ w["pooling.bilinear"]
    score = [query @ project("key", p) / math.sqrt(config.attention_dim) for p in x]
    alpha = torch.stack(score).softmax(0)
    u = sum(a * project("value", p) for a, p in zip(alpha, x))
    u = w["pooling.out.0.weight"] @ u + w["pooling.out.0.bias"]
    return torch.where(u > 0, u, w["pooling.out.1.weight"] * u)
