"""FESeq once more, as plain loops over the equations of the paper, one row at a time, unpadded."""

import math

import torch
from torch import Tensor

from feseq.config.model import ModelConfig
from feseq.dataset.batch import Batch
from feseq.model import FESeq


def reference_logits(
    model: FESeq, config: ModelConfig, batch: Batch, context: tuple[int, ...] = ()
) -> Tensor:
    """Logits [B] without dropout, from the weights of `model`; `context`: sizes of its tables."""
    weights = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
    rows = range(len(batch.offsets) - 1)
    return torch.stack([_logit(weights, config, batch, row, context) for row in rows])


def _logit(
    w: dict[str, Tensor], config: ModelConfig, batch: Batch, row: int, context: tuple[int, ...]
) -> Tensor:
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
    elapsed = [0] * len(positions)
    if batch.elapsed_T is not None:
        elapsed = [*batch.elapsed_T[start:stop].tolist(), 0]
    x = []
    for age, behaviour, seconds in zip(range(len(positions) - 1, -1, -1), positions, elapsed):
        fields = _interact(w, config, "interaction", behaviour + profile, config.interaction_layers)
        if config.positions:
            fields.append(w["position.table.weight"][age])
        if config.times:
            base = config.time_log_base
            bucket = seconds if base is None else math.floor(math.log(seconds + 1, base) + 1e-12)
            fields.append(w["time.table.weight"][min(bucket, config.time_buckets - 2)])
        x.append(torch.cat(fields))
    for layer in range(config.transformer_layers):
        x = _transformer(w, config, f"refiner.layers.{layer}", x)
    pooled = _pool(w, config, x, target)
    hidden = torch.cat([*profile, *_front(w, config, batch, row, context), pooled])
    if config.shortcuts:
        item = torch.cat([w[f"history.target.{g}.weight"][code] for g, code in enumerate(target)])
        total = torch.zeros_like(item)
        for event in behaviour_fields:
            vectors = [w[f"history.sequence.{s}.weight"][code] for s, code in enumerate(event)]
            total = total + torch.cat(vectors) / math.sqrt(len(behaviour_fields))
        hidden = torch.cat([hidden, item, total, item * total])
    if config.mlp_cross_rank:
        full_rank = w["mlp.0.1.weight"] @ w["mlp.0.0.weight"]
        hidden = hidden * (full_rank @ hidden + w["mlp.0.1.bias"]) + hidden
    first = 1 if config.mlp_cross_rank else 0
    for number in range(first, first + 3 * len(config.mlp), 3):
        hidden = w[f"mlp.{number}.weight"] @ hidden + w[f"mlp.{number}.bias"]
        slope = 0.01 if config.mlp_activation == "leaky_relu" else 0.0
        hidden = torch.where(hidden > 0, hidden, slope * hidden)
    last = first + 3 * len(config.mlp)
    logit = (w[f"mlp.{last}.weight"] @ hidden + w[f"mlp.{last}.bias"])[0]
    if config.crossing:
        for event in behaviour_fields:
            for g, code in enumerate(event):
                wanted = w[f"crossing.target.{g}"][target[g]]
                product = wanted @ w[f"crossing.event.{g}.weight"][code]
                logit = logit + product / math.sqrt(len(behaviour_fields))
    return logit


def _front(
    w: dict[str, Tensor], config: ModelConfig, batch: Batch, row: int, context: tuple[int, ...]
) -> list[Tensor]:
    parts = []
    for kind in config.numerics:
        numbers = batch.numbers["bucket" if kind == "buckets" else config.scaling][row]
        for n, x in enumerate(numbers):
            if kind == "linear":
                parts.append(x * w["front.kinds.linear.vector"][n])
            elif kind == "direct":
                parts.append(x[None])
            else:
                parts.append(w["front.kinds.buckets.table.weight"][n * 21 + int(x)])
    if config.missing_flags:
        parts.append(batch.numbers["missing"][row])
    first = 0
    for code, size in zip(batch.context_BC[row].tolist(), context):
        parts.append(w["front.kinds.context.table.weight"][first + code])
        first += size
    return parts


def _interact(
    w: dict[str, Tensor], config: ModelConfig, name: str, fields: list[Tensor], layers: int
) -> list[Tensor]:
    d = config.embedding_dim
    x0 = torch.cat(fields)
    for i in range(layers):
        layer = {
            key.removeprefix(f"{name}.layers.{i}."): value
            for key, value in w.items()
            if key.startswith(f"{name}.layers.{i}.")
        }
        if config.interaction in ("autoint", "destine"):
            fields = _interact_fields(layer, config.interaction, fields)
            continue
        x = torch.cat(fields)
        if config.interaction == "crossnet":
            x = x0 * (layer["weight.weight"][0] @ x) + layer["bias"] + x
        elif config.interaction == "crossnetv2":
            x = x0 * (layer["weight"] @ x + layer["bias"]) + x
        elif config.interaction == "final":
            h2, h1 = (layer["weight"] @ x + layer["bias"]).split(len(x))
            x = (h2 + h1 * h2).relu()
        else:
            share = (layer["gate.weight"] @ x).softmax(0)
            rank = len(layer["core"][0])
            expert = []
            for e, core in enumerate(layer["core"]):
                part = slice(e * rank, (e + 1) * rank)
                low = (core @ (layer["down.weight"][part] @ x).tanh()).tanh()
                expert.append(x0 * (layer["up.weight"][:, part] @ low + layer["bias"]))
            x = sum(s * out for s, out in zip(share, expert)) + x
        fields = list(x.split(d))
    return list(fields)


def _interact_fields(layer: dict[str, Tensor], kind: str, fields: list[Tensor]) -> list[Tensor]:
    query, key, value = (
        [layer[f"{part}.weight"] @ field for field in fields] for part in ("query", "key", "value")
    )
    root = math.sqrt(len(fields[0]))
    if kind == "autoint":
        mixed = []
        for field, q in zip(fields, query):
            alpha = torch.stack([q @ k / root for k in key]).softmax(0)
            mixed.append(torch.relu(sum(a * v for a, v in zip(alpha, value)) + field))
        return mixed
    mean_query, mean_key = sum(query) / len(query), sum(key) / len(key)
    unary = torch.stack([layer["unary.weight"][0] @ field for field in fields]).softmax(0)
    mixed = []
    for field, q in zip(fields, query):
        score = [(q - mean_query) @ (k - mean_key) / root for k in key]
        alpha = torch.stack(score).softmax(0) + unary
        residual = layer["residual.weight"] @ field + layer["residual.bias"]
        mixed.append(sum(a * v for a, v in zip(alpha, value)) + residual)
    return mixed


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
    if config.pooling == "sum":
        return sum(x)
    if config.pooling == "target":
        return x[-1]
    if config.pooling == "concat":
        return torch.cat([torch.zeros_like(x[0])] * (config.max_len + 1 - len(x)) + x)
    item = [w[f"item.tables.{g}.weight"][code] for g, code in enumerate(target)]
    e_out = torch.cat(
        _interact(w, config, "item.interaction", item, config.item_interaction_layers)
    )

    def project(part: str, vector: Tensor) -> Tensor:
        projected = w[f"pooling.{part}.0.weight"] @ vector
        return torch.where(projected > 0, projected, w[f"pooling.{part}.1.weight"] * projected)

    query, root = project("query", e_out), math.sqrt(config.attention_dim)
    score = [_score(w, config, query, project("key", p)) for p in x]
    if config.scaled_scores and config.score != "din":
        score = [s / root for s in score]
    alpha = torch.stack(score).softmax(0)
    u = sum(a * project("value", p) for a, p in zip(alpha, x))
    u = w["pooling.out.0.weight"] @ u + w["pooling.out.0.bias"]
    return torch.where(u > 0, u, w["pooling.out.1.weight"] * u)


def _score(w: dict[str, Tensor], config: ModelConfig, query: Tensor, key: Tensor) -> Tensor:
    if config.score == "dot":
        return query @ key
    if config.score == "bilinear":
        return query @ w["pooling.score.bilinear"] @ key
    hidden = torch.cat([query, key, query - key, query * key])
    for layer in range(3):
        name = f"pooling.score.mlp.{3 * layer}"
        hidden = w[f"{name}.weight"] @ hidden + w[f"{name}.bias"]
        dice = f"pooling.score.mlp.{3 * layer + 1}"
        mean, variance = w[f"{dice}.norm.running_mean"], w[f"{dice}.norm.running_var"]
        share = torch.sigmoid((hidden - mean) / (variance + 1e-9).sqrt())
        hidden = share * hidden + w[f"{dice}.alpha"] * (1 - share) * hidden
    return (w["pooling.score.mlp.9.weight"] @ hidden + w["pooling.score.mlp.9.bias"])[0]
