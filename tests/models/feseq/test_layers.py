"""Layers against their papers' equations, plain loops and PyTorch's own."""

import inspect
import math
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
from tossctr.models.feseq.network.positions import PackedRows, PaddedRows
from tossctr.models.feseq.network.refiner import TransformerLayer

FIELDS, D = 3, 4


def random_weights(module: nn.Module) -> dict[str, Tensor]:
    """Weights that matter, by name."""
    torch.manual_seed(0)
    module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return dict(module.named_parameters()) | dict(module.named_buffers())


def test_autoint_attends_among_the_fields() -> None:
    layers = Interaction("autoint", 1, FIELDS, D)
    w, x_BFd = random_weights(layers), torch.randn(5, FIELDS, D, dtype=torch.float64)
    query, key, value = (
        x_BFd @ w[f"layers.0.{part}.weight"].T for part in ("query", "key", "value")
    )
    attended = (query @ key.mT / math.sqrt(D)).softmax(-1) @ value
    torch.testing.assert_close(layers(x_BFd), (attended + x_BFd).relu().flatten(1))


def test_crossnetv2_crosses_with_its_first_input() -> None:
    layers = Interaction("crossnetv2", 2, FIELDS, D)
    w, x_BFd = random_weights(layers), torch.randn(5, FIELDS, D, dtype=torch.float64)
    x = x0 = x_BFd.flatten(1)
    for i in range(2):
        x = x0 * (x @ w[f"layers.{i}.weight"].T + w[f"layers.{i}.bias"]) + x
    torch.testing.assert_close(layers(x_BFd), x)


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
        return F.prelu(w[f"{part}.0.weight"] @ x, w[f"{part}.1.weight"])

    expected = []
    for item, row in zip(item_BE, x_ND.split([4, 1, 5])):
        query = project("query", item)
        alpha = torch.stack([score(kind, w, query, project("key", x)) for x in row]).softmax(0)
        u = sum(a * project("value", x) for a, x in zip(alpha, row))
        expected.append(F.prelu(w["out.0.weight"] @ u + w["out.0.bias"], w["out.1.weight"]))
    torch.testing.assert_close(pooling(x_ND, PackedRows(batch), item_BE), torch.stack(expected))


def test_numbers_enter_as_value_scaled_vector_bucket_and_flag_of_each_block() -> None:
    torch.manual_seed(1)
    sizes = replace(SIZES, missing=2)
    config = replace(CONFIG, numerics=("direct", "linear", "buckets", "missing"))
    layer = InputLayer(config, sizes).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    vector, table = layer.layers["linear"].vector, layer.layers["buckets"].table.weight
    numbers = make_batch([3, 0], sizes).numbers
    numbers["buckets"] = torch.tensor([[0, 5, 20], [19, 10, 19]])
    # One more row a column, the last, is that of missing values.
    row_BC = torch.tensor([[0, 21 + 5, 42 + 20], [19, 21 + 10, 42 + 19]])
    x_BC = numbers["minmax"]
    scaled = torch.stack([torch.cat([x[n] * vector[n] for n in range(3)]) for x in x_BC])
    expected = torch.cat([x_BC, scaled, table[row_BC].flatten(1), numbers["missing"]], dim=1)
    assert torch.equal(layer(numbers, torch.empty(2, 0)), expected)
    assert expected.shape[1] == layer.out_width


def test_pooled_histories_are_target_scaled_sum_and_product() -> None:
    network = make_model(replace(CONFIG, pooled_history=True))
    batch = make_batch([3, 0, 1])
    target, sequence = network.history.target[0].weight, network.history.sequence[0].weight
    expected = []
    histories = batch.history_ST[0].tensor_split(batch.offsets[1:-1])
    for codes, index in zip(histories, batch.target_BG[:, 0]):
        item, total = target[index], sequence[codes].sum(0)
        scaled = total / max(1, len(codes)) ** 0.5
        expected.append(torch.cat([item, scaled, item * scaled]))
    made = network.history.target_and_history(PackedRows(batch), batch.target_BG)
    torch.testing.assert_close(made, torch.stack(expected))


def test_behind_a_gate_the_history_starts_at_nothing_and_can_be_learned() -> None:
    torch.manual_seed(0)
    network = FESeq(replace(CONFIG, history_gate=True), SIZES).eval()
    batch = single(make_batch([3, 0, 6]))
    other = replace(batch, history_ST=(batch.history_ST + 3) % SIZES.sequence[0])
    logits = network(batch)
    assert torch.equal(logits, network(other))
    logits.sum().backward()
    assert network.gate is not None
    assert network.gate.grad is not None
    assert (network.gate.grad != 0).all()
    with torch.no_grad():
        network.gate.fill_(1)
    assert not torch.equal(network(batch), network(other))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("embedding_dim", [4, 16])
def test_flash_attention_equals_attention_over_padded_rows(
    monkeypatch: pytest.MonkeyPatch, embedding_dim: int, causal: bool
) -> None:
    signature, calls = inspect.signature(varlen.varlen_attn), []

    def kernel(*args: Any, **kwargs: Any) -> Tensor:
        """PyTorch's attention row by row, where the kernel's own conditions hold."""
        given = SimpleNamespace(**signature.bind(*args, **kwargs).arguments)
        calls.append(given)
        parts, lengths = (given.query, given.key, given.value), given.cu_seq_q.diff()
        assert given.query.shape[2] % 8 == 0
        assert all(part.stride(-1) == 1 for part in parts)
        assert given.cu_seq_q is given.cu_seq_k
        assert given.cu_seq_q.dtype == torch.int32
        assert given.max_q == given.max_k == int(lengths.max())
        assert given.window_size == ((-1, 0) if causal else (-1, -1))
        attended = []
        for row in zip(*(part.split(lengths.tolist()) for part in parts)):
            query, key, value = (part.transpose(0, 1) for part in row)
            options = {"is_causal": causal, "scale": given.scale}
            row_HLE = F.scaled_dot_product_attention(query, key, value, **options)
            attended.append(row_HLE.transpose(0, 1))
        return torch.cat(attended)

    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    monkeypatch.setattr(positions, "can_use_flash", lambda qkv: True)
    config = replace(CONFIG, causal=causal, embedding_dim=embedding_dim)
    model, batch = make_model(config), make_batch([3, 0, 6])
    logits, expected = model(batch), model(PaddedRows.from_batch(batch))
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
    torch.testing.assert_close(ours(torch.cat(rows), PackedRows(batch)), torch.cat(expected))
