"""Layers against their papers' equations, plain loops and PyTorch's own.

A stand-in takes the place of flash attention's kernel.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import varlen

from support.networks import CONFIG, SIZES, gradients, make_batch, make_model, single
from tossctr.models.feseq.network import FESeq, positions
from tossctr.models.feseq.network.history import Interaction
from tossctr.models.feseq.network.input_layer import InputLayer
from tossctr.models.feseq.network.pooling import WeightedSumPooling
from tossctr.models.feseq.network.positions import Packed, Padded
from tossctr.models.feseq.network.refiner import TransformerLayer
from tossctr.models.feseq.training_step import embedding_parameters

FIELDS, D = 3, 4


def random_weights(module: nn.Module) -> dict[str, Tensor]:
    """Weights that matter, by name."""
    torch.manual_seed(0)
    module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return dict(module.named_parameters()) | dict(module.named_buffers())


def attend(w: dict[str, Tensor], fields: Tensor) -> Tensor:
    """A layer of autoint."""
    query, key, value = (
        fields @ w[f"layers.0.{part}.weight"].T for part in ("query", "key", "value")
    )
    return ((query @ key.T / math.sqrt(D)).softmax(1) @ value + fields).relu()


def cross(w: dict[str, Tensor], fields: Tensor) -> Tensor:
    """Two layers of crossnetv2, which keeps its first input."""
    x = x0 = fields.flatten()
    for i in range(2):
        x = x0 * (w[f"layers.{i}.weight"] @ x + w[f"layers.{i}.bias"]) + x
    return x


@pytest.mark.parametrize(
    ("kind", "count", "expected"), [("autoint", 1, attend), ("crossnetv2", 2, cross)]
)
def test_interacting_layers_are_their_papers(
    kind: str, count: int, expected: Callable[..., Tensor]
) -> None:
    layers = Interaction(kind, count, FIELDS, D)
    w = random_weights(layers)
    x_BFd = torch.randn(5, FIELDS, D, dtype=torch.float64)
    out_BX = torch.stack([expected(w, x).flatten() for x in x_BFd])
    torch.testing.assert_close(layers(x_BFd), out_BX)


def score(kind: str, w: dict[str, Tensor], query: Tensor, key: Tensor) -> Tensor:
    if kind == "weighted_sum":
        return query @ w["score.bilinear"] @ key / math.sqrt(len(query))
    hidden = torch.cat([query, key, query - key, query * key])
    for layer in range(0, 9, 3):
        hidden = w[f"score.mlp.{layer}.weight"] @ hidden + w[f"score.mlp.{layer}.bias"]
        dice = f"score.mlp.{layer + 1}"
        mean, variance = w[f"{dice}.norm.running_mean"], w[f"{dice}.norm.running_var"]
        share = torch.sigmoid((hidden - mean) / (variance + 1e-9).sqrt())
        hidden = share * hidden + w[f"{dice}.alpha"] * (1 - share) * hidden
    return (w["score.mlp.9.weight"] @ hidden + w["score.mlp.9.bias"])[0]


@pytest.mark.parametrize("kind", ["weighted_sum", "din"])
def test_the_weighted_sum_is_that_of_the_paper(kind: str) -> None:
    pooling = WeightedSumPooling(replace(CONFIG, pooling=kind), D, 5)
    w = random_weights(pooling)
    batch = make_batch([3, 0, 4])
    x_ND = torch.randn(10, D, dtype=torch.float64)
    item_BE = torch.randn(3, 5, dtype=torch.float64)

    def project(part: str, x: Tensor) -> Tensor:
        projected = w[f"{part}.0.weight"] @ x
        return torch.where(projected > 0, projected, w[f"{part}.1.weight"] * projected)

    expected = []
    for item, row in zip(item_BE, x_ND.split([4, 1, 5])):
        query = project("query", item)
        alpha = torch.stack([score(kind, w, query, project("key", x)) for x in row]).softmax(0)
        u = sum(a * project("value", x) for a, x in zip(alpha, row))
        u = w["out.0.weight"] @ u + w["out.0.bias"]
        expected.append(torch.where(u > 0, u, w["out.1.weight"] * u))
    torch.testing.assert_close(pooling(x_ND, Packed(batch), item_BE), torch.stack(expected))


def input_layer(*kinds: str, missing: int = 0) -> InputLayer:
    torch.manual_seed(1)
    made = InputLayer(replace(CONFIG, numerics=kinds), replace(SIZES, missing=missing)).double()
    for vector in made.numeric_vectors():
        nn.init.normal_(vector)
    return made


def test_direct_is_the_value_linear_it_times_a_vector_and_missing_a_flag_for_each_block() -> None:
    batch = make_batch([3, 0], replace(SIZES, missing=2))
    made = input_layer("direct", "linear", "missing", missing=2)
    vector = made.layers["linear"].vector
    expected = [
        torch.cat([x, *(x[n] * vector[n] for n in range(len(x))), flags])
        for x, flags in zip(batch.numbers["minmax"], batch.numbers["missing"])
    ]
    assert torch.equal(made(batch.numbers, batch.context_BC), torch.stack(expected))
    assert len(expected[0]) == made.out_width


def test_a_value_takes_the_vector_of_its_bucket_and_missing_one_of_its_own() -> None:
    buckets = input_layer("buckets")
    table = buckets.layers["buckets"].table.weight
    # One more row a column, the last, is that of missing values.
    numbers = {"buckets": torch.tensor([[0.0, 5.0, 20.0], [19.0, 10.0, 19.0]])}
    rows = [[0, 21 + 5, 42 + 20], [19, 21 + 10, 42 + 19]]
    expected = torch.stack([table[row].flatten() for row in rows])
    assert torch.equal(buckets(numbers, torch.empty(2, 0)), expected)


def test_pooled_histories_are_target_scaled_sum_and_product() -> None:
    network = make_model(replace(CONFIG, pooled_history=True))
    batch = make_batch([3, 0, 1])
    target, sequence = network.history.target[0].weight, network.history.sequence[0].weight
    expected = []
    for b in range(3):
        codes = batch.history_ST[0, batch.offsets[b] : batch.offsets[b + 1]]
        item = target[batch.target_BG[b, 0]]
        total = sequence[codes].sum(0)
        scaled = total / max(1, len(codes)) ** 0.5
        expected.append(torch.cat([item, scaled, item * scaled]))
    made = network.history.pooled_history(Packed(batch), batch.target_BG)
    torch.testing.assert_close(made, torch.stack(expected))


def test_a_crossing_starts_at_0_and_can_learn_from_there() -> None:
    torch.manual_seed(0)
    network = FESeq(replace(CONFIG, fm_term=8), SIZES)
    batch = single(make_batch([3, 0, 1]))
    parts = dict(network.fm_term.named_parameters())
    assert (network.fm_term(Packed(batch), batch.target_BG) == 0).all()
    assert 0.8 < parts["target.0"][3:].std() < 1.2
    # Unknown and missing targets say nothing until they are learned.
    assert (parts["target.0"][:3] == 0).all()
    network(batch).sum().backward()
    # The events' vectors move first, by targets that are not small.
    assert parts["event.0.weight"].grad.abs().max() > 0.1
    # The optimizer's group of embeddings has those, and not the targets'.
    grouped = [id(table) for table in embedding_parameters(network)]
    assert [id(part) in grouped for part in parts.values()] == [
        name.startswith("event") for name in parts
    ]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of each call; the kernel's own conditions hold, and loops stand in for it."""
    signature, calls = inspect.signature(varlen.varlen_attn), []

    def stand_in(*args: Any, **kwargs: Any) -> Tensor:
        given = signature.bind(*args, **kwargs).arguments
        calls.append(given)
        bounds, parts = given["cu_seq_q"], [given[name] for name in ("query", "key", "value")]
        assert parts[0].shape[2] % 8 == 0
        assert all(part.stride(-1) == 1 for part in parts)
        assert bounds is given["cu_seq_k"]
        assert bounds.dtype == torch.int32
        assert bounds[-1] == len(parts[0])
        assert given["max_q"] == given["max_k"] == int(bounds.diff().max())
        causal = {(-1, 0): True, (-1, -1): False}[given["window_size"]]
        attended = []
        for start, stop in zip(bounds.tolist(), bounds.tolist()[1:]):
            q, k, v = (part[start:stop].transpose(0, 1) for part in parts)
            score = q @ k.transpose(1, 2) * given["scale"]
            if causal:
                later = torch.ones(stop - start, stop - start, dtype=torch.bool).triu(1)
                score = score.masked_fill(later, -torch.inf)
            attended.append((score.softmax(-1) @ v).transpose(0, 1))
        return torch.cat(attended)

    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    monkeypatch.setattr(positions, "takes_flash", lambda qkv: True)
    return calls


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("embedding_dim", [4, 16])
def test_packed_attention_equals_that_of_padded_rows(
    calls: list[dict[str, Any]], embedding_dim: int, causal: bool
) -> None:
    config = replace(CONFIG, causal=causal, embedding_dim=embedding_dim)
    model, batch = make_model(config), make_batch([3, 0, 6])
    logits, expected = model(batch), model(Padded.of(batch))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    assert len(calls) == config.transformer_layers
    got, want = (gradients(model, logit_B.sum()) for logit_B in (logits, expected))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("has_norm", [True, False])
def test_a_transformer_layer_is_that_of_pytorch(has_norm: bool, causal: bool) -> None:
    config, batch = replace(CONFIG, layer_norm=has_norm, causal=causal), make_batch([3, 0, 5, 5])
    ours = TransformerLayer(config, 12).double().eval()
    theirs = nn.TransformerEncoderLayer(12, config.heads, 12, 0.0, F.leaky_relu, batch_first=True)
    if not has_norm:
        theirs.norm1 = theirs.norm2 = nn.Identity()
    random_weights(theirs)
    # The same weights, in the same order.
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    rows = [torch.randn(length, 12, dtype=torch.float64) for length in (4, 1, 6, 6)]
    expected = []
    for row_LD in rows:
        later = torch.ones(len(row_LD), len(row_LD), dtype=torch.bool).triu(1) if causal else None
        expected.append(theirs(row_LD, later))
    torch.testing.assert_close(ours(torch.cat(rows), Packed(batch)), torch.cat(expected))
    left_padded = torch.stack([F.pad(row_LD, (0, 0, 6 - len(row_LD), 0)) for row_LD in rows])
    padded = Padded.of(batch)
    refined = ours(left_padded, padded)[padded.is_position_BL]
    torch.testing.assert_close(refined, torch.cat(expected))


def test_packed_attention_is_for_half_precision_on_new_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = {"is_cuda": True, "device": "cuda", "shape": (7, 3, 2, 24), "dtype": torch.bfloat16}
    for change, capability in (
        ({}, (8, 0)),
        ({}, (9, 0)),
        ({}, (7, 5)),
        ({"is_cuda": False}, (9, 0)),
        ({"dtype": torch.float32}, (9, 0)),
        ({"shape": (7, 3, 2, 264)}, (9, 0)),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)  # noqa: B023
        layer: Any = SimpleNamespace(**sound | change)
        assert positions.takes_flash(layer) == (not change and capability >= (8, 0))
